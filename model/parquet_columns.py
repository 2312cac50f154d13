"""The columns of an image data set in parquet: which hold images and labels, and how they are stored."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from model.decoding import EncodedImage
from model.examples import DataError, shown

_IMAGE_NAMES = ("image", "img", "images", "picture", "photo", "pixels", "image_bytes", "bytes", "file_name", "path")
_LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "target",
    "category",
    "class_label",
    "class_name",
    "label_id",
    "class_id",
    "cls",
    "y",
)
_SHORTEST_BASE64 = 100
"""Characters; text with a dot is none."""


def image_column(schema: pa.Schema, path: Path) -> str:
    """The column of images: one of the usual names, else the only column that may hold some. DataError if unclear."""
    known = [name for name in _IMAGE_NAMES if name in schema.names and _may_be_images(schema.field(name).type)]
    others = [field.name for field in schema if _is_struct_or_bytes(field.type)]
    return _chosen(known, others, schema, path, f"images ({' or '.join(_IMAGE_NAMES[:2])})")


def label_column(schema: pa.Schema, path: Path) -> str:
    """The column of labels: one of the usual names, else the only one that ends so. DataError if unclear."""
    known = [name for name in _LABEL_NAMES if name in schema.names]
    others = [name for name in schema.names if name.rpartition("_")[2] in ("label", "class", "labels")]
    return _chosen(known, others, schema, path, f"labels ({_LABEL_NAMES[0]})")


def stored_class_names(schema: pa.Schema, column: str) -> tuple[str, ...] | None:
    """The class names in Hugging Face's metadata; None if another tool wrote the file, or labels have no names."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[column]["names"])
    except (KeyError, TypeError, ValueError):
        return None


def raw_labels(column: pa.ChunkedArray, path: Path) -> list[int | str]:
    """Labels as stored: whole numbers or text. DataError if some are missing or of another kind."""
    values: list[Any] = column.to_pylist()
    if missing := [row for row, value in enumerate(values) if value is None or value != value]:
        raise DataError(f"{shown(path)}: {_rows(missing)} no label. Label or remove {_them(missing)}.")
    if all(isinstance(value, (bool, float)) and value == int(value) for value in values):
        values = [int(value) for value in values]
    if not all(isinstance(value, (int, str)) for value in values):
        raise DataError(
            f"{shown(path)}: labels must be whole numbers or text; they are {column.type}. Number the classes."
        )
    return values


def label_indices(
    labels: Sequence[int | str], class_names: Sequence[str], *, has_stored_names: bool, path: Path
) -> NDArray[np.int64]:
    """The position of each label among the class names. DataError counts the labels that are no class.

    `has_stored_names`: whether whole numbers are positions in the names, as Hugging Face stores them.
    """
    places: dict[int | str, int] = {name: index for index, name in enumerate(class_names)}
    if has_stored_names:
        places |= {index: index for index in range(len(class_names))}
    keys = labels if has_stored_names else [str(label) for label in labels]
    unknown = Counter(str(key) for key in keys if key not in places)
    if unknown:
        raise DataError(f"{shown(path)}: {_unknown_text(unknown, labels, class_names, has_stored_names)}")
    return np.fromiter((places[key] for key in keys), dtype=np.int64, count=len(labels))


def names_of_labels(labels: Sequence[int | str], path: Path) -> tuple[str, ...]:
    """Class names where none are stored: the labels themselves, sorted. DataError for labels below 0."""
    negative = [row for row, label in enumerate(labels) if not isinstance(label, str) and label < 0]
    if negative:
        raise DataError(
            f"{shown(path)}: {_rows(negative)} label {labels[negative[0]]}, which usually means unlabelled; labels "
            f"must be 0 or above. Label or remove {_them(negative)}."
        )
    return tuple(str(label) for label in sorted(set(labels), key=lambda label: (isinstance(label, str), label)))


def encoded_images(column: pa.ChunkedArray, path: Path) -> list[EncodedImage]:
    """The images of a column, not decoded: structs with bytes or a path, bytes, paths, or arrays of numbers."""
    content = _content_of(column.type, path)
    return [
        EncodedImage(f"row {row} of {shown(path)}", None if value is None else content(value))
        for row, value in enumerate(column.to_pylist())
    ]


def _content_of(kind: pa.DataType, path: Path) -> Callable[[Any], bytes | Path | None]:
    """How a value of the image column becomes an encoded image."""
    if pa.types.is_struct(kind):
        return lambda value: value.get("bytes") or _beside(value.get("path"), path)
    if _is_text(kind):
        return lambda value: _beside(value, path)
    return partial(_as_png, path=path) if _is_list(kind) else bytes


def _beside(name: str | None, path: Path) -> bytes | Path | None:
    """A file named in a parquet file, from its folder; long text that names none is an image in base64."""
    if name is None:
        return None
    if len(name) > _SHORTEST_BASE64:
        with contextlib.suppress(ValueError):
            return base64.b64decode(name.partition("base64,")[2] or name, validate=True)
    return path.parent / name


def _as_png(value: list[Any], path: Path) -> bytes:
    """Nested lists of whole numbers 0..255, (H, W) or (H, W, C); flat lists of a square. DataError for others."""
    advice = "Store (H, W) or (H, W, 3) whole numbers of 0..255, or encoded images."
    try:
        pixels = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):  # rows of different lengths, or no numbers
        raise DataError(f"{shown(path)}: an array whose rows do not match is not an image. {advice}") from None
    if pixels.ndim == 1:
        side = round(len(pixels) ** 0.5)
        pixels = pixels.reshape(side, side) if side * side == len(pixels) else pixels
    is_image = pixels.size > 0 and (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4)))
    if not is_image:
        raise DataError(f"{shown(path)}: an array of shape {pixels.shape} is not an image. {advice}")
    if not (np.isin(pixels, np.arange(256)).all()):  # None is NaN here
        raise DataError(
            f"{shown(path)}: an array of numbers {np.nanmin(pixels):g} to {np.nanmax(pixels):g} with fractions, gaps "
            f"or numbers outside of 0..255 is not an image. {advice}"
        )
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _chosen(known: list[str], others: list[str], schema: pa.Schema, path: Path, meaning: str) -> str:
    candidates = known[:1] or others
    if len(candidates) == 1:
        return candidates[0]
    fault = f"has several columns of {meaning}: {', '.join(others)}" if others else f"has no column of {meaning}"
    raise DataError(f"{shown(path)} {fault}; its columns are {', '.join(schema.names)}. Rename the one to use.")


def _may_be_images(kind: pa.DataType) -> bool:
    return _is_struct_or_bytes(kind) or _is_text(kind) or _is_list(kind)


def _is_struct_or_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0 or kind.get_field_index("path") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _unknown_text(
    unknown: Counter[str], labels: Sequence[int | str], class_names: Sequence[str], has_stored_names: bool
) -> str:
    """What is wrong with labels that are no class, and what to do."""
    value, count = unknown.most_common(1)[0]
    row = [str(label) for label in labels].index(value)
    place = f"row {row} has label {value}" if count == 1 else f"{count} rows have label {value}, the first is row {row}"
    known = f"0..{len(class_names) - 1}" if has_stored_names else f"those of the training split, {_few(class_names)}"
    numbers = {label for label in labels if isinstance(label, int)}
    if value.startswith("-"):
        place += " (usually: unlabelled)"
    elif has_stored_names and numbers and min(numbers) == 1 and max(numbers) == len(class_names):
        return f"labels run from 1 to {len(class_names)}; labels must be {known}. Subtract 1."
    return f"{place}; labels must be {known}. Correct or remove it."


def _few(names: Sequence[str]) -> str:
    return ", ".join([*names[:5], *(["..."] if len(names) > 5 else [])])


def _rows(rows: Sequence[int]) -> str:
    return f"row {rows[0]} has" if len(rows) == 1 else f"{len(rows)} rows, the first is row {rows[0]}, have"


def _them(rows: Sequence[int]) -> str:
    return "it" if len(rows) == 1 else "them"
