"""The search itself: trains trials with Ray Tune until the record holds as many as the settings ask for."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from model.checkpoint import delete_checkpoints
from search.display.display import Display
from search.display.progress import Progress
from search.errors import RunFailed
from search.machine.signals import StopRequest
from search.report.page import LivePage
from search.samplers.build import make_sampler
from search.samplers.proposer import Proposer
from search.schedulers.expected_epochs import expected_epochs
from search.schedulers.failure_streak import FailureStreak
from search.schedulers.promotion import NUM_FINALISTS, PromotionRule
from search.schedulers.rungs import rungs_of
from search.schedulers.time_budget import Budget
from search.schedulers.trial_clock import TrialClock
from search.settings import SearchSettings
from search.setup.prepare import Preparation
from search.study.record import TrialRecord, TrialStatus
from search.study.study import BUDGET_NOTE, RunStudy
from search.text import duration
from search.worker.step_counts import StepCounts
from search.worker.trainable import TrialPlan, train_trial

if TYPE_CHECKING:
    from search.tune.searcher import StudySearcher
    from search.tune.trackers import Tracking
    from search.tune.trial_scheduler import StudyScheduler


@dataclass
class Watchers:
    """Everything that is notified of the trials' progress, and that may end the search."""

    display: Display
    page: LivePage
    stop: StopRequest
    trackers: Tracking | None = None
    streak: FailureStreak = field(default_factory=FailureStreak)

    def check(self) -> None:
        """Ends the search, wherever its trials are, once it was asked to stop or cannot succeed."""
        self.display.tick()
        if self.stop:
            self.display.stopping()
        self.stop.check()
        if self.streak.verdict is not None:
            raise RunFailed(self.streak.verdict)

    def report(self, plan: TrialPlan, number: int, metrics: Mapping[str, Any]) -> None:
        """A trial finished an epoch."""
        self.display.report(number, metrics)
        if self.trackers is not None:
            self.trackers.report(number, metrics)
        if metrics["epoch"] in plan.rung_epochs:
            self.page.update()

    def end(self, record: TrialRecord) -> None:
        """A trial ended or paused."""
        self.streak.add(record)
        self.display.end(record)
        if self.trackers is not None and record.status is not TrialStatus.RUNNING:
            self.trackers.end(record)


def search_trials(preparation: Preparation, study: RunStudy, watchers: Watchers) -> None:
    """Trains trials until the record holds enough; returns at once if it does."""
    # Ray takes seconds to import, and bad input is refused before that.
    from search.tune.trial_scheduler import StudyScheduler

    settings = preparation.settings
    # Made first: it finishes the writes that a kill cut off.
    scheduler = StudyScheduler(settings, study, noise=preparation.score_noise)
    records = study.trials()
    if sum(_is_ended(record) for record in records) >= settings.num_trials:
        return
    progress = Progress(
        settings.num_trials,
        settings.max_epochs,
        expected_epochs(settings, settings.num_trials),
        rung_epochs=rungs_of(settings),
        num_workers=preparation.machine.slots.num_concurrent,
        num_finalists=NUM_FINALISTS if scheduler.promotions else 0,
        deadline=time.monotonic() + (settings.time_budget_s or math.inf),
    )
    progress.resume(records)
    watchers.display.start_trials(progress)
    try:
        _train_trials(preparation, study, scheduler, watchers)
    finally:
        watchers.display.end_trials()
    _note_time_budget(settings, study, watchers.display)


def _note_time_budget(settings: SearchSettings, study: RunStudy, display: Display) -> None:
    """Says so if time ran out before all trials were trained."""
    num_ended = sum(_is_ended(record) for record in study.trials())
    is_short = settings.time_budget_s is not None and num_ended < settings.num_trials
    words = (
        f"time budget of {duration(settings.time_budget_s)} used up: {num_ended} of {settings.num_trials} trials. "
        "Resume the run, or extend it, for more"
    )
    study.set_note(BUDGET_NOTE, words if is_short else None)
    if is_short:
        display.warning(words)


def make_searcher(preparation: Preparation, study: RunStudy, promotions: PromotionRule | None) -> StudySearcher:
    """The searcher of a prepared run. `promotions`: the trial scheduler's rule, if trials pause."""
    from search.tune.searcher import StudySearcher

    settings = preparation.settings
    budget = Budget(
        settings.time_budget_s,
        study,
        max_epochs=settings.max_epochs,
        retrain_epochs_of_trial=preparation.retrain_epochs_of_trial,
    )
    proposer = Proposer(
        preparation.space,
        study,
        settings.seed,
        partial(make_sampler, seed=settings.seed, score_epochs=promotions.score_epochs if promotions else None),
        given=preparation.given_trials,
        describe=preparation.describe,
        memory_need=preparation.memory_need,
    )
    return StudySearcher(
        proposer,
        study,
        num_trials=settings.num_trials,
        max_concurrent=preparation.machine.slots.num_concurrent,
        promotions=promotions,
        may_start=budget.may_start,
    )


def _train_trials(preparation: Preparation, study: RunStudy, scheduler: StudyScheduler, watchers: Watchers) -> None:
    from search.tune.callbacks import CheckCallback, CheckpointCallback, NodeCallback, ReportCallback, TimeoutCallback
    from search.tune.cluster import ray_cluster
    from search.tune.trackers import tracking
    from search.tune.tuner import make_trainable, run_trials

    settings, slots = preparation.settings, preparation.machine.slots
    with (
        watchers.stop.deferred(),
        ray_cluster(slots, settings.run_dir / "ray.log") as scratch,
        tracking(settings, study, watchers.display.warning) as watchers.trackers,
    ):
        plan = _trial_plan(preparation, StepCounts(scratch / "steps"))
        watchers.display.watch(plan.steps)
        run_trials(
            make_trainable(train_trial, preparation.images, plan, slots),
            make_searcher(preparation, study, scheduler.promotions),
            scheduler,
            max_failures=settings.max_failures,
            scratch=scratch,
            callbacks=[
                CheckCallback(watchers.check),
                CheckpointCallback(plan, scheduler),
                ReportCallback(partial(watchers.report, plan), partial(_note_end, study, scheduler, watchers)),
                TimeoutCallback(TrialClock(settings.trial_timeout_s), scheduler),
                NodeCallback(slots),
            ],
        )
        for number in scheduler.promotions.stopped if scheduler.promotions else ():
            delete_checkpoints(plan.checkpoint_dir(number))
            watchers.end(study.trial(number))


def _note_end(study: RunStudy, scheduler: StudyScheduler, watchers: Watchers, number: int) -> None:
    """Passes on an end or a pause; a trial whose worker died and that starts again has neither."""
    if scheduler.is_over(number) or (scheduler.promotions is not None and scheduler.promotions.is_paused(number)):
        watchers.end(study.trial(number))


def _trial_plan(preparation: Preparation, steps: StepCounts) -> TrialPlan:
    settings = preparation.settings
    return TrialPlan(
        max_epochs=settings.max_epochs,
        rung_epochs=rungs_of(settings),
        engine=preparation.machine.engine,
        checkpoints_dir=(settings.run_dir / "checkpoints").absolute(),
        steps=steps,
    )


def _is_ended(record: TrialRecord) -> bool:
    return record.status not in (TrialStatus.INTERRUPTED, TrialStatus.REJECTED)
