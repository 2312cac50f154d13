"""All training: trials until the record holds as many as the settings ask for, then finals and retrainings."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from model.metrics import METRICS
from search.display.progress import Progress
from search.live_control import note_early_end
from search.retrain.stage import note_winner, retrain_splits
from search.samplers.build import make_sampler
from search.samplers.proposer import Proposer
from search.schedulers.expected_epochs import expected_epochs
from search.schedulers.promotion import NUM_FINALISTS, PromotionRule
from search.schedulers.retrain_queue import RetrainQueue
from search.schedulers.rungs import rungs_of
from search.schedulers.steering import Steering
from search.schedulers.time_budget import Budget
from search.schedulers.trial_clock import TrialClock
from search.setup.preparation import Preparation
from search.study.checkpoints import Checkpoints
from search.study.record import TrialId, num_ended
from search.study.retrain_record import retrain_title
from search.study.study import EARLY_END_NOTE, RunStudy
from search.watchers import Watchers
from search.worker.trainable import TrialPlan, train_trial

if TYPE_CHECKING:
    from search.tune.searcher import StudySearcher
    from search.tune.trial_scheduler import StudyScheduler


def train_all(preparation: Preparation, study: RunStudy, watchers: Watchers) -> RetrainQueue:
    """Trains what the record lacks, if anything: trials, finals, winner and baselines. Returns the retrainings."""
    # Ray takes seconds to import, and bad input is refused before that.
    from search.tune.trial_scheduler import StudyScheduler

    settings, steering = preparation.settings, watchers.control.steering
    watchers.control.check()
    on_winner = partial(note_winner, settings, study, watchers.display)
    retrainings = RetrainQueue(settings, study, preparation.baselines, on_winner, steering=steering)
    # Made first: it finishes the writes that a kill cut off.
    checkpoints = Checkpoints(settings.run_dir)
    scheduler = StudyScheduler(
        settings,
        study,
        retrainings,
        checkpoints,
        chance_level=preparation.chance_level,
        starts_anew=True,
        steering=steering,
    )
    stage = _Stage(preparation, study, watchers, retrainings, scheduler, checkpoints)
    is_searched = steering.is_stopped or num_ended(study.trials()) >= steering.num_trials
    if not is_searched:
        study.set_note(EARLY_END_NOTE, None)
    if not is_searched or retrainings.due():
        try:
            stage.train(is_searched=is_searched)
        finally:
            watchers.display.end_trials()
    return retrainings


def make_searcher(
    preparation: Preparation, study: RunStudy, promotions: PromotionRule | None, steering: Steering
) -> StudySearcher:
    """The searcher of a prepared run. `promotions`: the trial scheduler's rule, if trials pause."""
    from search.tune.searcher import StudySearcher

    settings = preparation.settings
    budget = Budget(
        steering, study, max_epochs=settings.max_epochs, retrain_epochs=preparation.retrain_cost.wall_epochs
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
    return StudySearcher(proposer, study, steering, promotions=promotions, may_start=budget.may_start)


@dataclass(frozen=True)
class _Stage:
    """One Tuner run: the search, then the retrainings on the same workers."""

    preparation: Preparation
    study: RunStudy
    watchers: Watchers
    retrainings: RetrainQueue
    scheduler: StudyScheduler
    checkpoints: Checkpoints

    def train(self, *, is_searched: bool) -> None:
        """Trains until nothing is due. `is_searched`: whether the record holds the whole search."""
        from search.tune.cluster import ray_cluster
        from search.tune.searcher import RunSearcher
        from search.tune.trackers import tracking
        from search.tune.tuner import make_trainable, run_trials

        settings, slots, watchers = self.preparation.settings, self.preparation.machine.slots, self.watchers
        watchers.control.on_change = self._show_steering
        if not is_searched:
            self._begin_search()
        self._show_steering()
        with (
            watchers.stop.deferred(),
            ray_cluster(slots, settings.run_dir / "ray.log") as scratch,
            tracking(settings, self.study, watchers.display.warning) as watchers.trackers,
        ):
            plan = self.preparation.trial_plan()
            run_trials(
                make_trainable(
                    train_trial,
                    self.preparation.images,
                    plan,
                    slots,
                    retrain_splits(self.preparation),
                    self.preparation.machine.engines,
                    settings.accelerator,
                ),
                RunSearcher(
                    make_searcher(self.preparation, self.study, self.scheduler.promotions, self.steering),
                    self.retrainings,
                    on_search_end=self._begin_retraining,
                    on_pause=self._check,
                ),
                self.scheduler,
                max_failures=settings.max_failures,
                scratch=scratch,
                callbacks=self._callbacks(plan),
            )

    def _callbacks(self, plan: TrialPlan) -> list[Any]:
        from search.tune.callbacks import (
            NODE_TIMEOUT_S,
            CheckCallback,
            CheckpointCallback,
            NodeCallback,
            ReportCallback,
            TimeoutCallback,
        )

        settings, slots = self.preparation.settings, self.preparation.machine.slots
        return [
            CheckCallback(self._check),
            CheckpointCallback(self.checkpoints, self.scheduler),
            ReportCallback(partial(self.watchers.report, plan), self._note_end, self.watchers.display.step),
            # Reports are not read while the record's server is away.
            TimeoutCallback(
                TrialClock(settings.trial_timeout_s, lambda: time.monotonic() - self.study.seconds_away), self.scheduler
            ),
            NodeCallback(slots, timeout_s=settings.node_timeout_s if self.preparation.cluster else NODE_TIMEOUT_S),
        ]

    @property
    def steering(self) -> Steering:
        return self.watchers.control.steering

    def _check(self) -> None:
        self.steering.grow(self.preparation.num_slots())
        self.watchers.check()
        self.scheduler.end_idle_workers()

    def _show_steering(self) -> None:
        """The console follows what people asked for."""
        steering, display = self.steering, self.watchers.display
        display.steer(steering.words, 0 if steering.is_paused else steering.num_slots or 1)
        if not steering.is_search_over:
            settings = self.preparation.settings
            display.expect(steering.num_trials, expected_epochs(settings, steering.num_trials), steering.deadline)

    def _begin_search(self) -> None:
        display, title = self.watchers.display, METRICS[self.preparation.settings.metric].title
        display.message(
            f"trials are ranked by their validation {title}, single view: {self.preparation.val_floor.note}"
        )
        display.start_trials(self._search_progress())

    def _begin_retraining(self) -> None:
        """The search is over."""
        for number in self.scheduler.promotions.stopped if self.scheduler.promotions else ():
            self.checkpoints.delete(number)
            self.watchers.end(self.study.trial(number))
        self.watchers.page.update()
        display, settings = self.watchers.display, self.preparation.settings
        display.end_trials()
        note_early_end(self.steering, self.study, display)
        if not self.retrainings.due():
            return
        words = self.retrainings.plan.words(has_baselines=settings.baseline)
        display.message(f"retraining {words}, for {settings.max_epochs} epochs")
        display.start_trials(self._retrain_progress())
        self._show_steering()

    def _note_end(self, trial: TrialId) -> None:
        """Passes on an end or a pause; a trial whose worker died and that starts again has neither."""
        if isinstance(trial, int):
            if self.scheduler.is_over(trial) or self.scheduler.is_waiting(trial):
                self.watchers.end(self.study.trial(trial))
        elif trial in self.retrainings.failures:
            self.watchers.display.warning(f"{retrain_title(trial)} failed: {self.retrainings.failures[trial]}")
        elif self.retrainings.is_trained(trial):
            num_tasks = self.retrainings.num_tasks
            self.watchers.display.expect(num_tasks, float(num_tasks * self.preparation.settings.max_epochs))
            self.watchers.display.end_retraining(self.retrainings.record(trial))
            self.watchers.page.update()
        elif self.scheduler.is_waiting(trial):
            self.watchers.display.wait(trial)

    def _search_progress(self) -> Progress:
        settings, num_trials = self.preparation.settings, self.steering.num_trials
        progress = Progress(
            num_trials,
            settings.max_epochs,
            expected_epochs(settings, num_trials),
            rung_epochs=rungs_of(settings),
            num_workers=self.preparation.machine.slots.num_concurrent,
            metric=METRICS[settings.metric],
            floor_note=self.preparation.val_floor.note,
            num_finalists=NUM_FINALISTS if self.scheduler.promotions else 0,
        )
        progress.resume(self.study.trials())
        return progress

    def _retrain_progress(self) -> Progress:
        num_tasks, max_epochs = self.retrainings.num_tasks, self.preparation.settings.max_epochs
        progress = Progress(
            num_tasks,
            max_epochs,
            float(num_tasks * max_epochs),
            metric=METRICS[self.preparation.settings.metric],
            floor_note=self.preparation.val_floor.note,
            stage="retraining",
            num_workers=self.preparation.machine.slots.num_concurrent,
        )
        for task in self.retrainings.tasks:
            if self.retrainings.is_trained(task.key):
                progress.end_retraining(self.retrainings.record(task.key))
        return progress
