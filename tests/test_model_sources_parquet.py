"""Parquet folders written here: what is read, each bad file with its message, and what each loader leaves unread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encode_png, load_test, load_train, random_image, survey

from model.data import DataError

NAMES = ("cat", "dog")


def write_parquet(
    path: Path,
    images: Sequence[bytes | None],
    labels: Sequence[Any],
    *,
    names: tuple[str, ...] | None = NAMES,
    columns: tuple[str, str] = ("img", "label"),
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            columns[0]: [None if image is None else {"bytes": image, "path": None} for image in images],
            columns[1]: labels,
        }
    )
    if names is not None:
        features = {columns[0]: {"_type": "Image"}, columns[1]: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)


def write_parquet_folder(folder: Path, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Eight training images labelled 0 1 0 1 ... and four test images; returns both."""
    train, test = (np.stack([random_image() for _ in range(count)]) for count in (8, 4))
    write_parquet(folder / "train-00000-of-00001.parquet", [encode_png(i) for i in train], [0, 1] * 4, **options)
    write_parquet(folder / "test-00000-of-00001.parquet", [encode_png(i) for i in test], [1, 0] * 2, **options)
    return train, test


def overwrite_pages(path: Path) -> None:
    """Garbage in place of every row, under a footer that is still whole."""
    content = bytearray(path.read_bytes())
    footer_length = int.from_bytes(content[-8:-4], "little")
    rows = slice(4, len(content) - 8 - footer_length)
    content[rows] = b"\xff" * (rows.stop - rows.start)
    path.write_bytes(content)


@pytest.mark.parametrize("subfolder", ["", "data"])
@pytest.mark.parametrize("column", ["img", "image"])
def test_parquet_is_read(tmp_path: Path, subfolder: str, column: str) -> None:
    train, test = write_parquet_folder(tmp_path / subfolder, columns=(column, "label"))
    data = load_train(tmp_path)
    assert data.name == str(tmp_path)
    assert data.class_names == NAMES
    assert data.warnings == ()
    assert np.array_equal(data.examples.images, train)
    assert data.examples.images.flags.c_contiguous
    assert data.examples.labels.tolist() == [0, 1] * 4
    assert data.examples.labels.dtype == np.int64
    examples = load_test(tmp_path)
    assert np.array_equal(examples.images, test)
    assert examples.labels.tolist() == [1, 0] * 2


def test_parquet_shards_are_read_in_order(tmp_path: Path) -> None:
    write_parquet_folder(tmp_path)
    (tmp_path / "train-00000-of-00001.parquet").unlink()
    images = [random_image() for _ in range(4)]
    write_parquet(tmp_path / "train-00001-of-00002.parquet", [encode_png(i) for i in images[2:]], [0, 1])
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet in .* is one of 2 files, but only 1 exist"):
        load_train(tmp_path)
    write_parquet(tmp_path / "train-00000-of-00002.parquet", [encode_png(i) for i in images[:2]], [0, 1])
    assert np.array_equal(load_train(tmp_path).examples.images, np.stack(images))


def test_parquet_without_class_names_uses_the_labels(tmp_path: Path) -> None:
    write_parquet_folder(tmp_path, names=None)
    assert load_train(tmp_path).class_names == ("0", "1")


def test_training_reads_no_test_row_of_a_parquet(tmp_path: Path) -> None:
    train, _ = write_parquet_folder(tmp_path)
    overwrite_pages(tmp_path / "test-00000-of-00001.parquet")
    assert np.array_equal(load_train(tmp_path).examples.images, train)
    with pytest.raises(DataError, match=r"test-00000-of-00001\.parquet is not a complete parquet file"):
        load_test(tmp_path)


def test_testing_opens_no_training_parquet(tmp_path: Path) -> None:
    _, test = write_parquet_folder(tmp_path)
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"garbage")
    assert np.array_equal(load_test(tmp_path).images, test)


@pytest.mark.parametrize("split", ["train", "test"])
def test_truncated_parquet_of_either_split_is_named_before_training(tmp_path: Path, split: str) -> None:
    write_parquet_folder(tmp_path)
    path = tmp_path / f"{split}-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"{split}-00000-of-00001\.parquet is not a complete parquet file \(.*Copy or"):
        load_train(tmp_path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_parquet_folder_without_a_split_is_refused(tmp_path: Path, split: str) -> None:
    write_parquet_folder(tmp_path)
    (tmp_path / f"{split}-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=rf"{tmp_path} has no {split} split"):
        load_train(tmp_path)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train.parquet", "test.parquet"),
        ("cifar-train.parquet", "cifar-test.parquet"),
        ("Training/part-0.parquet", "Testing/part-0.parquet"),
        ("default/train/0000.parquet", "default/test/0000.parquet"),
        ("plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet"),
    ],
)
def test_parquet_is_found_where_tools_put_it(tmp_path: Path, train: str, test: str) -> None:
    images, tested = write_parquet_folder(tmp_path)
    for name, old in ((train, "train-00000-of-00001.parquet"), (test, "test-00000-of-00001.parquet")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / old).rename(tmp_path / name)
    assert np.array_equal(load_train(tmp_path).examples.images, images)
    assert np.array_equal(load_test(tmp_path).images, tested)


def test_parquet_of_several_data_sets_is_refused(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_parquet_folder(tmp_path / name)
    with pytest.raises(DataError, match=rf"several data sets: {tmp_path}/first, {tmp_path}/second\. Give the folder"):
        load_train(tmp_path)


def test_parquet_validation_rows_are_used_for_validation(tmp_path: Path) -> None:
    write_parquet_folder(tmp_path)
    given = [random_image() for _ in range(4)]
    write_parquet(tmp_path / "validation-00000-of-00001.parquet", [encode_png(i) for i in given], [0, 1, 0, 1])
    data = load_train(tmp_path)
    assert data.val_indices is not None
    assert np.array_equal(data.examples.images[data.val_indices], np.stack(given))


def test_parquet_without_splits_is_split_by_the_seed(tmp_path: Path) -> None:
    images = [random_image() for _ in range(20)]
    write_parquet(tmp_path / "images.parquet", [encode_png(i) for i in images], [0, 1] * 10)
    train, test = load_train(tmp_path).examples, load_test(tmp_path)
    assert (len(train), len(test)) == (16, 4)
    together = {image.tobytes() for image in np.concatenate([train.images, test.images])}
    assert together == {image.tobytes() for image in images}


def test_labels_from_one_with_stored_names_are_named_as_such(tmp_path: Path) -> None:
    write_parquet_folder(tmp_path)
    images = [encode_png(random_image()) for _ in range(4)]
    write_parquet(tmp_path / "train-00000-of-00001.parquet", images, [1, 2, 1, 2])
    with pytest.raises(DataError, match=r"labels run from 1 to 2; labels must be 0\.\.1\. Subtract 1\."):
        load_train(tmp_path)


@pytest.mark.parametrize("labels", [[-1] * 4, [0, 1, 2, 0]])
def test_bad_test_labels_are_found_before_the_run(tmp_path: Path, labels: list[int]) -> None:
    write_parquet_folder(tmp_path)
    images = [encode_png(random_image()) for _ in labels]
    write_parquet(tmp_path / "test-00000-of-00001.parquet", images, labels)
    load_train(tmp_path)
    words = r"4 rows have label -1, the first is row 0 \(usually: unlabelled\)" if -1 in labels else "row 2 has label 2"
    with pytest.raises(DataError, match=rf"test-.*\.parquet: {words}; labels must be 0\.\.1"):
        survey(tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 0, None], r"row 3 has no label\. Label or remove it"),
        ([0, 1, 2, 1], r"row 2 has label 2; labels must be 0\.\.1"),
        ([0, -1, 0, 1], r"row 1 has label -1 \(usually: unlabelled\); labels must be 0\.\.1"),
        (["a", "b", "a", "b"], r"row 0 has label a|2 rows have label a"),
        ([0.5, 1, 0, 1], r"labels must be whole numbers or text; they are double"),
        ([0, 0, 0, 1], r"class dog \(label 1\) has 1 training images; at least 2 are needed"),
        ([0, 0, 0, 0], r"class dog \(label 1\) has 0 training images"),
    ],
)
def test_parquet_with_bad_labels_is_refused(tmp_path: Path, labels: list[Any], message: str) -> None:
    write_parquet_folder(tmp_path)
    write_parquet(tmp_path / "train-00000-of-00001.parquet", [encode_png(random_image()) for _ in labels], labels)
    with pytest.raises(DataError, match=message):
        load_train(tmp_path)


def test_parquet_with_a_negative_label_and_no_names_is_refused(tmp_path: Path) -> None:
    write_parquet_folder(tmp_path, names=None)
    path = tmp_path / "train-00000-of-00001.parquet"
    write_parquet(path, [encode_png(random_image()) for _ in range(3)], [0, 1, -1], names=None)
    with pytest.raises(
        DataError, match=r"row 2 has label -1, which usually means unlabelled; labels must be 0 or above"
    ):
        load_train(tmp_path)


def test_parquet_with_one_class_is_refused(tmp_path: Path) -> None:
    write_parquet_folder(tmp_path, names=None)
    path = tmp_path / "train-00000-of-00001.parquet"
    write_parquet(path, [encode_png(random_image()) for _ in range(3)], [0, 0, 0], names=None)
    with pytest.raises(DataError, match=rf"{tmp_path} has only one class, 0"):
        load_train(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"), [(None, r"row 1 of .*train-0.* \(it has no bytes\)"), (b"x", "row 1 of .*train-0.* can")]
)
def test_parquet_with_a_bad_image_names_its_row(tmp_path: Path, content: bytes | None, message: str) -> None:
    write_parquet_folder(tmp_path)
    images = [encode_png(random_image()), content, encode_png(random_image()), encode_png(random_image())]
    write_parquet(tmp_path / "train-00000-of-00001.parquet", images, [0, 1, 0, 1])
    with pytest.raises(DataError, match=message):
        load_train(tmp_path)


def test_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    write_parquet_folder(tmp_path)
    file = tmp_path / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet has no rows"):
        load_train(tmp_path)


def test_parquet_with_other_class_names_for_testing_is_refused(tmp_path: Path) -> None:
    write_parquet_folder(tmp_path)
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [encode_png(random_image())], [0], names=("cat", "wolf"))
    with pytest.raises(DataError, match=r"class names differ: train-.* has cat, dog; test-.* has cat, wolf"):
        load_train(tmp_path)
