"""The searcher and trial scheduler of a run, over a record to simulate with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from search.samplers.build import make_sampler
from search.samplers.proposer import Proposer
from search.schedulers.time_budget import Budget
from search.setup.prepare import Preparation
from search.study.record import NewTrial
from search.study.study import RunStudy
from search.tune.searcher import StudySearcher
from search.tune.trial_scheduler import StudyScheduler


def steer(
    preparation: Preparation, study: RunStudy, given: Sequence[NewTrial], clock: Callable[[], float]
) -> tuple[StudySearcher, StudyScheduler]:
    """The run's searcher and trial scheduler."""
    settings = preparation.settings
    scheduler = StudyScheduler(settings, study)
    budget = Budget(
        settings.time_budget_s,
        study,
        max_epochs=settings.max_epochs,
        retrain_epochs_of_trial=preparation.retrain_epochs_of_trial,
        clock=clock,
    )
    epochs = scheduler.promotions.score_epochs if scheduler.promotions else None
    proposer = Proposer(
        preparation.space,
        study,
        settings.seed,
        partial(make_sampler, seed=settings.seed, score_epochs=epochs),
        given=given,
        describe=preparation.describe,
        memory_need=preparation.memory_need,
    )
    searcher = StudySearcher(
        proposer,
        study,
        num_trials=settings.num_trials,
        max_concurrent=preparation.machine.slots.num_concurrent,
        promotions=scheduler.promotions,
        may_start=budget.may_start,
    )
    return searcher, scheduler
