"""Whether another trial fits into the time budget."""

from __future__ import annotations

from collections.abc import Iterable

from search.schedulers.steering import Steering
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

    def __init__(self, steering: Steering, study: RunStudy, *, max_epochs: int, retrain_epochs: float) -> None:
        """`retrain_epochs`: the time of all retrainings, in epochs of a trial."""
        self._steering = steering
        self._study = study
        self._epochs_needed = max_epochs + retrain_epochs

    def may_start(self) -> bool:
        """Whether a full-length trial and the retraining would end in time. The first trial that can win always may."""
        deadline, records = self._steering.deadline, self._study.trials()
        if deadline is None or not any(record.is_within_limits for record in records):
            return True
        epoch_s = seconds_per_epoch(records) or 0.0
        return self._steering.clock() + epoch_s * self._epochs_needed <= deadline
