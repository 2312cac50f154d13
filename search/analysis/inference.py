"""The winner's network, loaded from a run's folder, and its predictions. Needs only the folder."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from model.builder import built_network
from model.classifier import Classifier
from model.config import network_values
from model.decoding import read_images, resize_images, unreadable_lines
from model.examples import DataError, Reading, shown
from model.image_files import images_below
from model.network_source import NetworkSource, builder_of
from search.errors import UserError
from search.files import read_text, write_atomically
from search.retrain.weights import Weights, read_weights

_BATCH_SIZE = 256
_CHUNK = 4096
"""Images in memory at a time."""


def load_network(run_dir: Path, *, network: NetworkSource, num_classes: int, image_size: int) -> nn.Module:
    """The retrained winner in evaluation mode. UserError if its files are missing or damaged."""
    return _network(run_dir, _weights(run_dir), network, num_classes=num_classes, image_size=image_size)


def load_classifier(run_dir: Path, *, network: NetworkSource, num_classes: int, image_size: int) -> Classifier:
    """The retrained winner with its preprocessing. UserError if its files are missing or damaged."""
    weights = _weights(run_dir)
    loaded = _network(run_dir, weights, network, num_classes=num_classes, image_size=image_size)
    return Classifier(loaded, mean=weights.mean, std=weights.std)


def predict(
    classifier: Classifier, images: Sequence[str | Path] | NDArray[np.uint8], *, image_size: int
) -> NDArray[np.float32]:
    """Class probabilities (N, K) of image files, or of uint8 images (N, H, W, 3) RGB; see `Run.predict`."""
    return _answer(classifier, _pixels(images, image_size))


def predict_readable(
    classifier: Classifier, paths: Sequence[Path], *, image_size: int
) -> tuple[list[tuple[Path, NDArray[np.float32]]], list[str]]:
    """The answers to the image files that can be read, in folders as well; see `Run.predict_readable`."""
    files = list(chain.from_iterable(map(_image_files, paths)))
    reading = Reading()
    answers: list[tuple[Path, NDArray[np.float32]]] = []
    for start in range(0, len(files), _CHUNK):
        part = files[start : start + _CHUNK]
        try:
            decoded = read_images(part, image_size=image_size, skip_unreadable=True, reading=reading)
        except DataError:  # none of this part can be read; `reading` has the reasons
            continue
        answers += zip([part[index] for index in decoded.indices], _answer(classifier, decoded.images), strict=True)
    problems = unreadable_lines(reading.unreadable)
    if not answers:
        raise DataError("\n".join(problems))
    return answers, problems


def answers_frame(answers: Iterable[tuple[Path, NDArray[np.float32]]], class_names: Sequence[str]) -> pd.DataFrame:
    """A row for each answer: path, class, its probability, and the probability of each class as `p_<class>`."""
    paths, rows = zip(*answers, strict=True)
    probabilities = np.stack(rows)
    best = probabilities.argmax(axis=1)
    return pd.DataFrame(
        {
            "path": [shown(path) for path in paths],
            "class": [class_names[index] for index in best],
            "probability": probabilities.max(axis=1),
            **{f"p_{name}": probabilities[:, index] for index, name in enumerate(class_names)},
        }
    )


def write_answers(path: Path, table: pd.DataFrame) -> None:
    """Writes the table as CSV. UserError if that is not possible."""
    try:
        write_atomically(path, table.to_csv(index=False))
    except OSError as error:
        raise UserError(f"--csv {path} cannot be written ({error.strerror}). Give another file.") from None


def _image_files(path: Path) -> list[Path]:
    """The path of a file; of a folder, the image files at any depth, found as a search finds them."""
    if not path.is_dir():
        return [path]
    try:
        found = images_below(path, Counter())
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be listed ({error.strerror}). Check its permissions.") from None
    if not found:
        raise UserError(f"{shown(path)} is a folder without image files. Give another.")
    return found


def _answer(classifier: Classifier, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    pixels = torch.from_numpy(images)
    with torch.inference_mode():
        return np.asarray(torch.cat([classifier(part) for part in torch.split(pixels, _BATCH_SIZE)]).numpy())


def _pixels(images: Sequence[str | Path] | NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:
    if len(images) == 0:
        raise UserError("there are no images to predict. Give at least one.")
    if not isinstance(images, np.ndarray):
        return read_images([Path(path) for path in images], image_size=image_size).images
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise UserError(f"`images` must be uint8 (N, H, W, 3) RGB; got {images.dtype} {images.shape}.")
    return resize_images(images, image_size)


def _weights(run_dir: Path) -> Weights:
    return read_weights(run_dir / "model.safetensors")


def _network(run_dir: Path, weights: Weights, source: NetworkSource, *, num_classes: int, image_size: int) -> nn.Module:
    path = run_dir / "best_config.toml"
    try:
        config = network_values(tomllib.loads(read_text(path)))
        network = built_network(builder_of(source), config, num_classes=num_classes, image_size=image_size)
        network.load_state_dict(weights.tensors)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). Restore it from a copy.") from None
    except (ValueError, RuntimeError) as error:  # TOML and the config raise ValueErrors
        reason = str(error).splitlines()[0].rstrip(":")
        raise UserError(f"{path} does not fit model.safetensors ({reason}). Restore both from a copy.") from None
    return network.eval()
