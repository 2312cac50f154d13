"""Small random images, encoded, and the loaders with the arguments that most tests of a folder leave alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.data import Examples, TrainingData, load_training_data
from model.survey import ImageSurvey, load_and_survey
from model.test_data import load_test_data

RANDOM = np.random.default_rng(0)


def random_image(size: int = 8) -> np.ndarray:
    return RANDOM.integers(0, 256, (size, size, 3), dtype=np.uint8)


def encode_png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def write_classes(folder: Path, counts: dict[str, int], size: int = 8) -> dict[str, np.ndarray]:
    """PNG files 00.png, 01.png, ... in a folder for every class; returns the images by relative path."""
    images = {}
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            image = random_image(size)
            (folder / name / f"{index:02}.png").write_bytes(encode_png(image))
            images[f"{name}/{index:02}.png"] = image
    return images


def write_splits(folder: Path, train: str = "train", test: str = "test", num_images: int = 4) -> None:
    """Two classes in a training and a test split."""
    for split in (train, test):
        write_classes(folder / split, {"cat": num_images, "dog": num_images})


def survey(folder: Path, image_size: int | None = None, **options: Any) -> ImageSurvey:
    """What a run would read."""
    return load_and_survey(str(folder), image_size=image_size, seed=0, data_dir=folder, **options)[1]


def load_train(folder: Path, image_size: int | None = None, seed: int = 0, **options: Any) -> TrainingData:
    return load_training_data(str(folder), image_size=image_size, seed=seed, data_dir=folder, **options)


def load_test(folder: Path, image_size: int | None = None, seed: int = 0) -> Examples:
    return load_test_data(str(folder), image_size=image_size, seed=seed, data_dir=folder)


def write_image_folder(folder: Path, *, num_images: int, size: int = 32) -> None:
    """Two classes of so many training and half as many test images each: dark and bright ones."""
    for split, count in (("train", num_images), ("test", num_images // 2)):
        for name, offset in (("cat", 0), ("dog", 128)):
            directory = folder / split / name
            directory.mkdir(parents=True)
            for index in range(count):
                image = (random_image(size) // 2 + offset).astype(np.uint8)
                (directory / f"{index}.png").write_bytes(encode_png(image))


def write_mode(folder: Path, images: list[Image.Image], suffix: str = ".png") -> None:
    """The images as both classes of both splits."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for index, image in enumerate(images):
                image.save(folder / split / name / f"{index}{suffix}")
