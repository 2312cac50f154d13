"""Which trial wins; pure."""

from __future__ import annotations

from collections.abc import Iterable

from search.study.record import TrialRecord, TrialStatus

_SCORED = (TrialStatus.COMPLETED, TrialStatus.STOPPED, TrialStatus.INTERRUPTED)


def rank_trials(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The trials that have a score, best first.

    Trials within the limits come before all others, full-length trials before stopped ones, and a later stop before an
    earlier one; then the better last score, fewer parameters, the lower number.
    """
    return sorted((trial for trial in trials if trial.status in _SCORED and trial.scores), key=_rank)


def _rank(trial: TrialRecord) -> tuple[bool, bool, int, float, int, int]:
    return (
        not trial.is_within_limits,
        trial.status is not TrialStatus.COMPLETED,
        -trial.epochs_trained,
        -trial.scores[trial.epochs_trained],
        int(trial.profile.get("num_params", 0)),
        trial.number,
    )
