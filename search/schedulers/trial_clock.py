"""How long each running trial has made no progress; pure."""

from __future__ import annotations

import time
from collections.abc import Callable

from search.study.record import TrialId


class TrialClock:
    """Uses a monotonic clock, so that setting the system's clock kills no trial."""

    def __init__(self, timeout_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._now = now
        self._last_progress: dict[TrialId, float] = {}

    def begin(self, trial: TrialId) -> None:
        """A worker was given the trial; only the first call counts."""
        self._last_progress.setdefault(trial, self._now())

    def progress(self, trial: TrialId) -> None:
        """A trial has started or finished an epoch."""
        self._last_progress[trial] = self._now()

    def end(self, trial: TrialId) -> None:
        """A trial has ended or paused."""
        self._last_progress.pop(trial, None)

    def is_overdue(self, trial: TrialId) -> bool:
        """Whether a running trial has made no progress for longer than the time-out."""
        last = self._last_progress.get(trial)
        return last is not None and self._now() - last > self.timeout_s
