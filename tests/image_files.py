"""Small random images, encoded, and the loaders with the arguments that most tests of a folder leave alone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from model.data import Examples, TrainingData, load_training_data
from model.test_data import load_test_data

RANDOM = np.random.default_rng(0)


def random_image(size: int = 8) -> np.ndarray:
    return RANDOM.integers(0, 256, (size, size, 3), dtype=np.uint8)


def encode_png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def load_train(folder: Path, image_size: int | None = None, seed: int = 0) -> TrainingData:
    return load_training_data(str(folder), image_size=image_size, seed=seed, data_dir=folder)


def load_test(folder: Path, image_size: int | None = None, seed: int = 0) -> Examples:
    return load_test_data(str(folder), image_size=image_size, seed=seed, data_dir=folder)
