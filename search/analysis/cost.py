"""What a run took; pure."""

from __future__ import annotations

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
    """From the first trial's start to the last trial's end, including the pauses of a resumed run."""

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
    timed = [metrics for record in records for metrics in record.epoch_metrics.values() if "seconds" in metrics]
    started = min((metrics["recorded_at"] - metrics["seconds"] for metrics in timed), default=0.0)
    return Cost(
        statuses={status: count for status, count in counts.items() if count},
        epochs=sum(record.epochs_spent for record in records),
        saved_epochs=sum(max_epochs - one.epochs_spent for one in records if one.status is TrialStatus.STOPPED),
        trial_s=sum(record.seconds for record in records),
        retrain_s=sum(one.seconds for one in retrained),
        wall_s=max((metrics["recorded_at"] for metrics in timed), default=0.0) - started,
    )
