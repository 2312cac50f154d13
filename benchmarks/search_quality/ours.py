"""The project's own search: the searcher and the trial scheduler that `tune_main.py` uses, and the record in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from benchmarks.search_quality.measure import Score
from benchmarks.search_quality.problems import Pool, Problem
from search.forecast.simulation import Step, simulate
from search.settings import SearchSettings
from search.study.study import RunStudy
from search.tune.searcher import build_searcher
from search.tune.trial_scheduler import build_trial_scheduler


def our_search(
    problem: Problem,
    seed: int,
    num_workers: int,
    *,
    scheduler: Literal["asha", "promotion"],
    reduction_factor: int | None = None,
    study: RunStudy | None = None,
) -> Iterator[Score]:
    """A search without end, but for that of the pool; its trials are in `study`, if one is given."""
    study = study or RunStudy.in_memory()
    settings = SearchSettings(
        run_name="simulated",
        max_epochs=problem.num_epochs,
        grace_period=1,
        reduction_factor=reduction_factor,
        scheduler=scheduler,
    )
    trial_scheduler = build_trial_scheduler(settings, study)
    pool = Pool(problem) if problem.has_pool else None
    searcher = build_searcher(
        problem.space,
        study,
        seed,
        max_concurrent=num_workers,
        promotions=trial_scheduler.promotions,
        num_trials=len(problem.rows) if pool else None,
        nearest=pool.take_nearest if pool else None,
        points=pool.left if pool else None,
    )
    curves: dict[int, list[float]] = {}

    def train(assignment: Mapping[str, Any]) -> Iterator[Step]:
        number = assignment["trial_number"]
        if number not in curves:
            curves[number] = problem.curve(assignment["config"]).tolist()
        for epoch in range(assignment["epochs_recorded"] + 1, problem.num_epochs + 1):
            yield Step(seconds=1.0, result={"epoch": epoch, "val_accuracy": curves[number][epoch - 1]})

    for event in simulate(searcher, trial_scheduler, train, num_workers=num_workers):
        number = event.config["trial_number"]
        yield Score(
            trial=str(number),
            epoch=event.result["epoch"],
            score=event.result["val_accuracy"],
            final_score=curves[number][-1],
        )
