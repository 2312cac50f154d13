"""Folders as people have them: which folders are splits, which files are read, what is passed over and counted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from image_files import encode_png, load_test, load_train, random_image, survey, write_classes, write_splits
from PIL import Image

from model.data import DataError
from model.split_names import split_of_file, split_of_folder


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Training", "train"),
        ("TRAIN", "train"),
        ("train_set", "train"),
        ("TrainImages", "train"),
        ("seg_train", "train"),
        ("train2017", "train"),
        ("Testing", "test"),
        ("test-data", "test"),
        ("testset", "test"),
        ("valid", "val"),
        ("Validation Set", "val"),
        ("dev", "val"),
        ("trains", None),
        ("test tube", None),
        ("training shoes", None),
        ("cat", None),
    ],
)
def test_folders_of_splits_are_known_by_their_usual_names(name: str, split: str | None) -> None:
    assert split_of_folder(name) == split


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("train-00000-of-00001", "train"),
        ("cifar10-test", "test"),
        ("validation_0", "val"),
        ("test_of_train", None),
        ("0000", None),
    ],
)
def test_files_of_splits_are_known_by_one_word(stem: str, split: str | None) -> None:
    assert split_of_file(stem) == split


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("TRAIN", "Test_Set"), ("seg_train", "seg_test"), ("cars_train", "cars_test")],
)
def test_splits_under_other_names_are_no_classes(tmp_path: Path, train: str, test: str) -> None:
    write_splits(tmp_path, train, test)
    assert load_train(tmp_path).class_names == ("cat", "dog")
    assert len(load_train(tmp_path).examples) == len(load_test(tmp_path)) == 8


def test_a_split_wrapped_in_a_folder_of_its_name_is_read(tmp_path: Path) -> None:
    write_splits(tmp_path, "seg_train/seg_train", "seg_test/seg_test")
    assert load_train(tmp_path).class_names == ("cat", "dog")


def test_a_folder_around_the_splits_is_read_through(tmp_path: Path) -> None:
    write_splits(tmp_path / "photos", "Train", "Test")
    (tmp_path / "__MACOSX").mkdir()
    assert load_train(tmp_path).class_names == ("cat", "dog")


@pytest.mark.parametrize("names", [("set_a", "set_b"), ("entrenamiento", "prueba"), ("fold1", "fold2")])
def test_folders_that_hold_the_same_folders_are_refused_as_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    write_splits(tmp_path, *names)
    with pytest.raises(DataError, match=rf"{names[0]} and {names[1]} hold the same folders \(cat, dog, \.\.\.\)"):
        load_train(tmp_path)


def test_classes_with_one_folder_each_of_the_same_name_are_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_classes(tmp_path / name, {"images": 5})
    assert load_train(tmp_path).class_names == ("cat", "dog")


def test_classes_named_after_a_split_each_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train_cats": 3, "test_cats": 3, "train_dogs": 3, "test_dogs": 3})
    with pytest.raises(DataError, match=r"test_cats and train_cats are named after splits"):
        load_train(tmp_path)


@pytest.mark.parametrize("splits", [("train",), ("train", "test")])
def test_splits_below_the_classes_are_refused(tmp_path: Path, splits: tuple[str, ...]) -> None:
    for name in ("cat", "dog"):
        write_classes(tmp_path / name, dict.fromkeys(splits, 4))
    with pytest.raises(DataError, match=r"cat holds (train|test) and no images, so it is not taken for a class"):
        load_train(tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_classes(tmp_path, {"bus": 5, "train": 5})
    assert load_train(tmp_path).class_names == ("bus", "train")


def test_splits_without_class_folders_are_no_classes(tmp_path: Path) -> None:
    write_classes(tmp_path, {"Train": 5, "Test": 5})
    with pytest.raises(DataError, match=r"Train has no class folders"):
        load_train(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    write_splits(tmp_path)
    write_classes(tmp_path / "testing", {"cat": 2, "dog": 2})
    with pytest.raises(DataError, match=r"has two test splits: test and testing"):
        load_train(tmp_path)


def test_the_folders_own_validation_images_are_used_for_validation(tmp_path: Path) -> None:
    write_splits(tmp_path)
    val = write_classes(tmp_path / "Valid", {"cat": 2, "dog": 3})
    data = load_train(tmp_path)
    assert data.val_indices is not None
    assert len(data.examples) == 8 + 5
    given = data.examples.images[data.val_indices]
    assert np.array_equal(given, np.stack([val[path] for path in sorted(val)]))
    assert data.examples.labels[data.val_indices].tolist() == [0, 0, 1, 1, 1]
    assert survey(tmp_path).val == {"cat": 2, "dog": 3}


def test_validation_without_a_test_split_is_refused_with_advice(tmp_path: Path) -> None:
    write_splits(tmp_path, "train", "val")
    with pytest.raises(DataError, match=r"has no test split\. Rename val to test"):
        load_train(tmp_path)


def test_an_empty_test_class_is_refused(tmp_path: Path) -> None:
    write_splits(tmp_path)
    for path in (tmp_path / "test" / "dog").iterdir():
        path.unlink()
        path.symlink_to("nowhere")
    message = r"\(passed over: 4 dangling links\): class dog \(label 1\) has 0 test images; at least 1 is needed"
    with pytest.raises(DataError, match=message):
        survey(tmp_path)


def test_hidden_folders_thumbnails_and_trash_are_passed_over(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 5, "dog": 5, "trash": 5})
    inside = (".ipynb_checkpoints", "@eaDir", "thumbs", "Thumbnails", "#recycle", "trash")
    for name in inside:
        shutil.copytree(tmp_path / "cat", tmp_path / "dog" / name, ignore=shutil.ignore_patterns(*inside))
    for name in ("@eaDir", "$RECYCLE.BIN", "__MACOSX", ".Trash-1000"):
        shutil.copytree(tmp_path / "cat", tmp_path / name)
    found = survey(tmp_path)
    assert {name: found.train[name] + found.test[name] for name in found.train} == {"cat": 5, "dog": 5, "trash": 5}
    assert found.passed_over == {"hidden": 10, "thumbnails or trash": 40}
    assert found.test_copies == 0


def test_every_file_that_is_passed_over_is_counted_by_its_reason(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 5, "dog": 5})
    (tmp_path / "cat" / "notes.txt").touch()
    (tmp_path / "cat" / "photo.heic").touch()
    (tmp_path / "cat" / "raw").touch()
    (tmp_path / "cat" / ".hidden.png").touch()
    (tmp_path / "cat" / "Thumbs.db").touch()
    (tmp_path / "cat" / "gone.png").symlink_to("../annex/gone.png")
    (tmp_path / "cat" / "session").symlink_to("../annex/session")
    (tmp_path / "stray.png").write_bytes(encode_png(random_image()))
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    assert survey(tmp_path).passed_over == {
        "with an unknown suffix (.txt)": 1,
        "with an unknown suffix (.heic)": 1,
        "without a suffix": 1,
        "hidden": 2,
        "dangling links": 2,
        "outside the class folders": 1,
        "neither file nor folder": 1,
    }


def test_a_class_of_dangling_links_is_refused_with_the_reason(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 5, "dog": 0})
    for index in range(4):
        (tmp_path / "dog" / f"{index}.png").symlink_to(f"../.git/annex/{index}")
    with pytest.raises(DataError, match=r"dog has 0 images.*passed over: 4 dangling links"):
        load_train(tmp_path)


def test_a_small_class_tells_only_what_was_passed_over_in_it(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 5, "dog": 1})
    (tmp_path / "cat" / "notes.txt").touch()
    (tmp_path / "dog" / "1.heic").touch()
    with pytest.raises(DataError, match=r"dog has 1 images.*\(passed over: 1 with an unknown suffix \(\.heic\)\)"):
        load_train(tmp_path)


@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".jp2", ".webp", ".tga", ".TIF"])
def test_usual_suffixes_are_known(tmp_path: Path, suffix: str) -> None:
    write_classes(tmp_path, {"cat": 5, "dog": 5})
    name = {".jfif": "JPEG", ".JPE": "JPEG", ".jp2": "JPEG2000", ".TIF": "TIFF"}.get(suffix, suffix[1:].upper())
    for path in (tmp_path / "cat").iterdir():
        Image.open(path).save(path.with_suffix(suffix), name)
        path.unlink()
    assert survey(tmp_path).train["cat"] == 4


def test_linked_folders_are_followed_and_loops_noticed(tmp_path: Path) -> None:
    folder, store = tmp_path / "images", tmp_path / "store"
    write_classes(folder, {"cat": 4, "dog": 4})
    write_classes(store, {"session": 6})
    (folder / "cat" / "session1").symlink_to(store / "session")
    (store / "session" / "back").symlink_to(folder / "cat")
    (folder / "wolf").symlink_to(store / "session")
    (folder / "dog" / "up").symlink_to("..")
    found = survey(folder)
    assert {name: found.train[name] + found.test[name] for name in found.train} == {"cat": 10, "dog": 4, "wolf": 10}
    assert found.passed_over == {"links to folders read already": 3}
    assert found.num_contradicting > 0


def test_a_class_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path, {"dog": 3})
    strange = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(strange)
    with pytest.raises(DataError, match=r"folder name .*caf\\xe9 is not UTF-8\. Rename the folder"):
        load_train(tmp_path)


def test_a_class_name_may_be_written_in_two_ways(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"caf\u00e9": 3, "cafz": 2})
    write_classes(tmp_path / "test", {"cafe\u0301": 3, "cafz": 2})
    assert load_train(tmp_path).class_names == ("cafz", "caf\u00e9")
    assert load_test(tmp_path).labels.tolist() == [0, 0, 1, 1, 1]


def test_an_image_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 3, "dog": 3})
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/cat/caf\xe9.png")).write_bytes(b"")
    with pytest.raises(DataError, match=r"caf\\xe9\.png cannot be read as an image \(it is empty\)"):
        survey(tmp_path)
