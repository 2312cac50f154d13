"""The test images. Only the final retraining imports this module."""

from __future__ import annotations

from pathlib import Path

from model.data import read_split
from model.examples import Examples
from model.sources_cifar10 import is_on_disk


def load_test_data(
    dataset: str, *, image_size: int | None, seed: int, data_dir: Path, skip_unreadable: bool = False
) -> Examples:
    """Decode the test images that match `load_training_data` with the same arguments; training images stay closed.

    Pass the size of the training images as image_size so that both match. "auto" means CIFAR-10 if it is in data_dir,
    else the digits, as for the training images. DataError as in `load_training_data`.
    """
    if dataset == "auto":
        dataset = "cifar10" if is_on_disk(data_dir) else "digits"
    return read_split(dataset, "test", image_size, seed, data_dir, skip_unreadable=skip_unreadable).examples
