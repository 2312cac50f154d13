"""When a search is done: what its most promising config is expected to gain drowns in the noise of the validation.

After Makarova et al., "Automatic Termination for Hyperparameter Optimization" (AutoML 2022): a better score that the
validation images could not tell from the present one is not worth its training. Decided from the record alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from search.study import RunStudy, TrialRecord, TrialStatus

NUM_IN_A_ROW = 3
"""Proposals that must promise too little one after the other: one forecast alone may be wrong."""
_NOTE = "done"


@dataclass(frozen=True, kw_only=True)
class Done:
    """Why a search ended before all its trials, and what that saved."""

    num_trials: int
    """Trials that were asked for."""
    num_started: int
    expected_gain: float
    """What the last proposals promised at most in validation accuracy; a fraction."""
    noise: float
    """One standard error of the best validation accuracy; a fraction."""
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
    """Why the search is done: the last proposals all promised less than the noise. None if it is not."""
    started = [record for record in records if record.status is not TrialStatus.REJECTED]
    promises = [record.expected_gain for record in started if record.expected_gain is not None]
    accuracies = [accuracy for record in started for accuracy in record.val_accuracies.values()]
    if len(promises) < NUM_IN_A_ROW or not accuracies:
        return None
    noise = validation_noise(max(accuracies), num_val)
    expected_gain = max(promises[-NUM_IN_A_ROW:])
    if expected_gain >= noise:
        return None
    return Done(
        num_trials=num_trials,
        num_started=len(started),
        expected_gain=expected_gain,
        noise=noise,
        epochs_saved=round((num_trials - len(started)) * len(accuracies) / len(started)),
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
