"""Expected epochs against searches whose scores are random, so that any order is equally likely."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from search_worlds import SEED, Rungs, build_searcher, training_epochs

from benchmarks.search_quality.simulation import Step, simulate
from search.schedulers.expected_epochs import expected_epochs
from search.space.parameter import Parameter
from search.space.space import SearchSpace
from search.study.study import RunStudy
from search.tune.trial_scheduler import StudyScheduler

SPACE = SearchSpace({"x": Parameter(kind="linear", low=0.0, high=1.0)})


def trained(rungs: Rungs, num_trials: int, *, seed: int, is_steady: bool) -> int:
    """Epochs of a search with random scores: `is_steady`, the same score at every epoch of a trial."""
    study, rng = RunStudy.in_memory(), random.Random(seed)
    scheduler = StudyScheduler(rungs, study, starts_anew=True)
    searcher = build_searcher(
        SPACE, study, SEED, num_trials=num_trials, max_concurrent=1, promotions=scheduler.promotions
    )
    heights: dict[int, float] = {}

    def train(assignment: Mapping[str, Any]) -> Iterator[Step]:
        height = heights.setdefault(assignment["trial_number"], rng.random())
        for epoch in training_epochs(assignment, rungs):
            score = height if is_steady else rng.random()
            yield Step(seconds=1.0, result={"epoch": epoch, "val_score": score, "seconds": 1.0})

    for _ in simulate(searcher, scheduler, train, num_workers=1):
        pass
    return sum(record.epochs_spent for record in study.trials())


@pytest.mark.parametrize(("num_trials", "max_epochs", "grace_period"), [(14, 12, 1), (20, 25, 3), (60, 27, 1)])
def test_the_mean_of_random_searches_is_expected(num_trials: int, max_epochs: int, grace_period: int) -> None:
    """With promotion for steady ranks, which cost it least; with asha for ranks that change freely, which do there."""
    for scheduler, factor in (("promotion", 6), ("asha", 3)):
        rungs = Rungs(max_epochs, grace_period, factor, scheduler)  # type: ignore[arg-type]
        is_steady = scheduler == "promotion"
        epochs = [trained(rungs, num_trials, seed=seed, is_steady=is_steady) for seed in range(12)]
        assert expected_epochs(rungs, num_trials) == pytest.approx(sum(epochs) / len(epochs), rel=0.12)


@pytest.mark.parametrize(("scheduler", "factor", "is_steady"), [("promotion", 6, False), ("asha", 3, True)])
def test_other_ranks_cost_at_most_half_as_much_again(scheduler: Any, factor: int, is_steady: bool) -> None:
    rungs = Rungs(max_epochs=25, grace_period=3, reduction_factor=factor, scheduler=scheduler)
    epochs = [trained(rungs, 20, seed=seed, is_steady=is_steady) for seed in range(12)]
    assert 1.0 <= sum(epochs) / len(epochs) / expected_epochs(rungs, 20) < 1.5


@pytest.mark.parametrize("scheduler", ["promotion", "asha"])
def test_without_rungs_every_trial_trains_to_the_end(scheduler: Any) -> None:
    rungs = Rungs(max_epochs=3, grace_period=3, scheduler=scheduler)
    assert expected_epochs(rungs, 7) == 21


def test_a_single_trial_trains_to_the_end() -> None:
    for scheduler in ("promotion", "asha"):
        earlier = (
            1 + 3 / 3 if scheduler == "promotion" else 0
        )  # trainings to the rungs; the second with a chance of 1/3
        assert expected_epochs(Rungs(max_epochs=9, scheduler=scheduler), 1) == pytest.approx(earlier + 9)
