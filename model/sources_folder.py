"""Image files in class folders: train/<class>/* and test/<class>/*, or only <class>/*, split by a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.decoding import EncodedImage, decode_images
from model.examples import DataError, Examples, SourceSplit, SplitName, check_classes
from model.splits import stratified_split

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
TEST_FRACTION = 0.2
"""Fraction of each class, rounded, that becomes the test split if the folder has none."""


def read_image_folder(folder: Path, split: SplitName, *, image_size: int | None, seed: int) -> SourceSplit:
    """Decode one split. Files of the other split may be listed but are never opened.

    Labels follow the sorted folder names. Files are read at any depth below a class folder, in name order; hidden files
    and those without an image suffix are skipped. Without train/ and test/, a fifth of each class, drawn from `seed`,
    is the test split. DataError names the missing folder, the empty class or the unreadable file.
    """
    if (folder / "train").is_dir() or (folder / "test").is_dir():
        files = _list_split(folder, split)
        if split == "train":
            _check_same_classes(folder, tuple(files), tuple(_list_split(folder, "test")))
        paths, labels = _flatten(files)
    else:
        files = _list_classes(folder)
        paths, labels = _part_of_classes(folder, files, split, seed=seed)
    if split == "train":
        check_classes(labels, tuple(files), place=folder)
    encoded = [EncodedImage(str(path), path) for path in paths]
    return SourceSplit(Examples(decode_images(encoded, image_size=image_size), labels), tuple(files))


def _list_split(folder: Path, split: SplitName) -> dict[str, list[Path]]:
    for needed in ("train", "test"):
        if not (folder / needed).is_dir() and (needed == split or split == "train"):
            raise DataError(
                f"{folder} has no {needed} split. Add {folder / needed} with a folder per class, "
                "or give only class folders; a fifth of each class then becomes the test split."
            )
    return _list_classes(folder / split)


def _list_classes(folder: Path) -> dict[str, list[Path]]:
    """Image files by class, both in name order; DataError if there are no classes or no images."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not any(folder.iterdir()):
        raise DataError(f"{folder} is empty. Put one folder of images per class into it.")
    if not names:
        raise DataError(f"{folder} has no class folders. Put the images of each class into a separate folder.")
    files = {name: sorted(path for path in (folder / name).rglob("*") if _is_image(path)) for name in names}
    if not any(files.values()):
        raise DataError(
            f"{folder} has class folders such as {names[0]}, but no images in them "
            f"({', '.join(sorted(IMAGE_SUFFIXES))}). Add images or give another folder."
        )
    return files


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _flatten(files: dict[str, list[Path]]) -> tuple[list[Path], NDArray[np.int64]]:
    """All paths, ordered by class, and their labels."""
    counts = [len(class_paths) for class_paths in files.values()]
    labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return [path for class_paths in files.values() for path in class_paths], labels


def _part_of_classes(
    folder: Path, files: dict[str, list[Path]], split: SplitName, *, seed: int
) -> tuple[list[Path], NDArray[np.int64]]:
    """One split of a folder that has only class folders."""
    for name, class_paths in files.items():
        if len(class_paths) < 3:
            raise DataError(
                f"{folder / name} has {len(class_paths)} images; at least 3 are needed, 2 for training and 1 for "
                "testing. Add images or remove the folder."
            )
    paths, labels = _flatten(files)
    parts = stratified_split(labels, val_fraction=TEST_FRACTION, seed=seed)
    chosen = parts.train_indices if split == "train" else parts.val_indices
    return [paths[index] for index in chosen], labels[chosen]


def _check_same_classes(folder: Path, train: tuple[str, ...], test: tuple[str, ...]) -> None:
    if train != test:
        only_train, only_test = sorted(set(train) - set(test)), sorted(set(test) - set(train))
        raise DataError(
            f"class folders differ in {folder}: only in train {', '.join(only_train) or 'none'}; "
            f"only in test {', '.join(only_test) or 'none'}. Give both splits the same classes."
        )
