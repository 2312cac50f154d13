"""Answers to the test images: which mistakes are the surest, and that a file brings everything back."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.examples import Examples
from search.retrain.predictions import NUM_PICTURES, most_surely_wrong, read_predictions, write_predictions

LABELS = np.array([0, 1, 1, 0])
# Right, wrong by 0.6, right, wrong by 0.9.
PROBABILITIES = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]], dtype=np.float32)


def test_the_surest_mistakes_come_first() -> None:
    assert most_surely_wrong(LABELS, PROBABILITIES, 5) == [3, 1]
    assert most_surely_wrong(LABELS, PROBABILITIES, 1) == [3]
    assert most_surely_wrong(LABELS[:1], PROBABILITIES[:1], 5) == []


def test_a_file_brings_back_answers_and_pictures(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    path = tmp_path / "predictions" / "one.parquet"
    write_predictions(path, Examples(images, LABELS), PROBABILITIES)
    kept = read_predictions(path)
    assert kept is not None
    assert kept.labels.tolist() == LABELS.tolist()
    assert kept.probabilities.tolist() == PROBABILITIES.tolist()
    assert kept.is_right.tolist() == [True, False, True, False]
    assert list(kept.pictures) == [3, 1]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(kept.pictures[3]))), images[3])


def test_pictures_are_few_and_small(tmp_path: Path) -> None:
    num = NUM_PICTURES + 5
    examples = Examples(np.zeros((num, 200, 200, 3), dtype=np.uint8), np.ones(num, dtype=np.int64))
    write_predictions(tmp_path / "one.parquet", examples, np.tile(np.array([1, 0], dtype=np.float32), (num, 1)))
    kept = read_predictions(tmp_path / "one.parquet")
    assert kept is not None
    assert len(kept.pictures) == NUM_PICTURES
    assert Image.open(io.BytesIO(next(iter(kept.pictures.values())))).size == (128, 128)


def test_no_file_means_no_answers(tmp_path: Path) -> None:
    assert read_predictions(tmp_path / "none.parquet") is None


@pytest.mark.parametrize("wrong", [True, False])
def test_a_single_image_is_enough(tmp_path: Path, wrong: bool) -> None:
    examples = Examples(np.zeros((1, 4, 4, 3), dtype=np.uint8), np.array([int(wrong)]))
    write_predictions(tmp_path / "one.parquet", examples, np.array([[0.9, 0.1]], dtype=np.float32))
    kept = read_predictions(tmp_path / "one.parquet")
    assert kept is not None
    assert len(kept.pictures) == wrong
