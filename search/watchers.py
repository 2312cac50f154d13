"""Everything that is notified of the trials' progress, and that may end the search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search.display.display import Display
from search.errors import RunFailed
from search.live_control import LiveControl
from search.machine.signals import StopRequest
from search.notify import Notifier
from search.report.page import LivePage
from search.schedulers.failure_streak import FailureStreak
from search.study.record import TrialId, TrialRecord, TrialStatus
from search.worker.trainable import TrialPlan

if TYPE_CHECKING:
    from search.tune.trackers import Tracking


@dataclass
class Watchers:
    """Everything that is notified of the trials' progress, and that may end the search."""

    display: Display
    page: LivePage
    stop: StopRequest
    control: LiveControl
    notifier: Notifier
    num_val: int
    """Validation images."""
    trackers: Tracking | None = None
    streak: FailureStreak = field(default_factory=FailureStreak)

    def check(self) -> None:
        """Ends the search, wherever its trials are, once it was asked to stop or cannot succeed."""
        self.display.tick()
        self.control.check()
        if self.stop:
            self.display.stopping()
        self.stop.check()
        if self.streak.verdict is not None:
            raise RunFailed(self.streak.verdict)

    def report(self, plan: TrialPlan, trial: TrialId, metrics: Mapping[str, Any]) -> None:
        """A trial or retraining finished an epoch."""
        self.display.report(trial, metrics)
        if self.trackers is not None and isinstance(trial, int):
            self.trackers.report(trial, metrics)
        if metrics["epoch"] in plan.rung_epochs:
            self.page.update()

    def end(self, record: TrialRecord) -> None:
        """A trial ended or paused."""
        self.streak.add(record)
        self.display.end(record)
        self.notifier.trial_ended(record, self.num_val)
        if self.trackers is not None and record.status is not TrialStatus.RUNNING:
            self.trackers.end(record)
