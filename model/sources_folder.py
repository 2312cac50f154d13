"""Image files in class folders: train/<class>/* and test/<class>/*, or only <class>/*, split by a seed.

The folders of splits may be called Training, test_set, seg_train and the like; val/<class>/* is used for validation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.decoding import EncodedImage
from model.examples import DataError, SplitName, check_same_classes, shown
from model.image_files import OUTSIDE, class_name, has_images, images_below, is_image_name, num_files, sub_folders
from model.split_names import check_no_split_in_classes, split_of_file, split_of_folder
from model.splits import stratified_split

TEST_FRACTION = 0.2
"""Fraction of each class, rounded, that becomes the test split if the source has none."""


@dataclass(frozen=True)
class Listing:
    """Labelled images of one split, not decoded yet."""

    encoded: list[EncodedImage]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    passed_over: Counter[str] = field(default_factory=Counter)
    """Files by the reason why they are not listed."""


def list_image_folder(folder: Path, splits: Sequence[SplitName], *, seed: int) -> list[Listing]:
    """The images of some splits; none for a validation split that the folder does not have. No file is opened.

    Labels follow the sorted folder names. Files are listed at any depth below a class folder, in name order, links
    followed; hidden files, thumbnails and those without an image suffix are passed over. Without folders for splits, a
    fifth of each class, drawn from `seed`, is the test split. DataError names what is missing or ambiguous.
    """
    passed_over: Counter[str] = Counter()
    layout = _split_folders(folder, passed_over)
    if not layout:
        files = _list_classes(folder, passed_over)
        return [_part_of_classes(folder, files, split, seed=seed, passed_over=passed_over) for split in splits[:1]]
    listed = {split: _list_split(folder, layout, split) for split in ("train", "test", *layout)}
    train = listed["train"]
    for split, other in listed.items():
        check_same_classes(train.class_names, other.class_names, split, place=shown(folder))
    train.passed_over.update(passed_over)
    return [listed[split] for split in splits if split in listed]


def _split_folders(folder: Path, passed_over: Counter[str]) -> dict[SplitName, Path]:
    """The folder of each split; empty if the folder holds classes. Other folders beside the splits are counted."""
    top: Counter[str] = Counter()
    found = sub_folders(folder, top)
    if len(found) == 1 and any(split_of_folder(path.name) for path in sub_folders(found[0], Counter())):
        return _split_folders(found[0], passed_over)  # an archive's folder around everything
    named = [(split, path) for path in found if (split := split_of_folder(path.name)) is not None]
    if not named:  # as cars_train and cars_test
        inner = [path for path in found if not has_images(path)]
        named = [(split, path) for path in inner if (split := split_of_file(path.name)) is not None]
    # A single folder called train may be the class of trains.
    if len({split for split, _path in named}) < 2 and all(has_images(path) for _split, path in named):
        return {}
    layout: dict[SplitName, Path] = {}
    for split, path in named:
        if split in layout:
            raise DataError(
                f"{shown(folder)} has two {split} splits: {layout[split].name} and {path.name}. "
                "Rename or remove one of them."
            )
        layout[split] = path
    passed_over.update(top)
    passed_over[OUTSIDE] += sum(num_files(path) for path in found if path not in layout.values())
    return {split: _inner(path, split) for split, path in layout.items()}


def _inner(folder: Path, split: SplitName) -> Path:
    """train/train if that is all that the folder holds, as archives often have it."""
    inside = sub_folders(folder, Counter())
    is_wrapped = len(inside) == 1 and split_of_folder(inside[0].name) == split and not has_images(inside[0])
    return _inner(inside[0], split) if is_wrapped else folder


def _list_split(folder: Path, layout: dict[SplitName, Path], split: SplitName) -> Listing:
    if split not in layout:
        advice = f"Add {shown(folder / split)} with a folder per class, or give only class folders"
        if "val" in layout:
            advice = f"Rename {layout['val'].name} to {split}; part of train is then used for validation"
        raise DataError(f"{shown(folder)} has no {split} split. {advice}.")
    passed_over: Counter[str] = Counter()
    return _flatten(_list_classes(layout[split], passed_over), passed_over)


def _list_classes(folder: Path, passed_over: Counter[str]) -> dict[str, list[Path]]:
    """Image files by class, both in name order; DataError if there are no classes or no images."""
    place = shown(folder)
    if not any(folder.iterdir()):
        raise DataError(f"{place} is empty. Put one folder of images per class into it.")
    folders = sub_folders(folder, passed_over)
    if not folders:
        raise DataError(
            f"{place} has no class folders. Put the images of each class into a separate folder"
            f"{passed_over_text(passed_over)}."
        )
    _check_classes_are_no_splits(folder, folders)
    passed_over[OUTSIDE] += sum(is_image_name(path.name) and path.is_file() for path in folder.iterdir())
    files: dict[str, list[Path]] = {}
    for path in folders:
        files.setdefault(class_name(path), []).extend(images_below(path, passed_over))
    if not any(files.values()):
        raise DataError(
            f"{place} has class folders such as {folders[0].name}, but no images in them"
            f"{passed_over_text(passed_over)}. Add images or give another folder."
        )
    return dict(sorted(files.items()))


def _check_classes_are_no_splits(folder: Path, folders: list[Path]) -> None:
    """DataError if class folders hold no images themselves but splits, or two of them mostly the same folders."""
    check_no_split_in_classes([path.name for path in folders], place=shown(folder))
    inside = {
        path.name: {one.name.casefold() for one in sub_folders(path, Counter())}
        for path in folders
        if not has_images(path)
    }
    for first, names in inside.items():
        if splits := sorted(name for name in names if split_of_folder(name) is not None):
            raise DataError(
                f"{shown(folder)}: {shown(first)} holds {shown(splits[0])} and no images, so it is not taken for a "
                "class. Put train and test on top and the folders of classes into them."
            )
        for second, others in inside.items():
            if first < second and len(names & others) >= max(2, len(names | others) / 2):
                raise DataError(
                    f"{shown(folder)}: {shown(first)} and {shown(second)} hold the same folders "
                    f"({', '.join(sorted(map(shown, names & others))[:3])}, ...) and no images, so they are not taken "
                    "for classes. Name splits train, val and test; put the images of a class into its own folder."
                )


def _flatten(files: dict[str, list[Path]], passed_over: Counter[str]) -> Listing:
    """All images, ordered by class."""
    counts = [len(class_paths) for class_paths in files.values()]
    paths = [path for class_paths in files.values() for path in class_paths]
    labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return Listing([EncodedImage(shown(path), path) for path in paths], labels, tuple(files), passed_over)


def _part_of_classes(
    folder: Path, files: dict[str, list[Path]], split: SplitName, *, seed: int, passed_over: Counter[str]
) -> Listing:
    """One split of a folder that has only class folders."""
    for name, class_paths in files.items():
        if len(class_paths) < 3 and len(files) > 1:
            raise DataError(
                f"{shown(folder / name)} has {len(class_paths)} images; at least 3 are needed, 2 for training and 1 "
                f"for testing{passed_over_text(_passed_over_in_class(folder, name))}. Add images or remove the folder."
            )
    listing = _flatten(files, passed_over)
    return part_by_seed(listing, split, seed=seed)


def _passed_over_in_class(folder: Path, name: str) -> Counter[str]:
    passed_over: Counter[str] = Counter()
    for path in sub_folders(folder, Counter()):
        if class_name(path) == name:
            images_below(path, passed_over)
    return passed_over


def part_by_seed(listing: Listing, split: SplitName, *, seed: int) -> Listing:
    """The training or the test part of images that come without splits."""
    parts = stratified_split(listing.labels, val_fraction=TEST_FRACTION, seed=seed)
    chosen = parts.train_indices if split == "train" else parts.val_indices
    encoded = [listing.encoded[index] for index in chosen]
    passed_over = listing.passed_over if split == "train" else Counter[str]()  # counted once
    return Listing(encoded, listing.labels[chosen], listing.class_names, passed_over)


def passed_over_text(passed_over: Counter[str]) -> str:
    """What was passed over, in brackets for a message; empty if there is nothing."""
    text = ", ".join(f"{count} {reason}" for reason, count in passed_over.items() if count)
    return f" (passed over: {text})" if text else ""
