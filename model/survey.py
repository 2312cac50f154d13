"""What a run read: images and classes by split, what was passed over, sizes, modes, copies, contrast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data import TrainingData, load_training_data
from model.duplicates import count_repeated, find_shared
from model.examples import DataError, together
from model.test_check import TestCounts, check_test_images, images_by_class, num_blank

_NUM_SIZES = 8
"""Sizes that are listed; the others are summed."""
_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class ImageSurvey:
    """What was read, counted. Counts of all splits together unless they say otherwise."""

    test_fingerprint: str = ""
    """sha256 of the decoded test images and labels."""

    train: Mapping[str, int]
    """Training images by class."""
    val: Mapping[str, int] = field(default_factory=dict)
    """Images of the data set's own validation split by class; empty if it has none."""
    test: Mapping[str, int]
    """Test images by class."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """Files by the reason why they were not read."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Images left out because of --skip-unreadable, and the reason."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Images by size in pixels, as "640x480"; the most frequent ones, then "other"."""
    modes: Mapping[str, int] = field(default_factory=dict)
    """Images by Pillow's mode, as "RGB"."""
    contrast: float
    """Standard deviation of the training images' pixels, of 1."""
    num_blank: int = 0
    """Images of a single colour."""
    num_repeated: int = 0
    """Training images that equal another one, pixel for pixel."""
    num_contradicting: int = 0
    """Those of them with another label."""
    val_copies: int = 0
    """Images of the data set's own validation split that are training images."""
    test_copies: int = 0
    """Test images that are training images, pixel for pixel."""
    near_test_copies: int | None = None
    """Further ones that nearly are, as after saving a photograph again; None if there are too many pairs to look at."""

    @property
    def largest_share(self) -> float:
        """The largest class's share of the training images."""
        return max(self.train.values()) / sum(self.train.values())


def load_and_survey(
    dataset: str, *, image_size: int | None, seed: int, data_dir: Path, skip_unreadable: bool = False
) -> tuple[TrainingData, ImageSurvey]:
    """The training images of `load_training_data`, and the survey of all splits. DataError names all problems at once.

    The test images are decoded and counted here, by code that gives out nothing else of them.
    """
    options: dict[str, Any] = {
        "image_size": image_size,
        "seed": seed,
        "data_dir": data_dir,
        "skip_unreadable": skip_unreadable,
    }
    errors: list[DataError] = []
    data: TrainingData | None = None
    counts: TestCounts | None = None
    try:
        data = load_training_data(dataset, **options)
    except DataError as error:
        errors.append(error)
    if dataset != "auto" or data is not None:
        try:
            counts = check_test_images(data.name if data is not None else dataset, data, **options)
        except DataError as error:
            errors.append(error)
    if data is None or counts is None:
        raise together(errors)
    return data, _survey(data, counts)


def _survey(data: TrainingData, counts: TestCounts) -> ImageSurvey:
    images, labels, reading = data.examples.images, data.examples.labels, data.reading
    is_val = np.zeros(len(labels), dtype=bool)
    if data.val_indices is not None:
        is_val[data.val_indices] = True
    num_repeated, num_contradicting = count_repeated(images, labels)
    return ImageSurvey(
        train=images_by_class(labels[~is_val], data.class_names),
        val=images_by_class(labels[is_val], data.class_names) if is_val.any() else {},
        test=counts.classes,
        test_fingerprint=counts.fingerprint,
        passed_over={**Counter(reading.passed_over) + Counter(counts.passed_over)},
        unreadable={**reading.unreadable, **counts.unreadable},
        sizes=_most_frequent(reading.sizes + Counter(counts.sizes)),
        modes=dict((reading.modes + Counter(counts.modes)).most_common()),
        contrast=_contrast(images),
        num_blank=num_blank(images) + counts.num_blank,
        num_repeated=num_repeated,
        num_contradicting=num_contradicting,
        val_copies=int(find_shared(images[is_val], images[~is_val]).sum()),
        test_copies=counts.num_copies,
        near_test_copies=counts.num_near_copies,
    )


def _contrast(images: NDArray[np.uint8]) -> float:
    counts = np.zeros(256)
    for start in range(0, len(images), _CHUNK):
        counts += np.bincount(images[start : start + _CHUNK].reshape(-1), minlength=256)
    shares, values = counts / counts.sum(), np.arange(256) / 255
    return float(np.sqrt(max(0.0, shares @ values**2 - (shares @ values) ** 2)))


def _most_frequent(sizes: Counter[str]) -> dict[str, int]:
    listed = dict(sizes.most_common(_NUM_SIZES))
    num_others = sizes.total() - sum(listed.values())
    return {**listed, **({"other": num_others} if num_others else {})}
