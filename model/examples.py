"""Labelled images in memory, and the error for unusable image files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SplitName = Literal["train", "test"]


class DataError(ValueError):
    """The images cannot be used. One line names the file, the problem and what to do."""


@dataclass(frozen=True)
class Examples:
    """Contiguous RGB images, uint8 (N, H, W, 3), and labels from 0, int64 (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class SourceSplit:
    """One split of a data source: the examples, and a name for each label."""

    examples: Examples
    class_names: tuple[str, ...]


def one_line(error: BaseException) -> str:
    """An exception's text on one line, or its type if it has no text; libraries often use several lines."""
    return " ".join(str(error).split()) or type(error).__name__


def check_classes(labels: NDArray[np.int64], class_names: tuple[str, ...], *, place: Path) -> None:
    """DataError unless the training labels of `place` have at least two classes with at least two examples each."""
    if len(class_names) < 2:
        raise DataError(f"{place} has only one class, {class_names[0]}; a classifier needs at least two. Add a class.")
    counts = np.bincount(labels, minlength=len(class_names))
    rarest = int(counts.argmin())
    if counts[rarest] < 2:
        raise DataError(
            f"{place}: class {class_names[rarest]} (label {rarest}) has {counts[rarest]} training images; at least 2 "
            "are needed, one for training and one for validation. Add images or remove the class."
        )
