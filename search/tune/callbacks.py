"""Ray's callbacks of a search. They run in Tune's loop, so they must be quick; an exception ends the search."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial

from search.machine.slots import Slots
from search.schedulers.trial_clock import TrialClock
from search.study.checkpoints import Checkpoints
from search.study.record import TrialId
from search.tune.cluster import NodeDied, dead_node_processes
from search.tune.nodes import living_nodes
from search.tune.ray_state import StateIsInStudy
from search.tune.trial_scheduler import StudyScheduler
from search.worker.step_counts import StepCount
from search.worker.trainable import trial_of

NODE_TIMEOUT_S = 30.0
"""Of a cluster of one machine, whose nodes do not come back."""
_LOOK_INTERVAL_S = 3.0


class CheckCallback(StateIsInStudy, Callback):
    """Calls `check` several times a second. It ends the search by raising."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._check()


class ReportCallback(StateIsInStudy, Callback):
    """Passes on each epoch (TrialId, metrics), each end or pause (TrialId), and steps (TrialId, StepCount)."""

    def __init__(
        self,
        on_report: Callable[[Any, Mapping[str, Any]], None],
        on_end: Callable[[Any], None],
        on_steps: Callable[[Any, StepCount], None] = lambda _trial, _count: None,
    ) -> None:
        self._on_report = on_report
        self._on_end = on_end
        self._on_steps = on_steps

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if "steps" in result:
            self._on_steps(trial_of(trial.config), result["steps"])
        elif "epoch" in result:
            self._on_report(trial_of(trial.config), result)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._on_end(trial_of(trial.config))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._on_end(trial_of(trial.config))


class CheckpointCallback(StateIsInStudy, Callback):
    """Deletes the checkpoints of trials that need them no more; see `StudyScheduler.needs_checkpoints`."""

    def __init__(self, checkpoints: Checkpoints, scheduler: StudyScheduler) -> None:
        self._checkpoints = checkpoints
        self._scheduler = scheduler

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        # Ray keeps the last result of every trial.
        result.pop("checkpoint", None)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._delete_if_useless(trial_of(trial.config))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._delete_if_useless(trial_of(trial.config))

    def _delete_if_useless(self, trial: TrialId) -> None:
        if not self._scheduler.needs_checkpoints(trial):
            self._checkpoints.delete(trial)


class TimeoutCallback(StateIsInStudy, Callback):
    """Kills the worker of a trial that makes no progress; Ray would wait for it for ever."""

    def __init__(self, clock: TrialClock, scheduler: StudyScheduler) -> None:
        self._clock = clock
        self._scheduler = scheduler

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        for trial in trials:
            number = trial_of(trial.config)
            has_worker = trial.temporary_state.ray_actor is not None
            # A trial that gets a used worker is pending until that worker answers, which a frozen one never does.
            if trial.status == Trial.PENDING and has_worker:
                self._clock.begin(number)
            if trial.status in (Trial.RUNNING, Trial.PENDING) and self._clock.is_overdue(number):
                self._kill(trial)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._clock.progress(trial_of(trial.config))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if "steps" not in result:
            self._clock.progress(trial_of(trial.config))

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        # Its worker died. The time until the next one starts is not the trial's.
        self._clock.end(trial_of(trial.config))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._clock.end(trial_of(trial.config))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._clock.end(trial_of(trial.config))

    def _kill(self, trial: Trial) -> None:
        number = trial_of(trial.config)
        self._clock.end(number)
        self._scheduler.will_be_killed(
            number, f"killed because no epoch ended within {self._clock.timeout_s:.0f} s (--trial-timeout)"
        )
        # A trial that hangs would hang again, so it is not started again, whatever retries are left.
        trial.max_failures = 0
        if trial.temporary_state.ray_actor is not None:
            ray.kill(trial.temporary_state.ray_actor)


class NodeCallback(StateIsInStudy, Callback):
    """Raises NodeDied when Ray's processes have died or no node is left that a trial fits on."""

    def __init__(self, slots: Slots, *, timeout_s: float = NODE_TIMEOUT_S) -> None:
        self._slots = slots
        self._timeout_s = timeout_s
        self._last_look = self._last_seen = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        # The next call to a process that is gone would end this one without a message of ours.
        if dead_node_processes() & {"raylet", "gcs_server"}:
            raise NodeDied("Ray's node died, and all its trials with it")
        now = time.monotonic()
        if now - self._last_look < _LOOK_INTERVAL_S:
            return
        self._last_look = now
        # Also a busy one is large enough. A frozen node counts as dead after a minute.
        if any(node.num_slots(self._slots) for node in living_nodes()):
            self._last_seen = now
        elif now - self._last_seen > self._timeout_s:
            raise NodeDied(f"for {self._timeout_s:.0f} s, no node of Ray's on which a trial fits has answered")
