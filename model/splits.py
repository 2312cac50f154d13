"""Stratified choices of examples that depend on a seed alone, on every platform and with every numpy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.examples import DataError


@dataclass(frozen=True)
class Split:
    """Training and validation indices, int64, sorted, disjoint, together complete; `hash` is one sha256 over both."""

    train_indices: NDArray[np.int64]
    val_indices: NDArray[np.int64]
    hash: str


def stratified_split(labels: NDArray[np.int64], *, val_fraction: float = 0.1, seed: int) -> Split:
    """Put val_fraction (0..1, exclusive) of every class, rounded, aside for validation; at least one, never all.

    DataError names a label that only one example has.
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


def stratified_subset(
    labels: NDArray[np.int64], indices: NDArray[np.int64], num_examples: int, *, seed: int
) -> NDArray[np.int64]:
    """Pick num_examples of `indices`, sorted: at least one of every class, beyond that in proportion to the classes.

    With one seed, a smaller subset lies within a larger one. DataError if num_examples is below the number of classes
    or above the number of indices.
    """
    classes = _shuffled_classes(labels, indices, seed=seed)
    if not len(classes) <= num_examples <= len(indices):
        raise DataError(
            f"a subset needs one example for each of the {len(classes)} classes and at most all {len(indices)}; "
            f"got {num_examples}. Change --search-examples."
        )
    members = np.concatenate([members for _, members in classes])
    # A class's r-th member of c stands at r / c: the first ones come before all else, then all classes advance evenly.
    positions = np.concatenate([np.arange(len(members)) / len(members) for _, members in classes])
    return np.sort(members[np.argsort(positions, kind="stable")[:num_examples]])


def _shuffled_classes(
    labels: NDArray[np.int64], indices: NDArray[np.int64], *, seed: int
) -> list[tuple[int, NDArray[np.int64]]]:
    """Every label among `indices` with its members in random order."""
    classes = []
    for label in np.unique(labels[indices]).tolist():
        members = indices[labels[indices] == label].astype(np.int64)
        # numpy keeps the raw bits of a seeded PCG64 for ever, but not what Generator.permutation makes of them.
        keys = np.random.PCG64([seed, label]).random_raw(len(members))
        classes.append((label, members[np.argsort(keys, kind="stable")]))
    return classes


def _hash_indices(*parts: NDArray[np.int64]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part.astype("<i8").tobytes())
    return digest.hexdigest()
