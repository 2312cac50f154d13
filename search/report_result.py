"""How good the retrained network is, how surely, and whether the search was worth it; plain values and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.predictions import TestPredictions, predictions_path, read_predictions
from search.progress import percent
from search.selection import rank_trials
from search.statistics import (
    Difference,
    Estimate,
    estimate_gain,
    estimate_mean,
    paired_gain,
    proportion_interval,
)
from search.study import TrialRecord, TrialStatus

CONFIG_TITLES = {"winner": "the winner", "seed": "the seed config", "default": "the space's default"}


@dataclass(frozen=True, kw_only=True)
class ConfigResult:
    """One config's retrainings and their test accuracies, fractions 0..1."""

    name: str
    """winner, seed or default."""
    test: Estimate
    """Over retrain seeds, single view."""
    test_tta: Estimate
    """The same, each image averaged with its mirror image."""
    images_interval: tuple[float, float] | None
    """For a single seed: how far it may be off because the test images are finitely many."""
    num_test_images: int | None
    epochs: int
    num_params: int
    multiply_adds: int
    receptive_field: int
    seconds: float
    """Of one retraining, mean."""

    @property
    def title(self) -> str:
        """What it is called in a sentence."""
        return CONFIG_TITLES.get(self.name, self.name)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What the winner has over one reference in test accuracy, single view."""

    over: ConfigResult
    difference: Difference
    is_over_seeds: bool
    """Whether the interval covers what other seeds would give, not only other test images."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The first screen."""

    verdict: str
    """One sentence: what came of the run."""
    winner: ConfigResult | None
    references: list[ConfigResult]
    gains: list[Gain]


def run_result(run_dir: Path, records: Sequence[TrialRecord], retrains: Mapping[str, Mapping[str, Any]]) -> Result:
    """The result of a run from its trials and its retrainings (by their key in the record)."""
    answers = {key: read_predictions(predictions_path(run_dir, key)) for key in retrains}
    by_config: dict[str, list[str]] = {}
    for key, row in retrains.items():
        by_config.setdefault(row["config_name"], []).append(key)
    results = {
        name: _config_result(name, [retrains[key] for key in keys], answers[keys[0]])
        for name, keys in by_config.items()
    }
    winner = results.pop("winner", None)
    references = list(results.values())
    gains = []
    if winner is not None:
        gains = [_gain(winner, reference, by_config, retrains, answers) for reference in references]
    return Result(verdict=_verdict(winner, gains, records), winner=winner, references=references, gains=gains)


def _config_result(name: str, rows: Sequence[Mapping[str, Any]], answers: TestPredictions | None) -> ConfigResult:
    interval = None
    if answers is not None and len(rows) == 1:
        interval = proportion_interval(int(answers.is_right.sum()), len(answers.labels))
    return ConfigResult(
        name=name,
        test=estimate_mean([row["test_accuracy"] for row in rows]),
        test_tta=estimate_mean([row["test_accuracy_tta"] for row in rows]),
        images_interval=interval,
        num_test_images=None if answers is None else len(answers.labels),
        epochs=rows[0]["epochs_trained"],
        num_params=rows[0]["num_params"],
        multiply_adds=rows[0]["multiply_adds"],
        receptive_field=rows[0]["receptive_field"],
        seconds=sum(row["seconds"] for row in rows) / len(rows),
    )


def _gain(
    winner: ConfigResult,
    reference: ConfigResult,
    by_config: Mapping[str, Sequence[str]],
    retrains: Mapping[str, Mapping[str, Any]],
    answers: Mapping[str, TestPredictions | None],
) -> Gain:
    """Over seeds where both have two or more, else over the test images that both answered."""
    keys, reference_keys = by_config["winner"], by_config[reference.name]
    difference = estimate_gain(
        [retrains[key]["test_accuracy"] for key in keys],
        [retrains[key]["test_accuracy"] for key in reference_keys],
    )
    ours, theirs = answers[keys[0]], answers[reference_keys[0]]
    if len(keys) == len(reference_keys) == 1 and ours is not None and theirs is not None:
        return Gain(over=reference, difference=paired_gain(ours.is_right, theirs.is_right), is_over_seeds=False)
    return Gain(over=reference, difference=difference, is_over_seeds=difference.low is not None)


def _verdict(winner: ConfigResult | None, gains: Sequence[Gain], records: Sequence[TrialRecord]) -> str:
    if winner is None:
        return _verdict_without_test(records)
    accuracy = f"{percent(winner.test.mean)} of the test images"
    gain = next((gain for gain in gains if gain.over.name == "seed"), None)
    if gain is None:
        return f"The network that the search chose gets {accuracy} right."
    points = f"{abs(100 * gain.difference.value):.2f} points"
    if gain.difference.value <= 0:
        return (
            f"The search did not beat the seed config: its choice gets {accuracy} right, {points} fewer."
            if gain.difference.value < 0
            else f"The search did not beat the seed config: both get {accuracy} right."
        )
    doubt = ", though a gain this small may be chance"
    if gain.difference.low is None or gain.difference.is_clear:
        doubt = ""
    return f"The network that the search chose gets {accuracy} right, {points} more than the seed config{doubt}."


def _verdict_without_test(records: Sequence[TrialRecord]) -> str:
    ranked = rank_trials(records)
    if ranked:
        best = ranked[0]
        return (
            f"The best trial so far is trial {best.number} with a validation accuracy of "
            f"{percent(best.val_accuracies[best.epochs_trained])}; it has not been retrained, so there is no test "
            "accuracy yet."
        )
    num_lost = sum(record.status in (TrialStatus.FAILED, TrialStatus.DIVERGED) for record in records)
    if num_lost:
        return f"No trial ended with a score: {num_lost} failed or diverged. There is nothing to retrain."
    return "No trial has finished an epoch yet."
