"""A retrained network's predictions for the test images, kept for the report: `test_predictions/*.parquet`.

One row per test image. The images themselves are kept only for the most confident mistakes, so that a report can show
them without opening the test set again.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from model.examples import Examples
from model.metrics import Measurement, Metric
from search.files import write_atomically

NUM_PICTURES = 24
MAX_PICTURE_SIDE = 128
"""Longest side of a kept picture, in pixels."""


@dataclass(frozen=True, kw_only=True)
class TestPredictions:
    """Predictions for N test images of K classes, in the test set's order."""

    __test__ = False  # pytest would take the name for a test

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    """(N, K), single view."""
    pictures: dict[int, bytes]
    """PNG files of the most confident mistakes, by image index, most confident first."""

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each image."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    def measured_by(self, metric: Metric) -> Measurement:
        """The score of these answers, and the influence of each image on it."""
        return metric.measure(self.labels, self.probabilities)

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether each prediction is right."""
        return np.asarray(self.predicted == self.labels)


def predictions_path(run_dir: Path, retrain_key: str) -> Path:
    """The file with the predictions of the retraining whose key is `retrain_key`."""
    return run_dir / "test_predictions" / f"{retrain_key.replace(':', '-')}.parquet"


def most_surely_wrong(labels: NDArray[np.int64], probabilities: NDArray[np.float32], num: int) -> list[int]:
    """Indices of the wrong predictions with the highest probability, most confident first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = np.argsort(-probabilities[wrong].max(axis=1, initial=0), kind="stable")
    return [int(index) for index in wrong[order][:num]]


def write_predictions(path: Path, examples: Examples, probabilities: NDArray[np.float32]) -> None:
    """Writes one retraining's predictions, with small pictures of its most confident mistakes."""
    pictures: list[bytes | None] = [None] * len(examples)
    for index in most_surely_wrong(examples.labels, probabilities, NUM_PICTURES):
        pictures[index] = _png(examples.images[index])
    table = pa.table(
        {
            "index": np.arange(len(examples)),
            "label": examples.labels,
            "predicted": probabilities.argmax(axis=1),
            "probabilities": pa.FixedSizeListArray.from_arrays(
                pa.array(probabilities.reshape(-1).astype(np.float32)), probabilities.shape[1]
            ),
            "image_png": pa.array(pictures, type=pa.binary()),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, buffer.getvalue())


def read_predictions(path: Path) -> TestPredictions | None:
    """Reads what `write_predictions` wrote; None if there is no file."""
    if not path.exists():
        return None
    table = pq.read_table(path)
    labels = table["label"].to_numpy()
    flat = table["probabilities"].combine_chunks().flatten().to_numpy()
    probabilities = flat.reshape(len(labels), -1)
    pictures = {row: png for row, png in enumerate(table["image_png"].to_pylist()) if png is not None}
    order = most_surely_wrong(labels, probabilities, len(pictures))
    return TestPredictions(
        labels=labels, probabilities=probabilities, pictures={index: pictures[index] for index in order}
    )


def _png(image: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(image)
    picture.thumbnail((MAX_PICTURE_SIDE, MAX_PICTURE_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
