"""The split, the subset and the statistics against counts made by numpy; the loaders on the digits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from model.data import (
    DataError,
    channel_statistics,
    load_test_data,
    load_training_data,
    stratified_split,
    stratified_subset,
)

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.permutation(np.repeat(np.arange(4), [100, 50, 37, 2]))
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
    with pytest.raises(DataError, match=rf"each of the 4 classes and at most all 189; got {num_examples}.*--search-ex"):
        stratified_subset(LABELS, np.arange(len(LABELS)), num_examples, seed=0)


def test_channel_statistics_equal_numpys_in_float64() -> None:
    images = RANDOM.integers(0, 256, (2500, 5, 5, 3), dtype=np.uint8)
    images[..., 1] //= 3
    indices = np.arange(0, 2500, 2)
    mean, std = channel_statistics(images, indices)
    pixels = images[indices].astype(np.float64) / 255
    np.testing.assert_allclose(mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(axis=(0, 1, 2)), rtol=1e-12)


def test_channel_of_one_value_has_deviation_one() -> None:
    images = np.full((4, 2, 2, 3), 255, dtype=np.uint8)
    assert channel_statistics(images, np.arange(4)) == ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("name", ["cifar100", "missing/folder"])
def test_unknown_dataset_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"--dataset {name} is no known data set and no folder\. Give auto, cifar10"):
        load_training_data(name, image_size=None, seed=0, data_dir=tmp_path)


def test_folder_that_the_system_refuses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"xxx cannot be read \(File name too long\)\. Check the path and"):
        load_training_data("x" * 300, image_size=None, seed=0, data_dir=tmp_path)


def test_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "images.zip"
    file.touch()
    with pytest.raises(DataError, match=r"images\.zip is a file, not a folder"):
        load_test_data(str(file), image_size=None, seed=0, data_dir=tmp_path)


def test_digits_are_rgb_stratified_and_their_splits_disjoint(tmp_path: Path) -> None:
    data = load_training_data("digits", image_size=None, seed=5, data_dir=tmp_path)
    test = load_test_data("digits", image_size=None, seed=6, data_dir=tmp_path)
    assert data.class_names == tuple("0123456789")
    assert data.examples.images.shape[1:] == test.images.shape[1:] == (32, 32, 3)
    assert len(data.examples) + len(test) == 1797
    fractions = np.bincount(test.labels) / (np.bincount(test.labels) + np.bincount(data.examples.labels))
    np.testing.assert_allclose(fractions, 0.2, atol=0.003)
    train_contents = {image.tobytes() for image in data.examples.images}
    assert not train_contents & {image.tobytes() for image in test.images}
    assert data.examples.images.max() > 240
    assert load_test_data("digits", image_size=16, seed=0, data_dir=tmp_path).images.shape[1:] == (16, 16, 3)
