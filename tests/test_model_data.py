"""Channel statistics against numpy's; the loaders on the digits and on bad paths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.data import DataError, channel_statistics, load_training_data
from model.test_data import load_test_data

RANDOM = np.random.default_rng(0)


def test_channel_statistics_equal_numpys_in_float64() -> None:
    images = RANDOM.integers(0, 256, (2500, 5, 5, 3), dtype=np.uint8)
    images[..., 1] //= 3
    indices = np.arange(0, 2500, 2)
    mean, std = channel_statistics(images, indices)
    pixels = images[indices].astype(np.float64) / 255
    np.testing.assert_allclose(mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(axis=(0, 1, 2)), rtol=1e-12)


def test_channel_of_one_value_has_deviation_one() -> None:
    images = np.full((4, 2, 2, 3), 255, dtype=np.uint8)
    assert channel_statistics(images, np.arange(4)) == ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("name", ["cifar100", "missing/folder"])
def test_unknown_dataset_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"--dataset {name} is not a known data set or folder\. Give auto, cifar10"):
        load_training_data(name, image_size=None, seed=0, data_dir=tmp_path)


def test_folder_that_the_system_refuses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"xxx cannot be read \(File name too long\)\. Check the path and"):
        load_training_data("x" * 300, image_size=None, seed=0, data_dir=tmp_path)


def test_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "images.zip"
    file.touch()
    with pytest.raises(DataError, match=r"images\.zip is a file, not a folder"):
        load_test_data(str(file), image_size=None, seed=0, data_dir=tmp_path)


def test_digits_are_rgb_stratified_and_their_splits_disjoint(tmp_path: Path) -> None:
    data = load_training_data("digits", image_size=None, seed=5, data_dir=tmp_path)
    test = load_test_data("digits", image_size=None, seed=6, data_dir=tmp_path)
    assert data.class_names == tuple("0123456789")
    assert data.examples.images.shape[1:] == test.images.shape[1:] == (16, 16, 3)
    assert len(data.examples) + len(test) == 1797
    fractions = np.bincount(test.labels) / (np.bincount(test.labels) + np.bincount(data.examples.labels))
    np.testing.assert_allclose(fractions, 0.2, atol=0.003)
    train_contents = {image.tobytes() for image in data.examples.images}
    assert not train_contents & {image.tobytes() for image in test.images}
    assert data.examples.images.max() > 240
    assert load_test_data("digits", image_size=32, seed=0, data_dir=tmp_path).images.shape[1:] == (32, 32, 3)
