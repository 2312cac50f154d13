"""Image data sets in parquet: train-00000-of-00001.parquet, train.parquet, data/train-*.parquet, train/0000.parquet.

Without splits in the names, a fifth of each class, drawn from the seed, is the test split.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.decoding import EncodedImage
from model.examples import DataError, SplitName, one_line, shown
from model.parquet_columns import (
    encoded_images,
    image_column,
    label_column,
    label_indices,
    names_of_labels,
    raw_labels,
    stored_class_names,
)
from model.sources_folder import Listing, part_by_seed
from model.split_names import split_of_file, split_of_folder

Shards = Mapping[SplitName | None, list[Path]]


def find_shards(folder: Path) -> Shards:
    """The parquet files of each split in name order, None for those without a split; empty if there are none.

    DataError if their names (train-00000-of-00002.parquet) announce more files than exist, or if they belong to
    several data sets, as Hugging Face keeps them in a folder for each.
    """
    shards: dict[SplitName | None, list[Path]] = defaultdict(list)
    homes: dict[SplitName | None, set[Path]] = defaultdict(set)
    for path in sorted(folder.rglob("*.parquet")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts):
            continue
        split = split_of_file(path.stem)
        home = path.parent
        while split is None and home != folder:
            split, home = split_of_folder(home.name), home.parent
        shards[split].append(path)
        homes[split].add(home if split is not None else path.parent)
    if None in shards and len(shards) > 1:  # such as a table of statistics beside the splits
        del shards[None]
    for split, paths in shards.items():
        if len(homes[split]) > 1:
            names = ", ".join(sorted(shown(home) for home in homes[split]))
            raise DataError(f"{shown(folder)} holds several data sets: {names}. Give the folder of one.")
        _check_all_there(paths)
    return dict(shards)


def list_parquet(folder: Path, shards: Shards, splits: Sequence[SplitName], *, seed: int) -> list[Listing]:
    """The images of some splits; none for a validation split that there is not. Only their rows are read.

    Listing "train" also checks the footers of all files (complete, same class names). Class names are those of Hugging
    Face's metadata, else the training labels as text, sorted. DataError names the file and the problem.
    """
    if None in shards:
        listing = _list_files(folder, shards[None], shards[None])
        return [part_by_seed(listing, split, seed=seed) for split in splits[:1]]
    for split in ("train", "test"):
        if split not in shards:
            raise DataError(
                f"{shown(folder)} has no {split} split. Add {split}-*.parquet; the names of its files are "
                f"{', '.join(path.name for paths in shards.values() for path in paths[:3])}."
            )
    if "train" in splits:
        _common_class_names({path: _open(path) for split in ("train", "val", "test") for path in shards.get(split, ())})
    return [_list_files(folder, shards[split], shards["train"]) for split in splits if split in shards]


def _check_all_there(paths: list[Path]) -> None:
    promised = re.search(r"-of-(\d+)$", paths[0].stem)
    if promised and int(promised[1]) != len(paths):
        raise DataError(
            f"{paths[0].name} in {shown(paths[0].parent)} is one of {int(promised[1])} files, "
            f"but only {len(paths)} exist. Copy or download the others."
        )


def _list_files(folder: Path, paths: list[Path], train_paths: list[Path]) -> Listing:
    """All rows of one split. Without stored class names, those are the labels of the training files."""
    files = {path: _open(path) for path in paths}
    class_names = stored = _common_class_names(files)
    if class_names is None:
        class_names = names_of_labels([label for path in train_paths for label in _labels(path)], folder)
    index = partial(label_indices, class_names=class_names, has_stored_names=stored is not None)
    labels = [index(_labels(path), path=path) for path in paths]
    encoded: list[EncodedImage] = []
    for path, file in files.items():
        column = image_column(file.schema_arrow, path)
        encoded += encoded_images(_read(path, file, column), path)
    if not encoded:
        raise DataError(f"{shown(paths[0])} has no rows. Copy or download it again.")
    return Listing(encoded, np.concatenate(labels), class_names)


def _labels(path: Path) -> list[int | str]:
    file = _open(path)
    return raw_labels(_read(path, file, label_column(file.schema_arrow, path)), path)


def _open(path: Path) -> pq.ParquetFile:
    return _whole(path, lambda: pq.ParquetFile(path))


def _read(path: Path, file: pq.ParquetFile, column: str) -> pa.ChunkedArray:
    return _whole(path, lambda: file.read(columns=[column])[column])


def _whole(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{shown(path)} is not a complete parquet file ({one_line(error)}). Copy or download it again."
        ) from error


def _common_class_names(files: dict[Path, pq.ParquetFile]) -> tuple[str, ...] | None:
    """The class names stored in the footers, None if there are none; DataError if two files differ."""
    stored = {
        path: stored_class_names(file.schema_arrow, label_column(file.schema_arrow, path))
        for path, file in files.items()
    }
    first_path, names = next(iter(stored.items()))
    for path, other in stored.items():
        if other != names:
            raise DataError(
                f"class names differ: {first_path.name} has {', '.join(names or ['none'])}; "
                f"{path.name} has {', '.join(other or ['none'])}. Make the two files from one data set."
            )
    return names
