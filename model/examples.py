"""Labelled images in memory, what was met while they were read, and the error for unusable image files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SplitName = Literal["train", "val", "test"]
"""A source's own validation images are read with its training images: see `SourceSplit.val_indices`."""


class DataError(ValueError):
    """The images cannot be used. Each line names the file, the problem and what to do."""


@dataclass(frozen=True)
class Examples:
    """Contiguous RGB images, uint8 (N, H, W, 3), and labels from 0, int64 (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Reading:
    """What was met while images were read; filled on the way."""

    passed_over: Counter[str] = field(default_factory=Counter)
    """Files by the reason why they were not read."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Why an image cannot be read, by its name."""
    sizes: Counter[str] = field(default_factory=Counter)
    """Images by size in pixels before resizing, as "640x480"."""
    modes: Counter[str] = field(default_factory=Counter)
    """Images by Pillow's mode, as "RGB"."""


@dataclass(frozen=True)
class SourceSplit:
    """One split of a data source: the examples, and a name for each label."""

    examples: Examples
    class_names: tuple[str, ...]
    val_indices: NDArray[np.int64] | None = None
    """Of training images: those of the source's own validation split, sorted; None if it has none."""
    reading: Reading = field(default_factory=Reading)


def one_line(error: BaseException) -> str:
    """An exception's text on one line, or its type if it has no text; libraries often use several lines."""
    return " ".join(str(error).split()) or type(error).__name__


def shown(path: str | Path) -> str:
    r"""A path as text that can be printed and stored: its bytes as UTF-8, others as \xe9."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def together(errors: Iterable[DataError]) -> DataError:
    """One error with the lines of several, each line once."""
    return DataError("\n".join(dict.fromkeys(line for error in errors for line in str(error).splitlines())))


def check_same_classes(train: Sequence[str], other: Sequence[str], split: SplitName, *, place: str) -> None:
    """DataError unless another split has the classes of the training split."""
    if set(train) != set(other):
        only_train, only_other = sorted(set(train) - set(other)), sorted(set(other) - set(train))
        raise DataError(
            f"classes differ in {place}: only in train {', '.join(only_train) or 'none'}; "
            f"only in {split} {', '.join(only_other) or 'none'}. Give both splits the same classes."
        )


def check_classes(
    labels: NDArray[np.int64], class_names: tuple[str, ...], *, place: str, split: SplitName = "train"
) -> None:
    """DataError unless there are two classes or more, each with two training images or one image of another split."""
    if len(class_names) < 2:
        raise DataError(f"{place} has only one class, {class_names[0]}; a classifier needs at least two. Add a class.")
    needed, purpose = (2, "one for training and one for validation") if split == "train" else (1, "or it has no score")
    counts = np.bincount(labels, minlength=len(class_names))
    for label in np.flatnonzero(counts < needed).tolist()[:1]:
        kind = {"train": "training", "val": "validation", "test": "test"}[split]
        raise DataError(
            f"{place}: class {class_names[label]} (label {label}) has {counts[label]} {kind} images; at least {needed} "
            f"{'are' if needed > 1 else 'is'} needed, {purpose}. Add images or remove the class."
        )
