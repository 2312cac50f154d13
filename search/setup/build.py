"""Who steers a prepared run: its searcher and its trial scheduler, over the run's record or one to play with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from search.schedulers.audit import Audit
from search.schedulers.done import StopWhenDone
from search.schedulers.promotion import Promotions
from search.schedulers.time_budget import Budget
from search.setup.prepare import Preparation
from search.study.study import NewTrial, RunStudy
from search.tune.searcher import StudySearcher, build_searcher
from search.tune.trial_scheduler import StudyScheduler, build_trial_scheduler


def steer(
    preparation: Preparation, study: RunStudy, given: Sequence[NewTrial], clock: Callable[[], float]
) -> tuple[StudySearcher, StudyScheduler]:
    """The run's searcher and trial scheduler, to be played with."""
    scheduler = run_scheduler(preparation, study)
    return run_searcher(preparation, study, scheduler.promotions, given, clock), scheduler


def run_scheduler(preparation: Preparation, study: RunStudy) -> StudyScheduler:
    """Puts in order, too, what a killed run left between a score and its decision."""
    settings = preparation.settings
    return build_trial_scheduler(settings, study, Audit(fraction=settings.audit, seed=settings.seed))


def run_searcher(
    preparation: Preparation,
    study: RunStudy,
    promotions: Promotions | None,
    given: Sequence[NewTrial],
    clock: Callable[[], float] = time.monotonic,
) -> StudySearcher:
    """`promotions`: those of the trial scheduler; `given`: tried first; `clock`: in seconds, for the time budget."""
    settings = preparation.settings
    budget = Budget(
        settings.time_budget_s,
        study,
        max_epochs=settings.max_epochs,
        retrain_epochs_of_trial=preparation.retrain_epochs_of_trial,
        clock=clock,
    )
    return build_searcher(
        preparation.space,
        study,
        settings.seed,
        given=given,
        max_concurrent=preparation.machine.slots.num_concurrent,
        promotions=promotions,
        num_trials=settings.num_trials,
        describe=preparation.describe,
        memory_need=preparation.memory_need,
        may_start=budget.may_start,
        is_done=_done_rule(preparation, study) if settings.stop_when_done else lambda: False,
    )


def _done_rule(preparation: Preparation, study: RunStudy) -> StopWhenDone:
    num_val = len(preparation.arrays.val_indices)
    return StopWhenDone(study, num_trials=preparation.settings.num_trials, num_val=num_val)
