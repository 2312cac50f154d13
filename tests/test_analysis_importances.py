"""Importances, and when the scores cannot tell any."""

from __future__ import annotations

import random

import pytest
from fabricated_run import SPACE
from optuna.distributions import CategoricalDistribution, FloatDistribution
from trial_records import trial_record

from search.analysis.importances import EqualEpoch, equal_epoch, importances


def test_importances_find_the_parameter_that_matters() -> None:
    rng = random.Random(0)
    params = [{"lr": rng.uniform(0, 1), "flip": rng.choice([True, False])} for _ in range(60)]
    distributions = {"lr": FloatDistribution(0, 1), "flip": CategoricalDistribution([True, False])}
    shares = importances(params, [one["lr"] for one in params], distributions)
    assert list(shares) == ["lr", "flip"]
    assert shares["lr"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("scores", [[0.5, 0.6], [0.5] * 20])
def test_importances_are_empty_for_few_trials_or_equal_scores(scores: list[float]) -> None:
    params = [{"lr": 0.1 + 0.01 * index} for index in range(len(scores))]
    assert importances(params, scores, {"lr": FloatDistribution(0, 1)}) == {}


def compared(scores: list[float]) -> EqualEpoch:
    """Trials of a run whose chance level is 13 %."""
    rng = random.Random(0)
    trials = [trial_record(number, [score], config=SPACE.draw(rng)) for number, score in enumerate(scores)]
    return equal_epoch(trials, 1, SPACE, chance_level=0.13)


def test_trials_at_chance_level_tell_nothing() -> None:
    """17 of 20 trials below the chance level."""
    equal = compared([0.0966 + 0.0004 * index for index in range(17)] + [0.3, 0.35, 0.4])
    assert (equal.num_above_chance, len(equal.trials)) == (3, 20)
    assert not equal.is_telling
    assert equal.importances == {}


def test_eight_trials_above_chance_are_enough() -> None:
    equal = compared([0.1] * 12 + [0.14 + 0.01 * index for index in range(8)])
    assert equal.num_above_chance == 8
    assert equal.is_telling
    assert sum(equal.importances.values()) == pytest.approx(1)


def test_only_configs_of_the_space_with_a_score_there_are_compared() -> None:
    config = SPACE.draw(random.Random(0))
    trials = [
        trial_record(0, [0.5], config=config),
        trial_record(1, [0.5], config={**config, "muon_lr": 1e6}),
        trial_record(2, [], config=config),
    ]
    equal = equal_epoch(trials, 1, SPACE, chance_level=0.13)
    assert [trial.number for trial in equal.trials] == [0]
