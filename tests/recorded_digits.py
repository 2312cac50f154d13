"""Images for tests of recorded learning curves."""

from __future__ import annotations

from pathlib import Path

from benchmarks.record_curves.plan import recorded_images
from model.data import load_training_data
from model.split_images import ImageArrays


def recorded_digits(folder: Path) -> ImageArrays:
    """120 training and 50 validation digits of 8x8 pixels. `folder`: for downloads, of which there are none."""
    data = load_training_data("digits", image_size=8, seed=0, data_dir=folder)
    return recorded_images(data, num_train=120, num_val=50, seed=0)
