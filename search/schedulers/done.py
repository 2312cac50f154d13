"""When a search is done: the last half of all its training won no more than the noise of the validation.

What as much training again would win is expected to be less, as every further gain is harder to come by; and a better
score that the validation images could not tell from the present one is not worth its training (Makarova et al.,
"Automatic Termination for Hyperparameter Optimization", AutoML 2022). Decided from the record alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from search.study.study import RunStudy, TrialRecord, TrialStatus

NUM_FULL_LENGTH = 3
"""Trials that must have trained to the end; with fewer the present best is hardly better than the first one."""
_NOTE = "gain_below_noise"


@dataclass(frozen=True, kw_only=True)
class Done:
    """Why a search ended before all its trials, and what that saved."""

    num_trials: int
    """Trials that were asked for."""
    num_started: int
    gain: float
    """Of the last half of all epochs in the best full-length validation accuracy; a fraction."""
    noise: float
    """One standard error of that accuracy; a fraction."""
    epochs_saved: int
    """What the trials left would have trained, had they been like those before."""


class StopWhenDone:
    """The rule for a run of so many trials; once true it stays so, unless more trials are asked for."""

    def __init__(self, study: RunStudy, *, num_trials: int, num_val: int) -> None:
        """`num_val`: images that every validation accuracy comes from."""
        self._study = study
        self._num_trials = num_trials
        self._num_val = num_val

    def __call__(self) -> bool:
        """Whether no further trial need start; if so, the record says why."""
        if done_in(self._study.notes(), self._num_trials) is not None:
            return True
        done = judge(self._study.trials(is_running=True), num_trials=self._num_trials, num_val=self._num_val)
        if done is not None:
            self._study.set_note(_NOTE, asdict(done))
        return done is not None


def judge(records: Sequence[TrialRecord], *, num_trials: int, num_val: int) -> Done | None:
    """Why the search is done: the last half of its epochs won less than the noise. None if it is not, or if that
    cannot be said yet: too few full-length trials, or none in the first half."""
    epochs = sorted(
        (metrics["recorded_at"], record.number, epoch)
        for record in records
        for epoch, metrics in record.epoch_metrics.items()
    )
    place = {(number, epoch): index for index, (_, number, epoch) in enumerate(epochs)}
    ends = [
        (place[record.number, record.epochs_trained], record.val_accuracies[record.epochs_trained])
        for record in records
        if record.status is TrialStatus.COMPLETED and record.audit_rung_epoch is None
    ]
    early = [accuracy for index, accuracy in ends if index < len(epochs) // 2]
    if len(ends) < NUM_FULL_LENGTH or not early:
        return None
    best = max(accuracy for _, accuracy in ends)
    noise = validation_noise(best, num_val)
    if best - max(early) >= noise:
        return None
    num_started = sum(record.status is not TrialStatus.REJECTED for record in records)
    return Done(
        num_trials=num_trials,
        num_started=num_started,
        gain=best - max(early),
        noise=noise,
        epochs_saved=round((num_trials - num_started) * len(epochs) / num_started),
    )


def validation_noise(accuracy: float, num_val: int) -> float:
    """Standard error of an accuracy on so many images, as if one more had been right and one more wrong: it is not 0
    where all were right."""
    share = (accuracy * num_val + 1) / (num_val + 2)
    return math.sqrt(share * (1 - share) / (num_val + 2))


def done_in(notes: Mapping[str, Any], num_trials: int) -> Done | None:
    """What the facts about a run say of why it ended before so many trials."""
    done = Done(**notes[_NOTE]) if _NOTE in notes else None
    return done if done is not None and done.num_trials == num_trials else None
