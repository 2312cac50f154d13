"""The images of a search: all training images, and the split that trials see."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.data import TrainingData, channel_statistics, given_split, stratified_split, stratified_subset
from model.split_images import ImageArrays
from search.errors import UserError
from search.run_options import DATA_SETS
from search.settings import SearchSettings

VAL_FRACTION = 0.1
MAX_VAL_FRACTION = 0.3
MIN_VAL_EXAMPLES = 500
"""Of fewer validation images, chance would decide more than the config; the standard error of 80 % is 1.8 points."""
STAND_IN_EXAMPLES = 512
"""Training images of each trial on a CPU when the digits stand in for CIFAR-10."""


def shortened_for_stand_in(settings: SearchSettings, data: TrainingData, device: str) -> SearchSettings:
    """The settings with `STAND_IN_EXAMPLES` where the digits stand in for CIFAR-10 on a CPU.

    Nobody asked for the digits: they only show that everything works, which should take minutes.
    """
    is_stand_in = settings.dataset == "auto" and data.name == "digits"
    if not is_stand_in or device != "cpu" or settings.search_examples is not None:
        return settings
    return settings.changed(search_examples=STAND_IN_EXAMPLES)


def val_fraction(num_images: int) -> float:
    """The share of the training images that is held out: a tenth, and up to three tenths of few images."""
    return max(VAL_FRACTION, min(MAX_VAL_FRACTION, MIN_VAL_EXAMPLES / num_images))


def split_images(settings: SearchSettings, data: TrainingData) -> ImageArrays:
    """The images with their own split, else one by the run's seed; the training part is cut to `search_examples`."""
    labels = data.examples.labels
    if data.val_indices is None:
        split = stratified_split(labels, val_fraction=val_fraction(len(labels)), seed=settings.seed)
    else:
        split = given_split(len(labels), data.val_indices)
    train = split.train_indices
    if settings.search_examples is not None:
        if settings.search_examples > len(train):
            raise UserError(
                f"--search-examples {settings.search_examples}: the training split has {len(train)} images. "
                "Give fewer or leave it out."
            )
        train = stratified_subset(labels, train, settings.search_examples, seed=settings.seed)
    mean, std = channel_statistics(data.examples.images, train)
    return ImageArrays(
        images=data.examples.images,
        labels=labels,
        train_indices=np.ascontiguousarray(train),
        val_indices=split.val_indices,
        mean=mean,
        std=std,
        num_classes=len(data.class_names),
        split_hash=split.hash,
    )


def check_images_are_there(settings: SearchSettings, *, was_given: bool) -> None:
    """UserError if the folder of a resumed run is gone, unless `was_given` anew."""
    if settings.dataset not in DATA_SETS and not was_given and not Path(settings.dataset).is_dir():
        raise UserError(
            f"the images of this run, {settings.dataset}, are gone. If they were moved: --resume "
            f"{settings.run_dir} --dataset NEW_FOLDER."
        )
