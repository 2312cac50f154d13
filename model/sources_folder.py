"""Image files in class folders: train/<class>/* and test/<class>/*, or <class>/* alone, split by a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.decoding import EncodedImage, decode_images
from model.examples import DataError, Examples, SourceSplit, SplitName, check_classes
from model.splits import stratified_split

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
TEST_FRACTION = 0.2
"""Part of every class that becomes the test split where the folder has none, rounded."""


def read_image_folder(folder: Path, split: SplitName, *, image_size: int | None, seed: int) -> SourceSplit:
    """Decode one split; the other's files are listed at most, never opened. Labels follow the sorted folder names.

    Files are taken at any depth below a class folder, in name order; hidden ones and those without an image's suffix
    are passed over. Without train/ and test/ a fifth of every class, drawn from `seed`, is the test split. DataError
    names what is missing.
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
                f"{folder} lacks a {needed} split. Add {folder / needed} with a folder for every class, "
                "or keep the class folders alone, to have a fifth of them set aside for testing."
            )
    return _list_classes(folder / split)


def _list_classes(folder: Path) -> dict[str, list[Path]]:
    """Image files by class, both in name order; DataError if there are none."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not any(folder.iterdir()):
        raise DataError(f"{folder} is empty. Put a folder of images for every class into it.")
    if not names:
        raise DataError(f"{folder} has no class folders. Put the images of every class into a folder of its own.")
    files = {name: sorted(path for path in (folder / name).rglob("*") if _is_image(path)) for name in names}
    if not any(files.values()):
        raise DataError(
            f"{folder} has class folders, {names[0]} for one, but no images ({', '.join(sorted(IMAGE_SUFFIXES))}) "
            "in them. Add images or name another folder."
        )
    return files


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _flatten(files: dict[str, list[Path]]) -> tuple[list[Path], NDArray[np.int64]]:
    """All paths, class after class, and their labels."""
    counts = [len(class_paths) for class_paths in files.values()]
    labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return [path for class_paths in files.values() for path in class_paths], labels


def _part_of_classes(
    folder: Path, files: dict[str, list[Path]], split: SplitName, *, seed: int
) -> tuple[list[Path], NDArray[np.int64]]:
    """The split's share of a folder that has no splits of its own."""
    for name, class_paths in files.items():
        if len(class_paths) < 3:
            raise DataError(
                f"{folder / name} has {len(class_paths)} images; at least 3 are needed, 2 to train on and 1 to test "
                "with. Add some or remove the folder."
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
