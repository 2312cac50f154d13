"""What a run took; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search.study.record import TrialRecord, TrialStatus
from search.study.retrain_record import RetrainRecord


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Epochs and seconds of trials are summed over the workers."""

    statuses: dict[str, int]
    """Number of trials by status, without the statuses that no trial has."""
    epochs: int
    saved_epochs: int
    """Epochs that the stopped trials would still have trained."""
    trial_s: float
    retrain_s: float
    wall_s: float
    """Time in which some trial was training: without pauses, and without the time before a run was resumed."""

    @property
    def num_trials(self) -> int:
        """Trials that were given to a worker."""
        return sum(self.statuses.values()) - self.statuses.get(TrialStatus.REJECTED.value, 0)

    @property
    def statuses_text(self) -> str:
        """For example "12 completed, 8 stopped"."""
        return ", ".join(f"{count} {status}" for status, count in self.statuses.items())


def cost_of(records: Sequence[TrialRecord], retrained: Sequence[RetrainRecord], max_epochs: int) -> Cost:
    """The cost of trials and retrainings."""
    counts = {status.value: sum(record.status is status for record in records) for status in TrialStatus}
    epochs = [
        (metrics["recorded_at"] - record.seconds_spent_on(epoch), metrics["recorded_at"])
        for record in records
        for epoch, metrics in record.epoch_metrics.items()
        if "seconds" in metrics
    ]
    return Cost(
        statuses={status: count for status, count in counts.items() if count},
        epochs=sum(record.epochs_spent for record in records),
        saved_epochs=sum(max_epochs - one.epochs_spent for one in records if one.status is TrialStatus.STOPPED),
        trial_s=sum(record.seconds for record in records),
        retrain_s=sum(one.seconds for one in retrained),
        wall_s=_covered_s(epochs),
    )


def _covered_s(intervals: Sequence[tuple[float, float]]) -> float:
    """Seconds that lie in at least one of the intervals, each from a start to an end."""
    total_s, covered_to = 0.0, -math.inf
    for start, end in sorted(intervals):
        total_s += max(0.0, end - max(start, covered_to))
        covered_to = max(covered_to, end)
    return total_s
