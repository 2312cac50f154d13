"""The winner as the report shows it: its config in the space, its layers, its answers to the test images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.config import CONFIG_KEYS, TrainConfig
from model.profile import NetworkProfile, profile_network
from search.retrain.predictions import TestPredictions, predictions_path, read_predictions
from search.setup.document import RunDocument
from search.space.parameter import Parameter, Value
from search.space.space import SearchSpace
from search.study.record import TrialRecord
from search.study.retrain_record import RetrainRecord


@dataclass(frozen=True, kw_only=True)
class ConfigEntry:
    """One value of the winner's config and its place among what could be drawn."""

    key: str
    value: Value
    default: Value | None
    """Of the space; None where it has none."""
    choices: tuple[Value, ...]
    """Of a choice; empty for a range or a fixed value."""
    low: float | None
    high: float | None
    position: float | None
    """In its range from 0 (low) to 1 (high), on the scale it is drawn on; None without a range or outside it."""
    is_log: bool


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A network's answers to the test images."""

    class_names: tuple[str, ...]
    confusion: NDArray[np.int64]
    """(K, K) counts: a row for each labelled class, a column for each predicted one."""
    mistakes: list[Mistake]
    """The most surely wrong, the surest first."""

    @property
    def class_accuracies(self) -> list[float | None]:
        """Part of each class that was got right, fractions 0..1; None for a class without test images."""
        totals = self.confusion.sum(axis=1)
        return [
            float(right / total) if total else None
            for right, total in zip(self.confusion.diagonal(), totals, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A test image that was got wrong."""

    index: int
    label: str
    predicted: str
    confidence: float
    """Probability given to the predicted class."""
    png: bytes


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The winning trial's config as a network."""

    trial_number: int
    entries: list[ConfigEntry]
    """In the order of the config's keys."""
    profile: NetworkProfile
    answers: Answers | None
    """None before the retrain."""
    retrain_losses: dict[str, list[float]]
    """Training loss after each epoch of each retraining, by the retraining's name."""


def describe_winner(
    run_dir: Path,
    document: RunDocument,
    record: TrialRecord,
    space: SearchSpace,
    retrains: Mapping[str, RetrainRecord],
) -> Winner:
    """What is known of the winner; `retrains` are the record's retrainings by key."""
    data = document.data
    class_names = data.class_names
    key = next((key for key, row in retrains.items() if row.config_name == "winner"), None)
    predictions = None if key is None else read_predictions(predictions_path(run_dir, key))
    return Winner(
        trial_number=record.number,
        entries=[_entry(name, record.config[name], space) for name in CONFIG_KEYS if name in record.config],
        profile=profile_network(
            TrainConfig.from_flat(dict(record.config)), num_classes=len(class_names), image_size=data.image_size
        ),
        answers=None if predictions is None else _answers(predictions, class_names),
        retrain_losses={_short_name(key): list(row.train_losses) for key, row in retrains.items() if row.train_losses},
    )


def _entry(key: str, value: Value, space: SearchSpace) -> ConfigEntry:
    parameter = space.parameters.get(key)
    if parameter is None:
        return ConfigEntry(
            key=key, value=value, default=None, choices=(), low=None, high=None, position=None, is_log=False
        )
    return ConfigEntry(
        key=key,
        value=value,
        default=parameter.default,
        choices=parameter.values,
        low=parameter.low,
        high=parameter.high,
        position=position_in(parameter, value),
        is_log=parameter.kind in ("log", "log_int"),
    )


def position_in(parameter: Parameter, value: Value) -> float | None:
    """Where a value lies in a range, on the scale it is drawn on; None outside it and for a choice."""
    low, high = parameter.low, parameter.high
    if low is None or high is None or isinstance(value, str) or not low <= value <= high:
        return None
    if parameter.kind in ("log", "log_int"):
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _answers(predictions: TestPredictions, class_names: tuple[str, ...]) -> Answers:
    confusion = np.zeros((len(class_names), len(class_names)), dtype=np.int64)
    predicted = predictions.predicted
    np.add.at(confusion, (predictions.labels, predicted), 1)
    mistakes = [
        Mistake(
            index=index,
            label=class_names[predictions.labels[index]],
            predicted=class_names[predicted[index]],
            confidence=float(predictions.probabilities[index].max()),
            png=png,
        )
        for index, png in predictions.pictures.items()
    ]
    return Answers(class_names=class_names, confusion=confusion, mistakes=mistakes)


def _short_name(retrain_key: str) -> str:
    _, name, number = retrain_key.split(":")
    return name if number == "0" else f"{name}, seed {int(number) + 1}"
