"""Syne Tune's asynchronous schedulers, asked and told as its own tuner does; needs the extra `[benchmarks]`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from benchmarks.search_quality.measure import Score
from benchmarks.search_quality.problems import Pool, Problem
from benchmarks.search_quality.rivals import Search, replay
from search.space.parameter import Parameter


class SyneTuneSearcher(Searcher):
    """The half of a Syne Tune scheduler that draws configs; with a pool, a draw becomes the nearest row."""

    def __init__(self, problem: Problem, scheduler: Any) -> None:
        super().__init__(metric="score", mode="max")
        self.scheduler = scheduler
        self.trials: dict[str, Any] = {}
        self._pool = Pool(problem) if problem.has_pool else None

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        if self._pool is not None and self._pool.is_empty:
            return str(Searcher.FINISHED)
        from syne_tune.backend.trial_status import Trial as SyneTuneTrial

        params = self.scheduler.suggest().config
        if self._pool is not None:
            params = self._pool.take_nearest(params)
        trial = SyneTuneTrial(trial_id=int(trial_id), config=dict(params), creation_time=datetime.now())
        self.trials[trial_id] = trial
        self.scheduler.on_trial_add(trial)
        return dict(params)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The scheduler has heard of it with the last result."""
        self.scheduler.on_trial_remove(self.trials.pop(trial_id))

    def save(self, checkpoint_path: str) -> None: ...
    def restore(self, checkpoint_path: str) -> None: ...


class SyneTuneStopping(FIFOScheduler):
    """The half of it that stops trials."""

    def __init__(self, searcher: SyneTuneSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        told = self._searcher.scheduler.on_trial_result(self._searcher.trials[trial.trial_id], result)
        return TrialScheduler.STOP if told == "STOP" else TrialScheduler.CONTINUE


def syne_tune(problem: Problem, seed: int, num_workers: int, *, name: str) -> Iterator[Score]:
    """The scheduler of that name in `syne_tune.optimizer.baselines`, with its defaults."""
    from syne_tune.optimizer import baselines

    logging.getLogger("syne_tune").setLevel(logging.ERROR)
    scheduler = getattr(baselines, name)(
        {key: _domain(parameter) for key, parameter in problem.space.parameters.items()},
        metric="score",
        time_attr="epoch",
        max_t=problem.num_epochs,
        do_minimize=False,
        random_seed=seed,
    )
    searcher = SyneTuneSearcher(problem, scheduler)
    return replay(problem, searcher, SyneTuneStopping(searcher), num_workers)


def _domain(parameter: Parameter) -> Any:
    from syne_tune import config_space

    if parameter.kind == "choice":
        return config_space.choice(list(parameter.values))
    kinds = {"linear": "uniform", "log": "loguniform", "int": "randint", "log_int": "lograndint"}
    return getattr(config_space, kinds[parameter.kind])(*parameter.extremes())


SYNE_TUNE: dict[str, Search] = {
    "Syne Tune, ASHA": partial(syne_tune, name="ASHA"),
    "Syne Tune, BOHB": partial(syne_tune, name="BOHB"),
    "Syne Tune, ASHA with CQR": partial(syne_tune, name="ASHACQR"),
}
