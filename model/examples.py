"""Labelled images in memory, and the error that says what is wrong with the files they came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SplitName = Literal["train", "test"]


class DataError(ValueError):
    """The images cannot be used as they are: one line that names the file and says what to do."""


@dataclass(frozen=True)
class Examples:
    """Images uint8 (N, H, W, 3), RGB, contiguous, and labels int64 (N,) from 0."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class SourceSplit:
    """One split as its source holds it: the examples, and a name for every label."""

    examples: Examples
    class_names: tuple[str, ...]


def one_line(error: BaseException) -> str:
    """An exception's text on one line, its type where it has none: libraries wrap theirs over several."""
    return " ".join(str(error).split()) or type(error).__name__


def check_classes(labels: NDArray[np.int64], class_names: tuple[str, ...], *, place: Path) -> None:
    """DataError unless the training labels of `place` have two classes or more, and each at least two examples."""
    if len(class_names) < 2:
        raise DataError(f"{place} has one class only, {class_names[0]}. A classifier needs at least two.")
    counts = np.bincount(labels, minlength=len(class_names))
    rarest = int(counts.argmin())
    if counts[rarest] < 2:
        raise DataError(
            f"{place}: class {class_names[rarest]} (label {rarest}) has {counts[rarest]} training images; "
            "at least 2 are needed, one to train on and one to validate with. Add some or remove the class."
        )
