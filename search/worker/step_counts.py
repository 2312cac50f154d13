"""The progress of a trial within its epoch, reported now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

MIN_INTERVAL_S = 2.0
MAX_SHARE = 0.005
"""Share of the training time that reports of progress may take."""


@dataclass(frozen=True)
class StepCount:
    """Where a trial is within its epoch."""

    epoch: int
    """The epoch in training, from 1."""
    step: int
    """Optimizer steps done."""
    num_steps: int
    """Optimizer steps of the whole epoch."""

    @property
    def fraction(self) -> float:
        """Share of the epoch's steps that is done, 0..1."""
        return self.step / self.num_steps if self.num_steps else 0.0


class StepReports:
    """Reports the first step at once, later ones as often as it costs little, the last one of an epoch never."""

    def __init__(self, report: Callable[[StepCount], None]) -> None:
        self._report = report
        self._next_at = 0.0

    def __call__(self, epoch: int, step: int, num_steps: int) -> None:
        """An optimizer step is done. The training waits while it is reported."""
        start = time.monotonic()
        if start < self._next_at or step == num_steps:
            return
        self._report(StepCount(epoch, step, num_steps))
        end = time.monotonic()
        self._next_at = end + max(MIN_INTERVAL_S, (end - start) / MAX_SHARE)
