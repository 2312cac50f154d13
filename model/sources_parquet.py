"""A folder in Hugging Face's image layout: train-*.parquet and test-*.parquet, at the top or in data/."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.decoding import EncodedImage, decode_images
from model.examples import DataError, Examples, SourceSplit, SplitName, check_classes, one_line

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMN = "label"


def find_shards(folder: Path, split: SplitName) -> list[Path]:
    """The split's parquet files in name order, from `folder` or else from its data/; empty if there are none.

    DataError if their names (train-00000-of-00002.parquet) announce more files than exist.
    """
    shards = sorted(folder.glob(f"{split}-*.parquet")) or sorted((folder / "data").glob(f"{split}-*.parquet"))
    promised = re.search(r"-of-(\d+)\.parquet$", shards[0].name) if shards else None
    if promised and int(promised[1]) != len(shards):
        raise DataError(
            f"{shards[0].name} in {shards[0].parent} is one of {int(promised[1])} files, "
            f"but only {len(shards)} exist. Copy or download the others."
        )
    return shards


def read_parquet(folder: Path, split: SplitName, *, image_size: int | None) -> SourceSplit:
    """Decode one split: images in column image or img (a struct with `bytes`), integer labels in column label.

    Class names come from the Hugging Face schema metadata; without it they are the labels 0..largest as text. Reading
    "train" also checks the footers of the test files (complete, same class names) but reads none of their rows.
    Reading "test" does not open the training files. DataError names the file and the problem.
    """
    shards = find_shards(folder, split)
    if not shards:
        raise DataError(f"{folder} has no {split} split. Add {split}-*.parquet.")
    files = {path: _open(path) for path in shards}
    if split == "train":
        test_shards = find_shards(folder, "test")
        if not test_shards:
            raise DataError(f"{folder} has no test split. Add test-*.parquet, or give a folder of class folders.")
        class_names = _common_class_names(files | {path: _open(path) for path in test_shards})
    else:
        class_names = _common_class_names(files)
    encoded: list[EncodedImage] = []
    labels: list[NDArray[np.int64]] = []
    for path, file in files.items():
        shard_images, shard_labels = _read_shard(path, file, num_classes=len(class_names) if class_names else None)
        encoded += shard_images
        labels.append(shard_labels)
    if not encoded:
        raise DataError(f"{shards[0]} has no rows. Copy or download it again.")
    all_labels = np.concatenate(labels)
    names = class_names or tuple(str(label) for label in range(int(all_labels.max()) + 1))
    if split == "train":
        check_classes(all_labels, names, place=folder)
    return SourceSplit(Examples(decode_images(encoded, image_size=image_size), all_labels), names)


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    columns = file.schema_arrow.names
    if LABEL_COLUMN not in columns or not set(IMAGE_COLUMNS) & set(columns):
        raise DataError(
            f"{path} needs a column {' or '.join(IMAGE_COLUMNS)} and a column {LABEL_COLUMN}; "
            f"it has {', '.join(columns)}. Rename its columns."
        )
    image_type = file.schema_arrow.field(_image_column(file)).type
    if not (pa.types.is_struct(image_type) and image_type.get_field_index("bytes") >= 0):
        raise DataError(
            f"{path}: column {_image_column(file)} must be a struct with `bytes`, the encoded image; "
            f"it is {image_type}. Save it with Hugging Face's Image feature."
        )
    label_type = file.schema_arrow.field(LABEL_COLUMN).type
    if not pa.types.is_integer(label_type):
        raise DataError(f"{path}: column {LABEL_COLUMN} must hold integers; it is {label_type}. Number the classes.")
    return file


def _image_column(file: pq.ParquetFile) -> str:
    return next(name for name in IMAGE_COLUMNS if name in file.schema_arrow.names)


def _damaged(path: Path, error: BaseException) -> DataError:
    return DataError(f"{path} is not a complete parquet file ({one_line(error)}). Copy or download it again.")


def _common_class_names(files: dict[Path, pq.ParquetFile]) -> tuple[str, ...] | None:
    """The class names stored in the footers, None if there are none; DataError if two files differ."""
    stored = {path: _stored_class_names(file) for path, file in files.items()}
    first_path, names = next(iter(stored.items()))
    for path, other in stored.items():
        if other != names:
            raise DataError(
                f"class names differ: {first_path.name} has {', '.join(names or ['none'])}; "
                f"{path.name} has {', '.join(other or ['none'])}. Make the two files from one data set."
            )
    return names


def _stored_class_names(file: pq.ParquetFile) -> tuple[str, ...] | None:
    try:
        features = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[LABEL_COLUMN]["names"])
    except (KeyError, TypeError, ValueError):  # written by another tool, or with a plain integer feature
        return None


def _read_shard(
    path: Path, file: pq.ParquetFile, *, num_classes: int | None
) -> tuple[list[EncodedImage], NDArray[np.int64]]:
    column = _image_column(file)
    try:
        table = file.read(columns=[f"{column}.bytes", LABEL_COLUMN])
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    contents = [content for chunk in table[column].chunks for content in pc.struct_field(chunk, "bytes").to_pylist()]
    if None in contents:
        raise DataError(f"{path}: row {contents.index(None)} has no image bytes. Fill or remove it.")
    if table[LABEL_COLUMN].null_count:
        row = table[LABEL_COLUMN].to_pylist().index(None)
        raise DataError(f"{path}: row {row} has no label. Label or remove it.")
    labels = table[LABEL_COLUMN].to_numpy().astype(np.int64)
    is_outside = (labels < 0) | (labels >= (num_classes or np.iinfo(np.int64).max))
    if is_outside.any():
        row = int(is_outside.argmax())
        allowed = f"0..{num_classes - 1}" if num_classes else "0 or above"
        raise DataError(f"{path}: row {row} has label {labels[row]}; labels must be {allowed}. Correct or remove it.")
    return [EncodedImage(f"row {row} of {path}", content) for row, content in enumerate(contents)], labels
