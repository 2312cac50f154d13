"""Which split a folder or file is named after: train, Training, test_set, seg_train, validation-00000-of-00002."""

from __future__ import annotations

import re
from collections.abc import Iterable

from model.examples import DataError, SplitName

_SPLITS: dict[SplitName, tuple[str, ...]] = {
    "train": ("train", "training", "trainings", "trainval", "trn", "learn", "learning"),
    "val": ("val", "vals", "valid", "validation", "validations", "validate", "dev", "development"),
    "test": ("test", "tests", "testing", "tst", "eval", "evaluation", "holdout", "heldout"),
}
_FILLERS = (
    "set", "sets", "data", "dataset", "images", "image", "imgs", "img", "pictures", "photos", "split", "seg", "folder",
    "dir", "part", "subset", "samples", "examples", "files", "raw", "full", "final",
)  # fmt: skip
_WORD = {word: split for split, words in _SPLITS.items() for word in words}
_RUN_TOGETHER = re.compile(rf"({'|'.join(_WORD)})(?:{'|'.join(_FILLERS)})")


def split_of_folder(name: str) -> SplitName | None:
    """The split that a folder is named after, whatever its case; None for a name that says more, as "test tube"."""
    splits, others = _words(name)
    return splits[0] if len(set(splits)) == 1 and all(word in _FILLERS or len(word) < 3 for word in others) else None


def split_of_file(stem: str) -> SplitName | None:
    """The split that a file is named after, as cifar10-train-00000-of-00001; None if its name has none or several."""
    splits, _others = _words(stem)
    return splits[0] if len(set(splits)) == 1 else None


def check_no_split_in_classes(names: Iterable[str], *, place: str) -> None:
    """DataError if two names differ only in their split, as train_cats and test_cats: they are not two classes."""
    seen: dict[tuple[str, ...], tuple[SplitName, str]] = {}
    for name in names:
        splits, others = _words(name)
        if len(set(splits)) != 1:
            continue
        other_split, other = seen.setdefault(tuple(others), (splits[0], name))
        if other_split != splits[0]:
            raise DataError(
                f"{place}: {other} and {name} are named after splits, so they are not taken for two classes. "
                "Put a folder for each class into train and test."
            )


def _words(name: str) -> tuple[list[SplitName], list[str]]:
    """The splits named in a name, and its other words."""
    splits: list[SplitName] = []
    others: list[str] = []
    for word in re.findall(r"[^\W\d_]+", name.casefold()):
        together = _RUN_TOGETHER.fullmatch(word)
        split = _WORD.get(together[1] if together else word)
        if split is None:
            others.append(word)
        else:
            splits.append(split)
    return splits, others
