"""One trial of a run as plain values. Scores are single view on the validation images; larger is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TrialId = int | str
"""A trial's number, or a retraining's key."""
OUT_OF_MEMORY = "out of memory"
"""Prefix of the error of a trial that ran out of memory, on the GPU or in the process."""


class TrialStatus(StrEnum):
    """The state of a trial. All but RUNNING and INTERRUPTED are final."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class RungDecision:
    """The decision about a trial at a rung."""

    epoch: int
    score: float
    cutoff: float | None
    """The score needed to go on; None while the rung held too few scores to tell."""
    num_scores: int
    """Scores recorded at the rung, this one included."""
    is_stopped: bool
    is_sent_to_end: bool = False
    """Whether the trial goes on to the last epoch, whatever later rungs say."""
    next_epochs: int | None = None
    """Length of the training that follows and starts anew; None if the trial stops or goes on with the same one."""
    is_at_chance: bool = False
    """Whether no score at the rung was above chance, so that it decided nothing and the trial went on."""


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial as the study has it. Times are in seconds."""

    number: int
    status: TrialStatus
    origin: str
    """seed, default or sampled."""
    seed: int
    config: Mapping[str, Any]
    params: Mapping[str, Any]
    """The values the sampler proposed; empty for a config that was given."""
    violations: Mapping[str, float]
    """Excess over each limit, by name; above 0 breaks the limit."""
    profile: Mapping[str, Any]
    """num_params, multiply_adds of one image, receptive_field in pixels, None if not known."""
    scores: Mapping[int, float]
    """The run's metric by epoch, in ascending order; larger is better."""
    epoch_metrics: Mapping[int, Mapping[str, Any]]
    """By epoch: val_accuracy, losses, lr, seconds, images_per_s, worker, recorded_at (Unix time), and val_error, the
    standard error of the score."""
    rungs: tuple[RungDecision, ...]
    error: str | None
    started: datetime | None
    ended: datetime | None

    @property
    def epochs_trained(self) -> int:
        """Length of the longest training so far."""
        return max(self.scores, default=0)

    @property
    def epochs_spent(self) -> int:
        """Epochs of all trainings together: one that goes on from a rung may start anew."""
        trained = self.epochs_trained
        return trained + sum(rung.epoch for rung in self.rungs if rung.next_epochs and rung.epoch < trained)

    def epochs_spent_on(self, epoch: int) -> int:
        """1, and the epochs that were trained again before this one."""
        return 1 + sum(rung.epoch for rung in self.rungs if rung.next_epochs and rung.epoch == epoch - 1)

    def seconds_spent_on(self, epoch: int) -> float:
        """Training and validation time of an epoch, with that of the epochs that were trained again before it."""
        metrics = self.epoch_metrics.get(epoch, {})
        return float(metrics.get("seconds", 0.0) + metrics.get("repeated_s", 0.0))

    @property
    def rung_scores(self) -> Mapping[int, float]:
        """The scores by epoch that compare with other trials': not those in the middle of a longer training."""
        longer = [(rung.epoch, rung.next_epochs) for rung in self.rungs if rung.next_epochs]
        return {
            epoch: score
            for epoch, score in self.scores.items()
            if not any(start < epoch < end for start, end in longer)
        }

    @property
    def last_score(self) -> float | None:
        """Score of the last epoch; None before the first."""
        return self.scores.get(self.epochs_trained)

    @property
    def last_error(self) -> float:
        """Standard error of the last score over the choice of validation images; 0 if it is not known."""
        return float(self._last_metrics.get("val_error", 0.0))

    @property
    def last_accuracy(self) -> float | None:
        """Validation accuracy of the last epoch, a fraction; None before the first."""
        return self._last_metrics.get("val_accuracy")

    @property
    def best_epoch(self) -> int | None:
        """The first epoch with the best score; None before the first epoch."""
        scores = self.scores
        return max(scores, key=scores.__getitem__) if scores else None

    @property
    def mean_images_per_s(self) -> float | None:
        """Training speed, averaged over epochs; None before the first."""
        speeds = [metrics["images_per_s"] for metrics in self.epoch_metrics.values() if "images_per_s" in metrics]
        return sum(speeds) / len(speeds) if speeds else None

    @property
    def seconds(self) -> float:
        """Training and validation time of all epochs, repeated ones included."""
        return sum(map(self.seconds_spent_on, self.epoch_metrics))

    @property
    def _last_metrics(self) -> Mapping[str, Any]:
        return self.epoch_metrics.get(self.epochs_trained, {})

    @property
    def is_within_limits(self) -> bool:
        return all(excess <= 0 for excess in self.violations.values())


def num_started(trials: Iterable[TrialRecord]) -> int:
    """Trials that have begun, whatever became of them. Rejected ones do not count."""
    return sum(trial.status is not TrialStatus.REJECTED for trial in trials)


def num_ended(trials: Iterable[TrialRecord]) -> int:
    """Trials that never go on, of a run that nobody works on. Rejected ones do not count."""
    return sum(trial.status not in (TrialStatus.INTERRUPTED, TrialStatus.REJECTED) for trial in trials)


@dataclass(kw_only=True)
class NewTrial:
    """A config that is about to enter the record."""

    config: Mapping[str, Any]
    seed: int
    origin: str = "sampled"
    params: Mapping[str, Any] = field(default_factory=dict)
    distributions: Mapping[str, BaseDistribution] = field(default_factory=dict)
    violations: Mapping[str, float] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
