"""The result of a run: test scores, their uncertainty, and whether the search beat the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.metrics import Metric
from search.estimates import (
    Difference,
    Estimate,
    estimate_gain,
    estimate_mean,
    images_interval,
    paired_gain,
    proportion_interval,
)
from search.retrain.predictions import TestPredictions, predictions_path, read_predictions
from search.setup.floor import Floor, floor_sentence
from search.study.finals import Finals
from search.study.ranking import rank_trials
from search.study.record import TrialRecord, TrialStatus
from search.study.retrain_record import FINALIST, RetrainRecord
from search.text import gain_text, score_text

CONFIG_TITLES = {"winner": "the winner", "seed": "the seed config", "default": "the space's default"}
BASELINES = ("seed", "default")


@dataclass(frozen=True, kw_only=True)
class ConfigResult:
    """One config's retrainings and their test scores."""

    name: str
    """winner, seed or default."""
    metric: Metric
    """What the scores are."""
    test: Estimate
    """Over retrain seeds, single view."""
    test_tta: Estimate
    """The same, each image averaged with its mirror image."""
    accuracy: float | None
    """Mean over retrain seeds, single view."""
    accuracy_tta: float | None
    balanced: float | None
    """Mean balanced accuracy over retrain seeds, single view."""
    images_interval: tuple[float, float] | None
    """95 % interval over test images; None with several seeds."""
    num_test_images: int | None
    epochs: int
    num_params: int
    multiply_adds: int
    receptive_field: int | None
    seconds: float
    """Mean time of one retraining."""

    @property
    def title(self) -> str:
        """Its name in a sentence."""
        return CONFIG_TITLES.get(self.name, self.name)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The winner's test score minus a baseline's, single view: positive if the winner is better."""

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
        """The winner's score beside the floor; empty before it was tested."""
        if self.winner is None or self.floor is None:
            return ""
        low = self.winner.test.low if self.winner.images_interval is None else self.winner.images_interval[0]
        return floor_sentence(self.floor, self.winner.test.mean, low, self.winner.balanced)


def run_result(
    run_dir: Path,
    records: Sequence[TrialRecord],
    retrained: Sequence[RetrainRecord],
    finals: Finals,
    metric: Metric,
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
        name: _config_result(name, metric, [retrains[key] for key in keys], answers[keys[0]])
        for name, keys in by_config.items()
    }
    winner = results.pop("winner", None)
    references = list(results.values())
    gains = []
    if winner is not None:
        gains = [_gain(winner, reference, by_config, retrains, answers) for reference in references]
    verdict = _verdict_without_test(records, metric, finals) if winner is None else _verdict(winner, gains, finals)
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


def _config_result(
    name: str, metric: Metric, rows: Sequence[RetrainRecord], answers: TestPredictions | None
) -> ConfigResult:
    return ConfigResult(
        name=name,
        metric=metric,
        test=estimate_mean(_scores(rows)),
        test_tta=estimate_mean([row.test_score_tta for row in rows if row.test_score_tta is not None]),
        accuracy=_mean([row.test_accuracy for row in rows]),
        accuracy_tta=_mean([row.test_accuracy_tta for row in rows]),
        balanced=_mean([row.test_balanced_accuracy for row in rows]),
        images_interval=None if answers is None or len(rows) > 1 else interval_over_images(metric, answers),
        num_test_images=None if answers is None else len(answers.labels),
        epochs=rows[0].epochs_trained,
        num_params=rows[0].num_params,
        multiply_adds=rows[0].multiply_adds,
        receptive_field=rows[0].receptive_field,
        seconds=sum(row.seconds for row in rows) / len(rows),
    )


def interval_over_images(metric: Metric, answers: TestPredictions) -> tuple[float, float] | None:
    """The 95 % interval of a score over the choice of test images: Wilson's of the accuracy, else a normal one."""
    if metric.name == "accuracy":
        return proportion_interval(int(answers.is_right.sum()), len(answers.labels))
    measured = answers.measured_by(metric)
    interval = images_interval(measured.score, measured.influences)
    return interval and (max(metric.worst, interval[0]), min(metric.best, interval[1]))


def paired_difference(metric: Metric, ours: TestPredictions, theirs: TestPredictions) -> Difference:
    """The gain of a network over another on the same test images."""
    first, second = ours.measured_by(metric), theirs.measured_by(metric)
    return paired_gain(first.score - second.score, first.influences, second.influences)


def _scores(rows: Sequence[RetrainRecord]) -> list[float]:
    return [row.test_score for row in rows if row.test_score is not None]


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
    difference = estimate_gain(*(_scores([retrains[key] for key in one]) for one in (keys, reference_keys)))
    is_over_seeds = difference.low is not None
    has_one_seed = len(keys) == len(reference_keys) == 1
    ours, theirs = answers[keys[0]], answers[reference_keys[0]]
    if has_one_seed and ours is not None and theirs is not None:
        difference, is_over_seeds = paired_difference(winner.metric, ours, theirs), False
    return Gain(over=reference, difference=difference, is_over_seeds=is_over_seeds, has_one_seed=has_one_seed)


def _verdict(winner: ConfigResult, gains: Sequence[Gain], finals: Finals) -> str:
    metric = winner.metric
    reached = f"a test {metric.title} of {score_text(metric, winner.test.mean, winner.accuracy)}"
    origin = finals.winner.record.origin if finals.winner is not None else ""
    if origin in BASELINES:
        return f"The search did not beat {CONFIG_TITLES[origin]}: it chose this very config, with {reached}."
    if unbeaten := [gain for gain in gains if gain.difference.value <= 0]:
        return _verdict_unbeaten(unbeaten, metric, reached)
    parts: list[str] = []
    for gain in gains:
        may_be_chance = gain.difference.low is not None and not gain.difference.is_clear
        doubt = " (possibly chance)" if may_be_chance else ""
        parts.append(f"{gain_text(metric, gain.difference.value, '')} better than {gain.over.title}{doubt}")
    return f"The search's network has {reached}{', ' if parts else ''}{' and '.join(parts)}."


def _verdict_unbeaten(unbeaten: Sequence[Gain], metric: Metric, reached: str) -> str:
    titles = " or ".join(gain.over.title for gain in unbeaten)
    missed = " and ".join(gain_text(metric, -gain.difference.value, "") for gain in unbeaten)
    if len(unbeaten) == 1 and unbeaten[0].difference.value == 0:
        return f"The search did not beat {titles}: both have {reached}."
    return f"The search did not beat {titles}: its network has {reached}, {missed} worse."


def _verdict_without_test(records: Sequence[TrialRecord], metric: Metric, finals: Finals) -> str:
    ranked = rank_trials(records)
    if ranked:
        return f"{_best_so_far(ranked[0], metric, finals)}, so there is no test {metric.title} yet."
    num_lost = sum(record.status in (TrialStatus.FAILED, TrialStatus.DIVERGED) for record in records)
    if num_lost:
        return f"No trial has a score: {num_lost} failed or diverged. There is nothing to retrain."
    return "No trial has finished an epoch yet."


def _best_so_far(best: TrialRecord, metric: Metric, finals: Finals) -> str:
    """The winner on fresh seeds, or until it is known the best trial of the search and how far the finals are."""
    winner, num_done = finals.winner, sum(len(one.fresh_scores) for one in finals.finalists)
    if finals.is_over and winner is not None and winner.fresh is not None:
        fresh = score_text(metric, winner.fresh.mean)
        return (
            f"Trial {winner.record.number} won on fresh seeds with a mean validation {metric.title} of {fresh}; it has "
            "not been tested"
        )
    score = score_text(metric, best.last_score, best.last_accuracy)
    progress = "it has not been retrained"
    if num_done:
        num_due = len(finals.finalists) * finals.plan.num_seeds
        progress = f"{num_done} of {num_due} retrainings of the best trials on fresh seeds have ended"
    return f"The best trial so far is trial {best.number} with a validation {metric.title} of {score}; {progress}"
