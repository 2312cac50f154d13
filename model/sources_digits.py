"""scikit-learn's 1,797 handwritten digits of 8x8 pixels, as RGB images."""

from __future__ import annotations

import numpy as np

from model.decoding import resize_images
from model.examples import Examples, SourceSplit, SplitName
from model.splits import stratified_split

DEFAULT_IMAGE_SIZE = 16
"""Twice their own size; twice that again would quadruple the time and add nothing to see."""
_TEST_FRACTION = 0.2
_TEST_SEED = 0
"""Fixed so that the test digits are the same in every run, as those of CIFAR-10 are."""


def read_digits(split: SplitName, *, image_size: int | None) -> SourceSplit:
    """One split of the digits, RGB, resized bilinearly to 16x16 or image_size pixels; a fifth of each class is test."""
    from sklearn.datasets import load_digits  # takes about a second, which only this source needs

    digits = load_digits()
    labels = digits.target.astype(np.int64)
    parts = stratified_split(labels, val_fraction=_TEST_FRACTION, seed=_TEST_SEED)
    chosen = parts.train_indices if split == "train" else parts.val_indices
    grey = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    images = resize_images(np.repeat(grey[..., None], 3, axis=3), image_size or DEFAULT_IMAGE_SIZE)
    return SourceSplit(Examples(images, labels[chosen]), tuple(str(digit) for digit in range(10)))
