"""Reads the test images before a run begins; lets out problems, counts and a digest, nothing else.

A bad test image found after hours of training would cost those hours. Nothing here reaches a choice of the search;
`model.test_data` hands out the images themselves, to the final retraining alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data import TrainingData, fingerprint_of, read_split
from model.duplicates import count_near, find_shared


@dataclass(frozen=True, kw_only=True)
class TestCounts:
    """Everything that this module says of the test images."""

    __test__ = False  # pytest would take the name for a test

    classes: Mapping[str, int]
    """Images by class."""
    passed_over: Mapping[str, int]
    unreadable: Mapping[str, str]
    """The reason why, for each image that cannot be read."""
    sizes: Mapping[str, int]
    modes: Mapping[str, int]
    """As in `model.examples.Reading`."""
    num_copies: int
    """Test images that are training images, pixel for pixel."""
    num_near_copies: int | None
    """Further ones that nearly are; None if it was not looked for."""
    num_blank: int
    """Images of a single colour."""
    fingerprint: str
    """sha256 of the decoded images and labels, so that a resumed run is not tested on others."""


def check_test_images(
    dataset: str,
    train: TrainingData | None,
    *,
    image_size: int | None,
    seed: int,
    data_dir: Path,
    skip_unreadable: bool = False,
) -> TestCounts:
    """Decodes the test images that belong to `train`; None if those have problems. DataError names every problem."""
    if train is not None:
        image_size = train.examples.images.shape[1]
    source = read_split(dataset, "test", image_size, seed, data_dir, skip_unreadable=skip_unreadable)
    images = source.examples.images
    known = images[:0] if train is None else train.examples.images
    is_copy = find_shared(images, known)
    return TestCounts(
        classes=images_by_class(source.examples.labels, source.class_names),
        passed_over=dict(source.reading.passed_over),
        unreadable=dict(source.reading.unreadable),
        sizes=dict(source.reading.sizes),
        modes=dict(source.reading.modes),
        num_copies=int(is_copy.sum()),
        num_near_copies=count_near(images[~is_copy], known) if train is not None else None,
        num_blank=num_blank(images),
        fingerprint=fingerprint_of(source),
    )


def images_by_class(labels: np.ndarray, class_names: tuple[str, ...]) -> dict[str, int]:
    """The number of images of each class."""
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    return dict(zip(class_names, counts, strict=True))


def num_blank(images: np.ndarray) -> int:
    """Images of a single colour."""
    # One at a time: a comparison of all at once would take as much memory as the images.
    return sum(bool((image == image[0, 0]).all()) for image in images)
