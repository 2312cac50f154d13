"""CIFAR-10 from a small archive like the published one, and the data set `auto`."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from cifar10_release import make_release, serve

from model import sources_cifar10
from model.data import DataError, load_training_data
from model.sources_cifar10 import FOLDER_NAME, Release, read_cifar10
from model.test_data import load_test_data


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_cifar10_is_downloaded_once_and_read(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    release, contents = make_release(tmp_path, "")
    with serve((tmp_path / "archive").read_bytes()) as url:
        release = dataclasses.replace(release, url=url)
        train = read_cifar10(data_dir, "train", image_size=None, release=release)
    test = read_cifar10(data_dir, "test", image_size=None, release=release)  # the server is gone by now
    assert sorted(path.name for path in data_dir.iterdir()) == [FOLDER_NAME]
    assert train.class_names == test.class_names == ("plane", "car")
    assert train.examples.labels.tolist() == [0, 1, 1, 0] * 2
    expected = np.concatenate([contents[name]["data"] for name in ("data_batch_1", "data_batch_2")])
    assert np.array_equal(train.examples.images.transpose(0, 3, 1, 2).reshape(8, 3072), expected)
    assert np.array_equal(test.examples.images.transpose(0, 3, 1, 2).reshape(4, 3072), contents["test_batch"]["data"])


@pytest.fixture
def cifar10_folder(tmp_path: Path) -> tuple[Path, Release]:
    release, _ = make_release(tmp_path, "")
    with tarfile.open(tmp_path / "archive") as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path, release


def test_cifar10_test_batch_is_not_unpacked_for_training(cifar10_folder: tuple[Path, Release]) -> None:
    data_dir, release = cifar10_folder
    (data_dir / FOLDER_NAME / "test_batch").write_bytes(b"garbage")
    batches = {**release.batches, "test": {"test_batch": hashlib.md5(b"garbage").hexdigest()}}
    release = dataclasses.replace(release, batches=batches)
    assert len(read_cifar10(data_dir, "train", image_size=None, release=release).examples) == 8
    with pytest.raises(pickle.UnpicklingError):
        read_cifar10(data_dir, "test", image_size=None, release=release)


def test_cifar10_training_batches_are_not_opened_for_testing(cifar10_folder: tuple[Path, Release]) -> None:
    data_dir, release = cifar10_folder
    (data_dir / FOLDER_NAME / "data_batch_2").unlink()
    assert len(read_cifar10(data_dir, "test", image_size=None, release=release).examples) == 4


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
def test_damaged_cifar10_file_is_named_before_training(cifar10_folder: tuple[Path, Release], name: str) -> None:
    data_dir, release = cifar10_folder
    path = data_dir / FOLDER_NAME / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"{name} is not the published file: it is truncated or changed\. Delete"):
        read_cifar10(data_dir, "train", image_size=None, release=release)
    path.unlink()
    with pytest.raises(DataError, match=rf"{name} cannot be read \(No such file or directory\)\. Delete"):
        read_cifar10(data_dir, "train", image_size=None, release=release)


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """CIFAR-10 published where nothing is; returns an empty data folder."""
    release, _ = make_release(tmp_path, (tmp_path / "missing").as_uri())
    monkeypatch.setattr(sources_cifar10, "official_release", lambda: release)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_auto_falls_back_to_digits_and_says_so(unreachable: Path) -> None:
    data = load_training_data("auto", image_size=None, seed=0, data_dir=unreachable)
    assert data.name == "digits"
    (warning,) = data.warnings
    assert "NOT CIFAR-10" in warning
    assert "could not download" in warning
    assert "\n" not in warning
    assert len(load_test_data("auto", image_size=None, seed=0, data_dir=unreachable)) == 1797 - len(data.examples)
    with pytest.raises(DataError, match="could not download"):
        load_training_data("cifar10", image_size=None, seed=0, data_dir=unreachable)


def test_auto_does_not_pass_over_a_damaged_copy(unreachable: Path) -> None:
    (unreachable / FOLDER_NAME).mkdir()
    with pytest.raises(DataError, match=r"test_batch cannot be read"):
        load_training_data("auto", image_size=None, seed=0, data_dir=unreachable)


def test_auto_takes_cifar10_where_it_is_on_disk(
    cifar10_folder: tuple[Path, Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir, release = cifar10_folder
    monkeypatch.setattr(sources_cifar10, "official_release", lambda: release)
    data = load_training_data("auto", image_size=16, seed=0, data_dir=data_dir)
    assert data.name == "cifar10"
    assert data.warnings == ()
    assert data.examples.images.shape == (8, 16, 16, 3)
    assert len(load_test_data("auto", image_size=16, seed=0, data_dir=data_dir)) == 4
