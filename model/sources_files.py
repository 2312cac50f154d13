"""A folder of the user's own: class folders of image files, or image parquet."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from model.decoding import decode_all
from model.examples import Examples, Reading, SourceSplit, SplitName, check_classes, shown
from model.image_files import is_image_name
from model.sources_folder import Listing, list_image_folder, passed_over_text
from model.sources_parquet import Shards, find_shards, list_parquet


def read_files(
    folder: Path, split: SplitName, *, image_size: int | None, seed: int, skip_unreadable: bool
) -> SourceSplit:
    """Decode one split; with "train", the source's own validation images after it. The other split is not decoded.

    DataError names all unreadable images, the missing folder or the class without images.
    """
    splits: tuple[SplitName, ...] = ("train", "val") if split == "train" else (split,)
    shards = find_shards(folder)
    if _is_parquet(folder, shards):
        listings = list_parquet(folder, shards, splits, seed=seed)
    else:
        listings = list_image_folder(folder, splits, seed=seed)
    reading = Reading()
    for listing in listings:
        reading.passed_over += listing.passed_over
    decoded = decode_all(
        [one for listing in listings for one in listing.encoded],
        reading,
        image_size=image_size,
        skip_unreadable=skip_unreadable,
    )
    labels = np.concatenate([listing.labels for listing in listings])[decoded.indices]
    is_val = decoded.indices >= len(listings[0].encoded)
    _check_parts(listings, labels, is_val, split, place=f"{shown(folder)}{passed_over_text(reading.passed_over)}")
    return SourceSplit(
        Examples(decoded.images, labels),
        listings[0].class_names,
        val_indices=np.flatnonzero(is_val) if len(listings) > 1 else None,
        reading=reading,
    )


def _check_parts(
    listings: list[Listing], labels: np.ndarray, is_val: np.ndarray, split: SplitName, *, place: str
) -> None:
    """DataError if a class has too few images in any part."""
    names = listings[0].class_names
    check_classes(labels[~is_val], names, place=place, split=split)
    if len(listings) > 1:
        check_classes(labels[is_val], names, place=place, split="val")


def _is_parquet(folder: Path, shards: Shards) -> bool:
    """Whether the images are in parquet files: some are named after splits, or there are no image files."""
    if not shards or None not in shards:
        return bool(shards)
    return not any(is_image_name(name) for _at, _names, files in os.walk(folder) for name in files)
