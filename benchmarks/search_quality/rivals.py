"""The rivals: Ray's searchers and schedulers as they ship, Optuna alone, and "one epoch, keep the top"."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from benchmarks.search_quality.measure import Score
from benchmarks.search_quality.problems import Params, Pool, Problem
from benchmarks.search_quality.simulation import Step, simulate

Search = Callable[[Problem, int, int], Iterator[Score]]
"""(problem, seed, workers) -> the scores in the order in which they arrive."""


def replay(
    problem: Problem, searcher: Any, scheduler: Any, num_workers: int, pool: Pool | None = None
) -> Iterator[Score]:
    """Scores of a search whose suggestions are params, trained from the first epoch until they are stopped."""
    known: dict[str, tuple[Params, Any]] = {}

    def train(suggested: Mapping[str, Any]) -> Iterator[Step]:
        curve = problem.curve(suggested)
        for epoch, score in enumerate(curve.tolist(), start=1):
            yield Step(seconds=1.0, result={"epoch": epoch, "training_iteration": epoch, "score": score})

    for event in simulate(searcher, scheduler, train, num_workers=num_workers):
        if event.trial_id not in known:
            known[event.trial_id] = event.config, problem.curve(event.config)[-1]
        yield Score(
            trial=event.trial_id,
            epoch=event.result["epoch"],
            score=event.result["score"],
            final_score=float(known[event.trial_id][1]),
        )


class RandomSearcher(Searcher):
    """Draws configs evenly from the space, or from what is left of the pool."""

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(metric="score", mode="max")
        self._space = problem.space
        self._rng = random.Random(seed)
        self._rows = list(problem.rows) if problem.has_pool else None
        if self._rows is not None:
            self._rng.shuffle(self._rows)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        if self._rows is None:
            return self._space.draw(self._rng)
        return self._rows.pop() if self._rows else str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None: ...
    def save(self, checkpoint_path: str) -> None: ...
    def restore(self, checkpoint_path: str) -> None: ...


class PooledOptunaSearch(OptunaSearch):
    """Ray's wrapper of Optuna as it ships; with a pool, a draw becomes the nearest row, and Optuna knows of that."""

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem.space.distributions, metric="score", mode="max", seed=seed)
        self._distributions = problem.space.distributions
        self._pool = Pool(problem) if problem.has_pool else None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        if self._pool is not None and self._pool.is_empty:
            return str(Searcher.FINISHED)
        params = super().suggest(trial_id)
        if params is None or self._pool is None:
            return params
        params = self._pool.take_nearest(params)
        put_params(self._ot_trials[trial_id], params, self._distributions)
        return params


class OptunaAlone(Searcher):
    """Optuna's TPE with one of its own pruners, asked and told as its documentation shows."""

    def __init__(self, problem: Problem, seed: int, pruner: optuna.pruners.BasePruner) -> None:
        super().__init__(metric="score", mode="max")
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._study = optuna.create_study(sampler=sampler, pruner=pruner, direction="maximize")
        self._distributions = problem.space.distributions
        self._pool = Pool(problem) if problem.has_pool else None
        self._asked: dict[str, optuna.Trial] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        if self._pool is not None and self._pool.is_empty:
            return str(Searcher.FINISHED)
        trial = self._study.ask(self._distributions)
        self._asked[trial_id] = trial
        if self._pool is None:
            return trial.params
        params = self._pool.take_nearest(trial.params)
        put_params(trial, params, self._distributions)
        return params

    def should_stop(self, trial_id: str, epoch: int, score: float, *, is_last: bool) -> bool:
        """Tells Optuna a score, and how the trial ended if it did."""
        asked = self._asked[trial_id]
        asked.report(score, epoch)
        if is_last:
            self._study.tell(asked, score)
            return True
        if asked.should_prune():
            self._study.tell(asked, state=TrialState.PRUNED)
            return True
        return False

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None: ...
    def save(self, checkpoint_path: str) -> None: ...
    def restore(self, checkpoint_path: str) -> None: ...


class OptunaPruning(FIFOScheduler):
    """Stops what Optuna prunes."""

    def __init__(self, searcher: OptunaAlone, num_epochs: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher
        self._num_epochs = num_epochs

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        epoch = result["epoch"]
        is_last = epoch == self._num_epochs
        stops = self._searcher.should_stop(trial.trial_id, epoch, result["score"], is_last=is_last)
        return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE


def put_params(trial: optuna.Trial, params: Params, distributions: Mapping[str, Any]) -> None:
    """Overwrites what a running trial is known to have drawn."""
    for name, distribution in distributions.items():
        value = distribution.to_internal_repr(params[name])
        trial.storage.set_trial_param(trial._trial_id, name, value, distribution)


def random_search(problem: Problem, seed: int, num_workers: int) -> Iterator[Score]:
    """Random configs, each trained to the end."""
    return replay(problem, RandomSearcher(problem, seed), FIFOScheduler(), num_workers)  # type: ignore[no-untyped-call]


def ray_asha(problem: Problem, seed: int, num_workers: int) -> Iterator[Score]:
    """Ray's ASHA with its defaults, random configs."""
    return replay(problem, RandomSearcher(problem, seed), _ray_asha(problem), num_workers)


def ray_asha_optuna(problem: Problem, seed: int, num_workers: int) -> Iterator[Score]:
    """Ray's ASHA with its defaults, fed by Ray's OptunaSearch with its defaults."""
    return replay(problem, PooledOptunaSearch(problem, seed), _ray_asha(problem), num_workers)


def optuna_hyperband(problem: Problem, seed: int, num_workers: int) -> Iterator[Score]:
    """Optuna's TPE with its Hyperband pruner."""
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=problem.num_epochs)
    return _optuna_alone(problem, seed, num_workers, pruner)


def optuna_halving(problem: Problem, seed: int, num_workers: int) -> Iterator[Score]:
    """Optuna's TPE with its successive-halving pruner."""
    return _optuna_alone(problem, seed, num_workers, optuna.pruners.SuccessiveHalvingPruner(min_resource=1))


def one_epoch_top(problem: Problem, seed: int, num_workers: int) -> Iterator[Score]:
    """50 random configs for one epoch, the best 5 of them to the end, and again."""
    del num_workers  # the order of its reports does not depend on it, but for ties
    searcher = RandomSearcher(problem, seed)
    number = 0
    while True:
        batch = []
        for _ in range(50):
            params = searcher.suggest("")
            if isinstance(params, str):
                return
            number += 1
            batch.append((str(number), problem.curve(params)))
            yield _score(*batch[-1], epoch=1)
        batch.sort(key=lambda drawn: -drawn[1][0])
        for epoch in range(2, problem.num_epochs + 1):
            for name, curve in batch[:5]:
                yield _score(name, curve, epoch=epoch)


def _optuna_alone(problem: Problem, seed: int, num_workers: int, pruner: optuna.pruners.BasePruner) -> Iterator[Score]:
    searcher = OptunaAlone(problem, seed, pruner)
    return replay(problem, searcher, OptunaPruning(searcher, problem.num_epochs), num_workers)


def _score(name: str, curve: np.ndarray[Any, Any], *, epoch: int) -> Score:
    return Score(trial=name, epoch=epoch, score=float(curve[epoch - 1]), final_score=float(curve[-1]))


def _ray_asha(problem: Problem) -> ASHAScheduler:
    return ASHAScheduler(time_attr="epoch", metric="score", mode="max", max_t=problem.num_epochs)


RIVALS: dict[str, Search] = {
    "random search": random_search,
    "Ray ASHA, random configs": ray_asha,
    "Ray ASHA, OptunaSearch": ray_asha_optuna,
    "one epoch, top 5 of 50": one_epoch_top,
    "Optuna TPE, Hyperband": optuna_hyperband,
    "Optuna TPE, halving": optuna_halving,
}
