"""The result of a run: test accuracies, their uncertainty, and whether the search beat the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.analysis.floor import Floor, floor_sentence
from search.estimates import (
    Difference,
    Estimate,
    estimate_gain,
    estimate_mean,
    paired_gain,
    proportion_interval,
)
from search.retrain.predictions import TestPredictions, predictions_path, read_predictions
from search.study.finals import Finals
from search.study.ranking import rank_trials
from search.study.record import TrialRecord, TrialStatus
from search.study.retrain_record import FINALIST, RetrainRecord
from search.text import percent

CONFIG_TITLES = {"winner": "the winner", "seed": "the seed config", "default": "the space's default"}
BASELINES = ("seed", "default")


@dataclass(frozen=True, kw_only=True)
class ConfigResult:
    """One config's retrainings and their test accuracies, fractions 0..1."""

    name: str
    """winner, seed or default."""
    test: Estimate
    """Over retrain seeds, single view."""
    test_tta: Estimate
    """The same, each image averaged with its mirror image."""
    balanced: float | None
    """Mean balanced accuracy over retrain seeds, single view; None in runs that did not measure it."""
    images_interval: tuple[float, float] | None
    """95 % interval over test images; None with several seeds."""
    num_test_images: int | None
    epochs: int
    num_params: int
    multiply_adds: int
    receptive_field: int
    seconds: float
    """Mean time of one retraining."""

    @property
    def title(self) -> str:
        """Its name in a sentence."""
        return CONFIG_TITLES.get(self.name, self.name)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The winner's test accuracy minus a baseline's, single view."""

    over: ConfigResult
    difference: Difference
    is_over_seeds: bool
    """Whether the interval is over seeds; else it is over test images."""
    has_one_seed: bool
    """Whether both sides were trained on a single seed."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of a run."""

    verdict: str
    """The outcome in one sentence."""
    winner: ConfigResult | None
    references: list[ConfigResult]
    gains: list[Gain]
    floor: Floor | None = None
    """The scores of a classifier that has learned nothing; None in runs that did not count their test images."""

    @property
    def floor_sentence(self) -> str:
        """The winner's accuracy beside the floor; empty before it was tested."""
        if self.winner is None or self.floor is None:
            return ""
        low = self.winner.test.low if self.winner.images_interval is None else self.winner.images_interval[0]
        return floor_sentence(self.floor, self.winner.test.mean, low, self.winner.balanced)


def run_result(
    run_dir: Path,
    records: Sequence[TrialRecord],
    retrained: Sequence[RetrainRecord],
    finals: Finals,
    floor: Floor | None = None,
) -> Result:
    """The result of a run from its trials and retrainings."""
    retrains = current_retrains(retrained, finals)
    by_config: dict[str, list[str]] = {}
    for key, row in retrains.items():
        by_config.setdefault(row.config_name, []).append(key)
    # Only the first seed's: with several seeds, the intervals are over seeds and need no predictions.
    answers = {keys[0]: read_predictions(predictions_path(run_dir, keys[0])) for keys in by_config.values()}
    results = {
        name: _config_result(name, [retrains[key] for key in keys], answers[keys[0]])
        for name, keys in by_config.items()
    }
    winner = results.pop("winner", None)
    references = list(results.values())
    gains = []
    if winner is not None:
        gains = [_gain(winner, reference, by_config, retrains, answers) for reference in references]
    verdict = _verdict_without_test(records) if winner is None else _verdict(winner, gains, finals)
    return Result(verdict=verdict, winner=winner, references=references, gains=gains, floor=floor)


def current_retrains(retrained: Sequence[RetrainRecord], finals: Finals) -> dict[str, RetrainRecord]:
    """The tested retrainings by key: the winner's, then the baselines'.

    Leaves out an earlier winner that lost after the run was extended, and a baseline that is the winner itself.
    """
    winner = finals.winner.record.number if finals.winner is not None and finals.is_over else None
    return {
        one.key: one
        for one in retrained
        if one.config_name != FINALIST and (one.config_name == "winner") == (one.trial_number == winner)
    }


def _config_result(name: str, rows: Sequence[RetrainRecord], answers: TestPredictions | None) -> ConfigResult:
    interval = None
    if answers is not None and len(rows) == 1:
        interval = proportion_interval(int(answers.is_right.sum()), len(answers.labels))
    return ConfigResult(
        name=name,
        test=estimate_mean([row.test_accuracy or 0.0 for row in rows]),
        test_tta=estimate_mean([row.test_accuracy_tta or 0.0 for row in rows]),
        balanced=_mean([row.test_balanced_accuracy for row in rows]),
        images_interval=interval,
        num_test_images=None if answers is None else len(answers.labels),
        epochs=rows[0].epochs_trained,
        num_params=rows[0].num_params,
        multiply_adds=rows[0].multiply_adds,
        receptive_field=rows[0].receptive_field,
        seconds=sum(row.seconds for row in rows) / len(rows),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _gain(
    winner: ConfigResult,
    reference: ConfigResult,
    by_config: Mapping[str, Sequence[str]],
    retrains: Mapping[str, RetrainRecord],
    answers: Mapping[str, TestPredictions | None],
) -> Gain:
    """With an interval over seeds if both sides have two or more, else over the test images."""
    keys, reference_keys = by_config["winner"], by_config[reference.name]
    difference = estimate_gain(
        [retrains[key].test_accuracy or 0.0 for key in keys],
        [retrains[key].test_accuracy or 0.0 for key in reference_keys],
    )
    is_over_seeds = difference.low is not None
    has_one_seed = len(keys) == len(reference_keys) == 1
    ours, theirs = answers[keys[0]], answers[reference_keys[0]]
    if has_one_seed and ours is not None and theirs is not None:
        difference, is_over_seeds = paired_gain(ours.is_right, theirs.is_right), False
    return Gain(over=reference, difference=difference, is_over_seeds=is_over_seeds, has_one_seed=has_one_seed)


def _verdict(winner: ConfigResult, gains: Sequence[Gain], finals: Finals) -> str:
    accuracy = f"{percent(winner.test.mean)} of the test images"
    origin = finals.winner.record.origin if finals.winner is not None else ""
    if origin in BASELINES:
        return f"The search did not beat {CONFIG_TITLES[origin]}: it chose this very config, with {accuracy} correct."
    if unbeaten := [gain for gain in gains if gain.difference.value <= 0]:
        return _verdict_unbeaten(unbeaten, accuracy)
    chosen = f"The search's network classifies {accuracy} correctly"
    if not gains:
        return f"{chosen}."
    parts = []
    for index, gain in enumerate(gains):
        unit = "" if index else " points"
        may_be_chance = gain.difference.low is not None and not gain.difference.is_clear
        doubt = " (possibly chance)" if may_be_chance else ""
        parts.append(f"{100 * gain.difference.value:.2f}{unit} more than {gain.over.title}{doubt}")
    return f"{chosen}, {' and '.join(parts)}."


def _verdict_unbeaten(unbeaten: Sequence[Gain], accuracy: str) -> str:
    titles = [gain.over.title for gain in unbeaten]
    missed = [f"{-100 * gain.difference.value:.2f}" for gain in unbeaten]
    if len(unbeaten) == 1:
        if unbeaten[0].difference.value == 0:
            return f"The search did not beat {titles[0]}: both classify {accuracy} correctly."
        return f"The search did not beat {titles[0]}: its network has {accuracy} correct, {missed[0]} points less."
    return (
        f"The search did not beat {' or '.join(titles)}: its network has {accuracy} correct, {' and '.join(missed)} "
        "points less."
    )


def _verdict_without_test(records: Sequence[TrialRecord]) -> str:
    ranked = rank_trials(records)
    if ranked:
        best = ranked[0]
        return (
            f"The best trial so far is trial {best.number} with a validation accuracy of "
            f"{percent(best.last_score)}; it has not been retrained, so there is no test accuracy yet."
        )
    num_lost = sum(record.status in (TrialStatus.FAILED, TrialStatus.DIVERGED) for record in records)
    if num_lost:
        return f"No trial has a score: {num_lost} failed or diverged. There is nothing to retrain."
    return "No trial has finished an epoch yet."
