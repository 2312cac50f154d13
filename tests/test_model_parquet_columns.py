"""How images and labels may be stored in the columns of a parquet file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encode_png, load_test, load_train, random_image
from PIL import Image

from model.data import DataError


@pytest.mark.parametrize("kind", ["binary", "large_binary", "path", "struct_path", "lists", "flat", "base64"])
def test_images_are_read_however_they_are_stored(tmp_path: Path, kind: str) -> None:
    pictures = [random_image() for _ in range(4)]
    for index, image in enumerate(pictures):
        (tmp_path / f"{index}.png").write_bytes(encode_png(image))
    grey = [image[..., 0] for image in pictures]
    column = {
        "binary": pa.array([encode_png(image) for image in pictures]),
        "large_binary": pa.array([encode_png(image) for image in pictures], pa.large_binary()),
        "path": pa.array([f"{index}.png" for index in range(4)]),
        "struct_path": pa.array([{"bytes": None, "path": f"{index}.png"} for index in range(4)]),
        "base64": pa.array([base64.b64encode(encode_png(np.tile(image, (16, 16, 1)))).decode() for image in pictures]),
        "lists": pa.array([image.tolist() for image in pictures]),
        "flat": pa.array([image.reshape(-1).tolist() for image in grey]),
    }[kind]
    for split in ("train", "test"):
        pq.write_table(pa.table({"image": column, "label": [0, 0, 1, 1]}), tmp_path / f"{split}.parquet")
    expected = [np.repeat(one[..., None], 3, axis=2) for one in grey] if kind == "flat" else pictures
    if kind == "base64":
        expected = [np.asarray(Image.fromarray(np.tile(one, (16, 16, 1))).resize((8, 8), 2)) for one in pictures]
    assert np.array_equal(load_train(tmp_path, image_size=8).examples.images, np.stack(expected))


def test_an_array_that_is_no_image_is_refused_with_its_shape(tmp_path: Path) -> None:
    column = pa.array([random_image().reshape(-1).tolist() for _ in range(4)])
    for split in ("train", "test"):
        pq.write_table(pa.table({"image": column, "label": [0, 0, 1, 1]}), tmp_path / f"{split}.parquet")
    with pytest.raises(DataError, match=r"an array of shape \(192,\) is not an image\. Store \(H, W\)"):
        load_train(tmp_path)


@pytest.mark.parametrize(
    ("pixels", "fact"),
    [
        ([], r"shape \(0,\)|shape \(0, 0\)"),
        ([[1, 2], [3]], "rows do not match"),
        ([[1, None], [3, 4]], "1 to 4 with fractions, gaps"),
        ([[0.0, 0.25], [0.5, 1.0]], "0 to 1 with fractions"),
        ([[0, 256], [3, 4]], "0 to 256 with"),
    ],
)
def test_numbers_that_are_no_pixels_are_refused(tmp_path: Path, pixels: list[Any], fact: str) -> None:
    for split in ("train", "test"):
        pq.write_table(
            pa.table({"image": pa.array([pixels] * 4), "label": [0, 0, 1, 1]}), tmp_path / f"{split}.parquet"
        )
    with pytest.raises(DataError, match=fact):
        load_train(tmp_path)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["dog", "cat", "dog", "cat"], ("cat", "dog")),
        ([1, 2, 1, 2], ("1", "2")),
        ([10, 9, 10, 9], ("9", "10")),
        ([1.0, 0.0, 1.0, 0.0], ("0", "1")),
        ([True, False, True, False], ("0", "1")),
        (pa.array(["dog", "cat", "dog", "cat"]).dictionary_encode(), ("cat", "dog")),
    ],
)
def test_labels_without_stored_names_name_the_classes(tmp_path: Path, labels: Any, names: tuple[str, str]) -> None:
    for split in ("train", "test"):
        images = [encode_png(random_image()) for _ in range(4)]
        pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / f"{split}.parquet")
    data = load_train(tmp_path)
    assert data.class_names == names
    assert data.examples.labels.tolist() in ([1, 0, 1, 0], [0, 1, 0, 1])
    assert [names[label] for label in data.examples.labels] == [
        str(int(label)) if isinstance(label, float | bool) else str(label)
        for label in (labels if isinstance(labels, list) else labels.to_pylist())
    ]
    assert load_test(tmp_path).labels.tolist() == data.examples.labels.tolist()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"img": ["x.png"], "number": [0]}, r"has no column of labels \(label\); its columns are img, number\. Rename"),
        ({"a": [b"x"], "b": [b"x"], "label": [0]}, r"has several columns of images \(image or img\): a, b"),
        (
            {"img": [b"x"], "fine_label": [0], "coarse_label": [0]},
            r"several columns of labels .*: fine_label, coarse",
        ),
        ({"width": [3], "label": [0]}, r"has no column of images \(image or img\); its columns are width, label"),
    ],
)
def test_parquet_with_unclear_columns_is_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    for split in ("train", "test"):
        pq.write_table(pa.table(table), tmp_path / f"{split}.parquet")
    with pytest.raises(DataError, match=message):
        load_train(tmp_path)
