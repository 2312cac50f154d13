"""Stratified splits and subsets that depend only on a seed, on every platform and with every numpy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.examples import DataError


@dataclass(frozen=True)
class Split:
    """Sorted int64 indices; training and validation are disjoint and cover all examples. `hash`: sha256 over both."""

    train_indices: NDArray[np.int64]
    val_indices: NDArray[np.int64]
    hash: str


def stratified_split(labels: NDArray[np.int64], *, val_fraction: float = 0.1, seed: int) -> Split:
    """Set aside val_fraction (above 0, below 1) of each class for validation, rounded; at least one example, never all.

    DataError names a label that has only one example.
    """
    val_indices = []
    for label, members in _shuffled_classes(labels, np.arange(len(labels)), seed=seed):
        if len(members) < 2:
            raise DataError(f"label {label} has only one example; a stratified split needs at least 2. Add some.")
        num_val = int(len(members) * val_fraction + 0.5)
        val_indices.append(members[: min(max(num_val, 1), len(members) - 1)])
    val = np.sort(np.concatenate(val_indices))
    train = np.setdiff1d(np.arange(len(labels)), val, assume_unique=True)
    return Split(train_indices=train, val_indices=val, hash=_hash_indices(train, val))


def given_split(num_examples: int, val_indices: NDArray[np.int64]) -> Split:
    """The split of a data set that brings its own validation images, whose indices are sorted."""
    train = np.setdiff1d(np.arange(num_examples), val_indices, assume_unique=True)
    return Split(train_indices=train, val_indices=val_indices, hash=_hash_indices(train, val_indices))


def stratified_subset(
    labels: NDArray[np.int64], indices: NDArray[np.int64], num_examples: int, *, seed: int
) -> NDArray[np.int64]:
    """Pick num_examples of `indices`, sorted: at least one per class, otherwise in proportion to the classes.

    With the same seed, a larger subset contains every smaller one. DataError if num_examples is below the number of
    classes or above the number of indices.
    """
    classes = _shuffled_classes(labels, indices, seed=seed)
    if not len(classes) <= num_examples <= len(indices):
        raise DataError(
            f"--search-examples must be between {len(classes)} (one image per class) and {len(indices)} (all training "
            f"images); got {num_examples}."
        )
    members = np.concatenate([members for _, members in classes])
    # Member r of a class of c gets position r / c: every class's first member leads, then all advance evenly.
    positions = np.concatenate([np.arange(len(members)) / len(members) for _, members in classes])
    return np.sort(members[np.argsort(positions, kind="stable")[:num_examples]])


def _shuffled_classes(
    labels: NDArray[np.int64], indices: NDArray[np.int64], *, seed: int
) -> list[tuple[int, NDArray[np.int64]]]:
    """Each label among `indices` with its members in random order."""
    classes = []
    for label in np.unique(labels[indices]).tolist():
        members = indices[labels[indices] == label].astype(np.int64)
        # numpy guarantees the raw bits of a seeded PCG64, but not the result of Generator.permutation.
        keys = np.random.PCG64([seed, label]).random_raw(len(members))
        classes.append((label, members[np.argsort(keys, kind="stable")]))
    return classes


def _hash_indices(*parts: NDArray[np.int64]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part.astype("<i8").tobytes())
    return digest.hexdigest()
