"""Whether another trial fits into the time budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from search.study.record import TrialRecord
from search.study.study import RunStudy


def seconds_per_epoch(records: Iterable[TrialRecord]) -> float | None:
    """Seconds per epoch of the slowest trial so far; None before the first epoch."""
    means = [
        sum(metrics["seconds"] for metrics in record.epoch_metrics.values()) / len(record.epoch_metrics)
        for record in records
        if record.epoch_metrics
    ]
    return max(means, default=None)


class Budget:
    """The time budget of one call of the program. Time for the retraining is set aside."""

    def __init__(
        self,
        time_budget_s: float | None,
        study: RunStudy,
        *,
        max_epochs: int,
        retrain_epochs: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`retrain_epochs`: the time of all retrainings, in epochs of a trial. `clock` returns seconds."""
        self._clock = clock
        self._deadline = None if time_budget_s is None else clock() + time_budget_s
        self._study = study
        self._epochs_needed = max_epochs + retrain_epochs

    def may_start(self) -> bool:
        """Whether a full-length trial and the retraining would end in time."""
        if self._deadline is None:
            return True
        epoch_s = seconds_per_epoch(self._study.trials()) or 0.0
        return self._clock() + epoch_s * self._epochs_needed <= self._deadline
