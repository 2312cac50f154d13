"""Counts images that are there twice: equal pixel for pixel, or nearly so, as after saving a photograph again."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_SIDE = 8
_MAX_DIFFERENCE = 2.0
"""Root mean square over 8x8 grey means, of 255, of two images that are nearly equal."""
_MIN_CONTRAST = 8.0
"""Standard deviation of those means below which images look alike anyway."""
_MAX_PAIRS = 10**10
"""Above it the search for near copies would take more than seconds."""
_CHUNK = 256


def digests(images: NDArray[np.uint8]) -> list[bytes]:
    """A digest of each image's pixels."""
    return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in images]


def count_repeated(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[int, int]:
    """Images that equal an earlier one, and those of them whose label differs from the first one's."""
    first: dict[bytes, int] = {}
    num_repeated = num_contradicting = 0
    for digest, label in zip(digests(images), labels.tolist(), strict=True):
        earlier = first.setdefault(digest, label)
        num_repeated += 1
        num_contradicting += earlier != label
    return num_repeated - len(first), num_contradicting


def find_shared(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each image equals one of the others."""
    known = set(digests(others))
    return np.array([digest in known for digest in digests(images)], dtype=bool)


def count_near(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> int | None:
    """Images that nearly equal one of the others; None if there are too many pairs to look at or too few pixels."""
    if len(images) * len(others) > _MAX_PAIRS or images.shape[1] < _SIDE:
        return None
    if not len(images):
        return 0
    small, known = (_by_mean(_small_grey(one)) for one in (images, others))
    small = small[small.std(axis=1) >= _MIN_CONTRAST]
    squares, means = (known**2).sum(axis=1), known.mean(axis=1)
    num_near = 0
    for start in range(0, len(small), _CHUNK):
        part = small[start : start + _CHUNK]
        # Images whose means differ by more differ by more.
        reach = part.mean(axis=1)[[0, -1]] + [-_MAX_DIFFERENCE, _MAX_DIFFERENCE]
        near = slice(*np.searchsorted(means, reach))
        distances = squares[near] - 2 * part @ known[near].T + (part**2).sum(axis=1, keepdims=True)
        num_near += int((distances <= _MAX_DIFFERENCE**2 * known.shape[1]).any(axis=1).sum())
    return num_near


def _by_mean(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows[np.argsort(rows.mean(axis=1), kind="stable")]


def _small_grey(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 64): grey means over a grid of 8x8 cells, centred so that float32 is exact enough for differences."""
    edges = np.linspace(0, images.shape[1], _SIDE + 1).astype(int)[:-1]
    grids = []
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].astype(np.float32)
        grey = (part[..., 0] + part[..., 1] + part[..., 2]) / 3  # twelve times as fast as a mean over so short an axis
        sums = np.add.reduceat(np.add.reduceat(grey, edges, axis=1), edges, axis=2)
        widths = np.diff([*edges, images.shape[1]])
        grids.append((sums / np.outer(widths, widths)).reshape(len(grey), -1))
    return np.concatenate(grids) - np.float32(128)
