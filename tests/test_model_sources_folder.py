"""Class folders written here: what is read, each bad folder with its message, and what each loader leaves unopened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import encode_png, load_test, load_train, random_image, write_classes
from PIL import Image

from model.data import DataError


def test_folder_with_splits_is_read(tmp_path: Path) -> None:
    train = write_classes(tmp_path / "train", {"dog": 3, "cat": 2})
    test = write_classes(tmp_path / "test", {"dog": 1, "cat": 2})
    (tmp_path / "train" / "cat" / "notes.txt").touch()
    (tmp_path / "train" / "cat" / "._00.png").touch()
    data = load_train(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert data.examples.labels.tolist() == [0, 0, 1, 1, 1]
    assert np.array_equal(data.examples.images, np.stack([train[path] for path in sorted(train)]))
    examples = load_test(tmp_path)
    assert examples.labels.tolist() == [0, 0, 1]
    assert np.array_equal(examples.images, np.stack([test[path] for path in sorted(test)]))


@pytest.mark.parametrize(("broken", "load"), [("test", load_train), ("train", load_test)])
def test_neither_loader_opens_the_other_split(tmp_path: Path, broken: str, load: Any) -> None:
    for split in ("train", "test"):
        write_classes(tmp_path / split, {"cat": 2, "dog": 2})
    for path in (tmp_path / broken).rglob("*.png"):
        path.write_bytes(b"garbage")
    load(tmp_path)


def test_folder_without_splits_is_split_by_the_seed(tmp_path: Path) -> None:
    images = write_classes(tmp_path, {"cat": 10, "dog": 20})
    train, test = load_train(tmp_path).examples, load_test(tmp_path)
    assert np.bincount(train.labels).tolist() == [8, 16]
    assert np.bincount(test.labels).tolist() == [2, 4]
    together = {image.tobytes() for image in np.concatenate([train.images, test.images])}
    assert together == {image.tobytes() for image in images.values()}
    by_content = {image.tobytes(): path.startswith("dog") for path, image in images.items()}
    assert [by_content[image.tobytes()] for image in test.images] == test.labels.astype(bool).tolist()
    assert np.array_equal(load_test(tmp_path).images, test.images)
    assert not np.array_equal(load_test(tmp_path, seed=1).images, test.images)


def test_loaders_of_a_folder_without_splits_decode_their_own_part_only(tmp_path: Path) -> None:
    images = write_classes(tmp_path, {"cat": 5, "dog": 5})
    test = {image.tobytes() for image in load_test(tmp_path).images}
    for path, image in images.items():
        if image.tobytes() in test:
            (tmp_path / path).write_bytes(b"garbage")
    assert len(load_train(tmp_path).examples) == 8
    with pytest.raises(DataError, match=r"^2 images cannot be read"):
        load_test(tmp_path)


@pytest.mark.parametrize("missing", ["train", "test"])
def test_folder_without_one_split_is_refused(tmp_path: Path, missing: str) -> None:
    present = "test" if missing == "train" else "train"
    write_classes(tmp_path / present, {"cat": 2, "dog": 2})
    with pytest.raises(DataError, match=rf"{tmp_path} has no {missing} split\. Add"):
        load_train(tmp_path)


def test_folders_that_hold_no_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path} is empty\. Put one folder of images per class"):
        load_train(tmp_path)
    (tmp_path / "image.png").write_bytes(encode_png(random_image()))
    with pytest.raises(DataError, match=rf"{tmp_path} has no class folders\. Put the images of each class"):
        load_train(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=rf"{tmp_path} has class folders such as cat, but no images"):
        load_train(tmp_path)


def test_empty_test_split_is_named_before_training(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"cat": 2, "dog": 2})
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"test is empty"):
        load_train(tmp_path)


def test_folders_with_too_few_images_or_classes_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path / "few", {"cat": 3, "dog": 2})
    with pytest.raises(DataError, match=r"dog has 2 images; at least 3 are needed"):
        load_train(tmp_path / "few")
    write_classes(tmp_path / "one", {"cat": 3})
    with pytest.raises(DataError, match=r"one has only one class, cat; a classifier needs at least two"):
        load_train(tmp_path / "one")
    for split in ("train", "test"):
        write_classes(tmp_path / "split" / split, {"cat": 3, "dog": 1})
    with pytest.raises(DataError, match=r"class dog \(label 1\) has 1 training images"):
        load_train(tmp_path / "split")


def test_folder_with_other_classes_for_testing_is_refused(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"cat": 2, "dog": 2})
    write_classes(tmp_path / "test", {"cat": 2, "wolf": 2})
    with pytest.raises(DataError, match=r"only in train dog; only in test wolf\. Give both splits the same classes"):
        load_train(tmp_path)


def test_unreadable_image_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 5, "dog": 5})
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(
        DataError,
        match=r"8 images cannot be read \(image file is truncated\): .*cat/0\d\.png.*\. Replace or remove them\.",
    ):
        load_train(tmp_path)


def test_fingerprint_changes_with_a_pixel_a_label_or_a_class_name(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_classes(tmp_path / split, {"cat": 4, "dog": 4})
    cat, dog = tmp_path / "train" / "cat", tmp_path / "train" / "dog"
    fingerprints = [load_train(tmp_path).fingerprint]
    assert load_train(tmp_path, image_size=8, seed=1).fingerprint == fingerprints[0]

    image = np.asarray(Image.open(cat / "02.png")).copy()
    image[0, 0, 0] ^= 1
    (cat / "02.png").write_bytes(encode_png(image))
    fingerprints.append(load_train(tmp_path).fingerprint)

    (cat / "03.png").rename(dog / "!.png")  # comes first among the dogs: the images and their order stay as they are
    fingerprints.append(load_train(tmp_path).fingerprint)

    for split in ("train", "test"):
        (tmp_path / split / "dog").rename(tmp_path / split / "wolf")
    fingerprints.append(load_train(tmp_path).fingerprint)
    assert len(set(fingerprints)) == 4


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    write_classes(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "dog").chmod(0)
    with pytest.raises(DataError, match=r"dog cannot be read \(Permission denied\)"):
        load_train(tmp_path)
