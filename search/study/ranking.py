"""Which trial wins; pure."""

from __future__ import annotations

from collections.abc import Iterable

from search.study.study import TrialRecord, TrialStatus

_SCORED = (TrialStatus.COMPLETED, TrialStatus.STOPPED, TrialStatus.INTERRUPTED)


def rank_trials(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Trials that have a score, the one to retrain first.

    Trials within the limits come before all others; those that trained the full length before those that were
    stopped, and a later stop before an earlier one; then the higher last validation accuracy; then the fewer
    parameters; then the lower number. Trials that went on past a stop for the audit are not among them.
    """
    return sorted(filter(_is_candidate, trials), key=_rank)


def _is_candidate(trial: TrialRecord) -> bool:
    return trial.status in _SCORED and bool(trial.val_accuracies) and trial.audit_rung_epoch is None


def _rank(trial: TrialRecord) -> tuple[bool, bool, int, float, int, int]:
    return (
        not trial.is_within_limits,
        trial.status is not TrialStatus.COMPLETED,
        -trial.epochs_trained,
        -trial.val_accuracies[trial.epochs_trained],
        int(trial.profile.get("num_params", 0)),
        trial.number,
    )
