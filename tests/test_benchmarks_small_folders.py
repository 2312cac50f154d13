"""The folders and the rival's features of `benchmarks.small_folders`."""

from pathlib import Path

import numpy as np

from benchmarks.small_folders import NUM_BINS, chosen, oriented_gradients, write_folder
from model.data import load_training_data
from model.examples import Examples


def test_an_edge_is_one_orientation() -> None:
    images = np.zeros((2, 16, 16, 3), np.uint8)
    images[0, :, 8:, 1] = 200  # dark to bright from left to right: the gradient has an angle of 0
    images[1, 8:, :, 2] = 200  # from top to bottom: 90 degrees, in the middle of nine bins
    features = oriented_gradients(images, cell=8).reshape(2, NUM_BINS, 4)
    for image, expected in ((0, 0), (1, NUM_BINS // 2)):
        np.testing.assert_allclose(np.delete(features[image], expected, axis=0), 0)
        np.testing.assert_allclose(features[image, expected], 0.5, atol=1e-4)


def test_features_do_not_depend_on_contrast() -> None:
    images = np.random.default_rng(0).integers(100, 140, (3, 32, 32, 3))
    features = oriented_gradients(images.astype(np.uint8), cell=4)
    assert features.shape == (3, 7 * 7 * 4 * NUM_BINS)
    stretched = oriented_gradients(((images - 100) * 4).astype(np.uint8), cell=4)
    np.testing.assert_allclose(features, stretched, atol=1e-3)
    assert not np.allclose(features[0], features[1])


def test_the_program_reads_the_chosen_images_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    everything = Examples(rng.integers(0, 256, (90, 8, 8, 3), dtype=np.uint8), np.arange(90) % 3)
    train = chosen(everything, 20, 2, seed=0)
    assert np.bincount(train.labels).tolist() == [10, 10]
    write_folder(tmp_path, {"train": train, "test": chosen(everything, None, 2, seed=0)})
    read = load_training_data(str(tmp_path), image_size=None, seed=0, data_dir=tmp_path)
    assert read.class_names == ("class_0", "class_1")
    assert sorted(image.tobytes() for image in read.examples.images) == sorted(i.tobytes() for i in train.images)
    assert len(list((tmp_path / "test").rglob("*.png"))) == 60
