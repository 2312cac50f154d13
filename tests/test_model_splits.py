"""Splits and subsets against numpy's counts."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from model.examples import DataError
from model.splits import stratified_split, stratified_subset

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [100, 50, 37, 2]))
PINNED_VAL_INDICES = [3, 6, 11, 13, 26, 28]


def test_split_is_disjoint_complete_sorted_and_stratified() -> None:
    split = stratified_split(LABELS, val_fraction=0.1, seed=3)
    together = np.concatenate([split.train_indices, split.val_indices])
    assert np.array_equal(np.sort(together), np.arange(len(LABELS)))
    assert np.array_equal(split.train_indices, np.unique(split.train_indices))
    assert np.array_equal(split.val_indices, np.unique(split.val_indices))
    assert split.train_indices.dtype == split.val_indices.dtype == np.int64
    assert np.bincount(LABELS[split.val_indices]).tolist() == [10, 5, 4, 1]


def test_split_depends_on_the_seed_and_on_nothing_else() -> None:
    first, again, other = (stratified_split(LABELS, seed=seed) for seed in (1, 1, 2))
    assert first.hash == again.hash
    assert np.array_equal(first.val_indices, again.val_indices)
    assert first.hash != other.hash
    assert not np.array_equal(first.val_indices, other.val_indices)


def test_split_of_a_seed_never_changes() -> None:
    """A run refuses to resume on another split, so these bits must survive every platform and release."""
    split = stratified_split(np.repeat(np.arange(3), 10), val_fraction=0.2, seed=7)
    assert split.val_indices.tolist() == PINNED_VAL_INDICES
    content = b"".join(
        len(part).to_bytes(8, "little") + b"".join(int(index).to_bytes(8, "little") for index in part)
        for part in (split.train_indices, split.val_indices)
    )
    assert split.hash == hashlib.sha256(content).hexdigest()


def test_split_keeps_a_training_example_of_every_class() -> None:
    split = stratified_split(np.array([0, 0, 1, 1]), val_fraction=0.9, seed=0)
    assert np.bincount(np.array([0, 0, 1, 1])[split.train_indices]).tolist() == [1, 1]


def test_split_of_a_class_with_one_example_is_refused() -> None:
    with pytest.raises(DataError, match=r"label 1 has only one example; a stratified split needs at least 2"):
        stratified_split(np.array([0, 0, 1]), seed=0)


@pytest.mark.parametrize("num_examples", [4, 50, 188, 189])
def test_subset_is_stratified(num_examples: int) -> None:
    indices = np.arange(len(LABELS))
    subset = stratified_subset(LABELS, indices, num_examples, seed=0)
    assert len(np.unique(subset)) == num_examples
    assert np.array_equal(subset, np.sort(subset))
    counts = np.bincount(LABELS[subset], minlength=4)
    proportional = np.bincount(LABELS) * num_examples / len(LABELS)
    assert (counts >= 1).all()
    assert np.abs(counts - proportional).max() <= 2


def test_subset_of_balanced_classes_is_balanced_within_one() -> None:
    labels = np.repeat(np.arange(10), 30)
    counts = np.bincount(labels[stratified_subset(labels, np.arange(300), 57, seed=1)])
    assert counts.max() - counts.min() == 1


def test_subset_stays_within_the_indices_depends_on_the_seed_and_grows_by_adding() -> None:
    indices = stratified_split(LABELS, seed=0).train_indices
    small, large, other = (
        stratified_subset(LABELS, indices, count, seed=seed) for count, seed in ((40, 1), (80, 1), (40, 2))
    )
    assert set(small) < set(large) < set(indices)
    assert not np.array_equal(small, other)


@pytest.mark.parametrize("num_examples", [3, 190])
def test_subset_of_impossible_size_is_refused(num_examples: int) -> None:
    with pytest.raises(DataError, match=rf"--search-examples must be between 4 .* and 189 .*; got {num_examples}"):
        stratified_subset(LABELS, np.arange(len(LABELS)), num_examples, seed=0)
