"""The winner: its config in the space, its layers, its answers to the test images."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config import ordered_keys
from model.profile import NetworkProfile
from model.recipe import RECIPE_KEYS
from search.analysis.results import Run
from search.analysis.verdict import current_retrains
from search.retrain.predictions import TestPredictions, predictions_path, read_predictions
from search.space.parameter import Parameter, Value
from search.space.space import SearchSpace
from search.study.record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class ConfigEntry:
    """One value of the winner's config and its place in the space."""

    key: str
    value: Value
    choices: tuple[Value, ...] = ()
    """Of a choice; empty for a range or a fixed value."""
    low: float | None = None
    high: float | None = None
    position: float | None = None
    """In its range from 0 (low) to 1 (high), on the range's scale; None without a range or outside it."""
    is_log: bool = False


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A wrongly classified test image."""

    index: int
    label: str
    predicted: str
    confidence: float
    """Probability of the predicted class."""
    png: bytes

    @property
    def uri(self) -> str:
        """The image as a data URI."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A network's answers to the test images."""

    class_names: tuple[str, ...]
    confusion: NDArray[np.int64]
    """(K, K) counts: one row per true class, one column per predicted class."""
    mistakes: list[Mistake]
    """The most confident mistakes, the most confident first."""

    @property
    def class_accuracies(self) -> list[float | None]:
        """Accuracy on each class, 0..1; None for a class without test images."""
        totals = self.confusion.sum(axis=1)
        return [
            float(right / total) if total else None
            for right, total in zip(self.confusion.diagonal(), totals, strict=True)
        ]

    @property
    def plot_height(self) -> int:
        """Pixels for a picture with one row per class."""
        return max(300, 90 + 30 * len(self.class_names)) if len(self.class_names) <= 30 else 640


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The winning trial's config as a network."""

    trial_number: int
    entries: list[ConfigEntry]
    """In the order of the config's keys."""
    facts: Mapping[str, Any]
    """num_params, multiply_adds and receptive_field; None for what is not known."""
    profile: NetworkProfile | None
    """None where the network is code that was not named."""
    answers: Answers | None
    """None before the retrain."""

    @property
    def entry_columns(self) -> tuple[list[ConfigEntry], list[ConfigEntry]]:
        """The entries on the network, and those on its training."""
        recipe = [entry for entry in self.entries if entry.key in RECIPE_KEYS]
        return [entry for entry in self.entries if entry not in recipe], recipe


def describe_winner(run: Run, record: TrialRecord) -> Winner:
    """The winner of a run, or its best trial so far."""
    retrains = current_retrains(run.retrain_records, run.finals).values()
    key = next((one.key for one in retrains if one.config_name == "winner"), None)
    predictions = None if key is None else read_predictions(predictions_path(run.run_dir, key))
    return Winner(
        trial_number=record.number,
        entries=[_entry(name, record.config[name], run.space) for name in ordered_keys(record.config)],
        facts=record.profile,
        profile=run.profile(record.config),
        answers=None if predictions is None else _answers(predictions, run.class_names),
    )


def position_in(parameter: Parameter, value: Value) -> float | None:
    """The place of a value in a range, 0..1, on the range's scale; None outside it and for a choice."""
    low, high = parameter.low, parameter.high
    if low is None or high is None or isinstance(value, str) or not low <= value <= high:
        return None
    if _is_log(parameter):
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _is_log(parameter: Parameter) -> bool:
    return parameter.kind in ("log", "log_int")


def _entry(key: str, value: Value, space: SearchSpace) -> ConfigEntry:
    parameter = space.parameters.get(key)
    if parameter is None:
        return ConfigEntry(key=key, value=value)
    return ConfigEntry(
        key=key,
        value=value,
        choices=parameter.values,
        low=parameter.low,
        high=parameter.high,
        position=position_in(parameter, value),
        is_log=_is_log(parameter),
    )


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
