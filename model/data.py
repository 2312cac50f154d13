"""The images of a run: any source in, one checked uint8 array and its statistics out.

The search sees only training images; the test images are read by `model.test_data`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.examples import DataError, Examples, Reading, SourceSplit, SplitName, shown
from model.sources_cifar10 import is_on_disk, read_cifar10
from model.sources_digits import read_digits
from model.sources_files import read_files
from model.splits import Split, given_split, stratified_split, stratified_subset

__all__ = [
    "DataError",
    "Examples",
    "Split",
    "TrainingData",
    "channel_statistics",
    "given_split",
    "load_training_data",
    "stratified_split",
    "stratified_subset",
]

_CHUNK = 1024


@dataclass(frozen=True)
class TrainingData:
    """All training images of a data set, its own validation images included."""

    name: str
    """The data set that was read: "cifar10", "digits" or the folder as given; never "auto"."""
    examples: Examples
    class_names: tuple[str, ...]
    """The name of label k is at position k."""
    fingerprint: str
    """sha256 of the decoded images, labels and class names, independent of the file format."""
    warnings: tuple[str, ...]
    """One line for each thing the user should know before trusting the run; usually empty."""
    val_indices: NDArray[np.int64] | None = None
    """The images of the data set's own validation split, sorted; None if it has none."""
    reading: Reading = field(default_factory=Reading)


def load_training_data(
    dataset: str, *, image_size: int | None, seed: int, data_dir: Path, skip_unreadable: bool = False
) -> TrainingData:
    """Decode and check the training images of `dataset`: "cifar10", "digits", "auto" or a folder's path.

    CIFAR-10 is read from data_dir and downloaded to it if missing. "auto" means CIFAR-10, or the digits with a
    warning if CIFAR-10 cannot be downloaded. image_size (pixels) resizes all images; None keeps their common size, 16
    for the digits. `seed` only picks the test images of a folder without a test split. DataError if the images are
    missing, damaged or unsuitable; with `skip_unreadable`, unreadable images are left out and counted.
    """
    name = "cifar10" if dataset == "auto" else dataset
    notes: tuple[str, ...] = ()
    try:
        source = read_split(name, "train", image_size, seed, data_dir, skip_unreadable=skip_unreadable)
    except DataError as error:
        if dataset != "auto" or is_on_disk(data_dir):  # a damaged copy must be repaired, not skipped
            raise
        name, notes = "digits", (f"searching on scikit-learn's 8x8 DIGITS, NOT CIFAR-10: {error}",)
        source = read_split(name, "train", image_size, seed, data_dir)
    return TrainingData(
        name, source.examples, source.class_names, fingerprint_of(source), notes, source.val_indices, source.reading
    )


def channel_statistics(
    images: NDArray[np.uint8], indices: NDArray[np.int64]
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation per channel of images[indices], (N, H, W, 3) uint8, scaled to 0..1.

    Exact, because the sums are integers. A constant channel gets deviation 1 so that dividing by it is safe.
    """
    sums = np.zeros(3, dtype=np.int64)
    squares = np.zeros(3, dtype=np.int64)
    for start in range(0, len(indices), _CHUNK):
        pixels = images[indices[start : start + _CHUNK]].reshape(-1, 3)
        for channel in range(3):
            counts = np.bincount(pixels[:, channel], minlength=256)
            sums[channel] += counts @ np.arange(256)
            squares[channel] += counts @ np.arange(256) ** 2
    num_pixels = len(indices) * images.shape[1] * images.shape[2]
    mean = sums / num_pixels
    std = np.sqrt(np.maximum(squares / num_pixels - mean**2, 0.0))
    std = np.where(std > 0, std, 255.0)
    return _triple(mean / 255), _triple(std / 255)


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = values.tolist()
    return red, green, blue


def read_split(
    dataset: str,
    split: SplitName,
    image_size: int | None,
    seed: int,
    data_dir: Path,
    *,
    skip_unreadable: bool = False,
) -> SourceSplit:
    """Decode one split, "train" or "test", of a data set other than "auto". DataError as in `load_training_data`."""
    if dataset == "cifar10":
        return read_cifar10(data_dir, split, image_size=image_size)
    if dataset == "digits":
        return read_digits(split, image_size=image_size)
    folder = Path(dataset)
    try:
        if not folder.is_dir():
            fault = "is a file, not a folder" if folder.exists() else "is not a known data set or folder"
            raise DataError(
                f"--dataset {shown(dataset)} {fault}. Give auto, cifar10, digits or the path of a folder of images."
            )
        return read_files(folder, split, image_size=image_size, seed=seed, skip_unreadable=skip_unreadable)
    except OSError as error:
        reason = f"{shown(error.filename or folder)} cannot be read ({error.strerror})"
        raise DataError(f"{reason}. Check the path and its permissions.") from error


def fingerprint_of(source: SourceSplit) -> str:
    """sha256 of decoded images, labels and class names."""
    examples = source.examples
    header = repr((examples.images.shape, source.class_names)).encode()
    digest = hashlib.sha256(header)
    digest.update(np.ascontiguousarray(examples.labels.astype("<i8")).data)
    digest.update(np.ascontiguousarray(examples.images).data)
    return digest.hexdigest()
