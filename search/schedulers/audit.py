"""The audit of early stopping: some trials that are about to be stopped go on to the end, to see what stops cost; pure.

Who goes on is drawn from (run seed, trial number) alone, so that a resumed run draws the same. An audited trial is
compared at no later rung and its later scores count at none, as if it had been stopped; the sampler learns its end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from model.seeds import derive_seed
from search.estimates import rank_correlation
from search.study.study import RungDecision, TrialRecord, TrialStatus

MIN_TRIALS = 8
"""Trials with an end below which a rank correlation says nothing."""
MIN_AUDITED = 3
"""Of them audited: without these, only the trials that the rungs let through would speak for the rungs."""
ENOUGH_CORRELATION = 0.8
"""Rank correlation with the end from which on an epoch is taken to foretell it."""
_NUM_SEEDS = 2**63


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Which of the trials that are about to be stopped go on."""

    fraction: float = 0.0
    seed: int = 0
    """The run's."""

    def audited(self, trial_number: int, decision: RungDecision) -> RungDecision:
        """The decision, marked as audited if the trial is to go on past its stop."""
        is_drawn = derive_seed(self.seed, "audit", trial_number) < self.fraction * _NUM_SEEDS
        return dataclasses.replace(decision, is_audited=decision.is_stopped and is_drawn)


NO_AUDIT = Audit()


@dataclass(frozen=True, kw_only=True)
class RungAudit:
    """What the audit says of one rung."""

    epoch: int
    correlation: float | None
    """Rank correlation of the scores here with those at the end, audited trials included; None for too few."""
    num_trials: int
    """Trials with an end that it is of."""
    num_stopped: int
    """Trials that ended here."""
    num_audited: int
    """Trials that would have been stopped here and went on to the end."""
    num_missed: int
    """Of those, the ones that ended above every trial that the rungs let through."""
    epochs_saved: int


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What early stopping cost and saved. Accuracies are fractions 0..1."""

    rungs: list[RungAudit]
    epochs_spent: int
    """By audited trials after the rung that would have stopped them."""
    lost_accuracy: float | None
    """How far the best audited trial ended above the best that the rungs let through, 0 if it did not; None if there is
    nothing to compare."""
    suggested_grace_period: int | None
    """The first epoch from which on the correlation with the end stays high; None for too few trials or no such one."""

    @property
    def num_stopped(self) -> int:
        return sum(rung.num_stopped for rung in self.rungs)

    @property
    def num_audited(self) -> int:
        return sum(rung.num_audited for rung in self.rungs)

    @property
    def num_missed(self) -> int:
        return sum(rung.num_missed for rung in self.rungs)

    @property
    def num_whole(self) -> int:
        """Trials with an end, audited or let through."""
        return max((rung.num_trials for rung in self.rungs), default=0)

    @property
    def epochs_saved(self) -> int:
        return sum(rung.epochs_saved for rung in self.rungs)

    @property
    def is_enough(self) -> bool:
        """Whether there are trials enough to judge the rungs by."""
        return self.num_whole >= MIN_TRIALS and self.num_audited >= MIN_AUDITED


def audit_report(records: Sequence[TrialRecord], rung_epochs: Sequence[int], max_epochs: int) -> AuditReport:
    """What the ends of the audited trials say of the stops. Trials that did not reach the end say nothing."""
    whole = [record for record in records if record.status is TrialStatus.COMPLETED]
    audited = [record for record in whole if record.audit_rung_epoch is not None]
    # A config over the limits can win nothing, so nothing is lost with it, and it sets no mark.
    marks = [_end(record) for record in whole if record.audit_rung_epoch is None and record.is_within_limits]
    mark = max(marks, default=None)
    ends = [_end(record) for record in audited if record.is_within_limits]
    rungs = [_rung(epoch, records, whole, audited, mark, max_epochs) for epoch in rung_epochs]
    report = AuditReport(
        rungs=rungs,
        epochs_spent=sum(max_epochs - (record.audit_rung_epoch or 0) for record in audited),
        lost_accuracy=max(0.0, max(ends) - mark) if ends and mark is not None else None,
        suggested_grace_period=None,
    )
    if not rungs or not report.is_enough:
        return report
    return dataclasses.replace(report, suggested_grace_period=_grace_period(whole, max_epochs))


def _rung(
    epoch: int,
    records: Sequence[TrialRecord],
    whole: Sequence[TrialRecord],
    audited: Sequence[TrialRecord],
    mark: float | None,
    max_epochs: int,
) -> RungAudit:
    stopped = [record for record in records if record.status is TrialStatus.STOPPED and record.epochs_trained == epoch]
    here = [record for record in audited if record.audit_rung_epoch == epoch]
    missed = [record for record in here if record.is_within_limits and mark is not None and _end(record) > mark]
    return RungAudit(
        epoch=epoch,
        correlation=_correlation(whole, epoch),
        num_trials=len(whole),
        num_stopped=len(stopped),
        num_audited=len(here),
        num_missed=len(missed),
        epochs_saved=len(stopped) * (max_epochs - epoch),
    )


def _grace_period(whole: Sequence[TrialRecord], max_epochs: int) -> int | None:
    suggested = None
    for epoch in range(max_epochs - 1, 0, -1):
        rho = _correlation(whole, epoch)
        if rho is None or rho < ENOUGH_CORRELATION:
            break
        suggested = epoch
    return suggested


def _correlation(whole: Sequence[TrialRecord], epoch: int) -> float | None:
    pairs = [(record.val_accuracies[epoch], _end(record)) for record in whole if epoch in record.val_accuracies]
    return rank_correlation([early for early, _ in pairs], [end for _, end in pairs])


def _end(record: TrialRecord) -> float:
    return record.val_accuracies[record.epochs_trained]
