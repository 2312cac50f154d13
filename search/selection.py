"""Which trial wins; pure."""

from __future__ import annotations

from collections.abc import Iterable

from search.study import TrialRecord, TrialStatus

_SCORED = (TrialStatus.COMPLETED, TrialStatus.STOPPED, TrialStatus.INTERRUPTED)


def rank_trials(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Trials that have a score, the one to retrain first.

    Trials within the limits come before all others; those that trained the full length before those that were
    stopped, and a later stop before an earlier one; then the higher last validation accuracy; then the fewer
    parameters; then the lower number.
    """
    return sorted((trial for trial in trials if trial.status in _SCORED and trial.val_accuracies), key=_rank)


def _rank(trial: TrialRecord) -> tuple[bool, bool, int, float, int, int]:
    return (
        not trial.is_within_limits,
        trial.status is not TrialStatus.COMPLETED,
        -trial.epochs_trained,
        -trial.val_accuracies[trial.epochs_trained],
        int(trial.profile.get("num_params", 0)),
        trial.number,
    )
