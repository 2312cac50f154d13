"""scikit-learn's handwritten digits: 1,797 images of 8x8 pixels that come with it, here in the form of photographs."""

from __future__ import annotations

import numpy as np

from model.decoding import resize_images
from model.examples import Examples, SourceSplit, SplitName
from model.splits import stratified_split

DEFAULT_IMAGE_SIZE = 32
_TEST_FRACTION = 0.2
_TEST_SEED = 0
"""Fixed, unlike a run's seed: the digits that test are the same ones in every run, as those of CIFAR-10 are."""


def read_digits(split: SplitName, *, image_size: int | None) -> SourceSplit:
    """One split of the digits, RGB, scaled bilinearly to 32x32 or image_size; a fifth of each class is for testing."""
    from sklearn.datasets import load_digits  # about a second that only this source has to wait for

    digits = load_digits()
    labels = digits.target.astype(np.int64)
    parts = stratified_split(labels, val_fraction=_TEST_FRACTION, seed=_TEST_SEED)
    chosen = parts.train_indices if split == "train" else parts.val_indices
    grey = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    images = resize_images(np.repeat(grey[..., None], 3, axis=3), image_size or DEFAULT_IMAGE_SIZE)
    return SourceSplit(Examples(images, labels[chosen]), tuple(str(digit) for digit in range(10)))
