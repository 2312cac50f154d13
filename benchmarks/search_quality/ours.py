"""The project's own search: its samplers, schedulers and searcher, with the record in memory."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from benchmarks.search_quality.measure import Score
from benchmarks.search_quality.problems import Pool, Problem
from benchmarks.search_quality.simulation import Step, simulate
from search.samplers.build import make_sampler
from search.samplers.proposer import Proposer, Sampler
from search.samplers.tpe_sampler import TPESampler
from search.samplers.tree_sampler import TreeSampler
from search.schedulers.steering import Steering
from search.settings import SearchSettings
from search.space.space import SearchSpace
from search.study.study import RunStudy
from search.tune.searcher import StudySearcher
from search.tune.trial_scheduler import StudyScheduler

NO_LIMIT = 10**9


class PoolTreeSampler(TreeSampler):
    """Compares the configs that are left in a pool, instead of random ones."""

    def __init__(self, space: SearchSpace, seed: int, *, epochs: Collection[int], pool: Pool) -> None:
        super().__init__(space, seed, epochs=epochs)
        self._pool = pool

    def draw(self, number: int) -> dict[str, Any]:
        return self._pool.take_nearest(super().draw(number))

    def draw_uniform(self, rng: random.Random) -> dict[str, Any]:
        return dict(rng.choice(self._pool.left()))

    def candidates(self, rng: random.Random) -> Sequence[Mapping[str, Any]]:
        return self._pool.left()


class PoolTPESampler(TPESampler):
    """Takes the config of a pool that is nearest to the one proposed."""

    def __init__(self, space: SearchSpace, seed: int, *, pool: Pool) -> None:
        super().__init__(space, seed)
        self._pool = pool

    def draw(self, number: int) -> dict[str, Any]:
        return self._pool.take_nearest(super().draw(number))


def our_search(
    problem: Problem,
    seed: int,
    num_workers: int,
    *,
    scheduler: Literal["asha", "promotion"],
    reduction_factor: int | None = None,
    study: RunStudy | None = None,
) -> Iterator[Score]:
    """A search that ends only with its pool; its trials are in `study`, if one is given."""
    study = study or RunStudy.in_memory()
    settings = SearchSettings(
        run_name="simulated",
        max_epochs=problem.num_epochs,
        grace_period=problem.first_rung,
        reduction_factor=reduction_factor,
        scheduler=scheduler,
    )
    trial_scheduler = StudyScheduler(settings, study, starts_anew=problem.starts_anew)
    promotions = trial_scheduler.promotions
    pool = Pool(problem) if problem.has_pool else None
    sampler = partial(_sampler, seed=seed, epochs=promotions.score_epochs if promotions else None, pool=pool)
    searcher = StudySearcher(
        Proposer(problem.space, study, seed, sampler),
        study,
        Steering(num_trials=len(problem.rows) if pool else NO_LIMIT, num_slots=num_workers),
        promotions=promotions,
    )
    final_scores: dict[int, float] = {}
    for event in simulate(searcher, trial_scheduler, partial(_train, problem), num_workers=num_workers):
        number, epoch = event.config["trial_number"], event.result["epoch"]
        if number not in final_scores:
            final_scores[number] = float(problem.curve(event.config["config"])[-1])
        is_recorded_before = epoch <= event.config["epochs_recorded"]
        yield Score(
            trial=str(number),
            epoch=epoch,
            score=-math.inf if is_recorded_before else event.result["val_score"],
            final_score=final_scores[number],
        )


def _train(problem: Problem, assignment: Mapping[str, Any]) -> Iterator[Step]:
    """Reports the epochs that the record lacks, or all where the training starts anew."""
    length = assignment.get("training_epochs", problem.num_epochs)
    is_anew = problem.starts_anew and "training_epochs" in assignment
    first = 1 if is_anew else assignment["epochs_recorded"] + 1
    scores = problem.training(assignment["config"], length).tolist()
    for epoch in range(first, length + 1):
        yield Step(seconds=1.0, result={"epoch": epoch, "val_score": scores[epoch - 1]})


def _sampler(space: SearchSpace, *, seed: int, epochs: Collection[int] | None, pool: Pool | None) -> Sampler:
    if pool is None:
        return make_sampler(space, seed=seed, score_epochs=epochs)
    if epochs is None:
        return PoolTPESampler(space, seed, pool=pool)
    return PoolTreeSampler(space, seed, epochs=epochs, pool=pool)
