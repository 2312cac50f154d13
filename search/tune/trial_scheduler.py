"""Ray's trial scheduler over the study: records every report, then lets ASHA decide on what is recorded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.schedulers.audit import NO_AUDIT, Audit
from search.schedulers.promotion import Promotions
from search.schedulers.rungs import RungSettings, decide, reduction_factor_of, rungs_of
from search.study.study import RungDecision, RunStudy, TrialRecord, TrialStatus
from search.tune.ray_state import StateIsInStudy

WORKER_DIED = "the worker process died again and again; most often for lack of memory"


class StudyScheduler(StateIsInStudy, FIFOScheduler, ABC):
    """Records every report and every end; whether a trial goes on is decided by its subclasses.

    A report is a dict with `epoch` (1-based), `val_accuracy` (fraction) and any further metrics, or with `ended`
    ("diverged" or "failed") and `error`, or with `disk_error` (an errno) and `error`, which ends the search. An epoch
    that is in the record already counts no second time.
    """

    promotions: Promotions | None = None
    """What waiting trials go on by; None where none waits."""

    def __init__(self, settings: RungSettings, study: RunStudy) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._study = study
        self._max_epochs = settings.max_epochs
        self._epochs_recorded = {record.number: record.epochs_trained for record in study.trials()}
        self._reasons_to_kill: dict[int, str] = {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Records the report and answers CONTINUE or STOP."""
        number = trial.config["trial_number"]
        if "disk_error" in result:
            raise OSError(result["disk_error"], result["error"])
        if "ended" in result:
            self._study.finish(number, TrialStatus(result["ended"]), error=result["error"])
            return TrialScheduler.STOP
        epoch, score = int(result["epoch"]), float(result["val_accuracy"])
        if epoch <= self._epochs_recorded.get(number, 0):
            return TrialScheduler.CONTINUE
        metrics = {key: result[key] for key in EPOCH_METRICS if key in result}
        self._study.record_epoch(number, epoch=epoch, val_accuracy=score, metrics=metrics)
        self._epochs_recorded[number] = epoch
        return self._decide(number, epoch, score)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A worker died. Ray tells of every death, also of one after which it starts the trial again."""
        if trial.should_recover():  # type: ignore[no-untyped-call]
            return
        number = trial.config["trial_number"]
        error = self._reasons_to_kill.get(number, WORKER_DIED)
        self._study.finish(number, TrialStatus.FAILED, error=error)

    def will_be_killed(self, trial_number: int, reason: str) -> None:
        """The trial's worker is about to be killed: what its record shall say."""
        self._reasons_to_kill[trial_number] = reason

    def is_over(self, trial_number: int) -> bool:
        """Whether the trial has ended for good."""
        return self._study.trial(trial_number).status is not TrialStatus.RUNNING

    @abstractmethod
    def _decide(self, number: int, epoch: int, score: float) -> str:
        """CONTINUE or STOP after an epoch that was just recorded."""


class StudyASHAScheduler(StudyScheduler):
    """ASHA whose rungs are the study's scores, so that a resumed run decides as the undisturbed one would."""

    def __init__(self, settings: RungSettings, study: RunStudy, audit: Audit = NO_AUDIT) -> None:
        super().__init__(settings, study)
        self._audit = audit
        self._audited: set[int] = set()
        self._reduction_factor = reduction_factor_of(settings)
        self._rungs: dict[int, dict[int, float]] = {epoch: {} for epoch in rungs_of(settings)}
        records = study.trials()
        for record in records:
            self._adopt(record)
        # Only now: a decision that a kill cut off has to see the scores of the trials with higher numbers, too.
        for record in records:
            if record.status is TrialStatus.INTERRUPTED and record.val_accuracies:
                self._make_up_for(record)

    def _decide(self, number: int, epoch: int, score: float) -> str:
        if epoch >= self._max_epochs:
            self._study.finish(number, TrialStatus.COMPLETED, value=score)
            return TrialScheduler.STOP
        if epoch not in self._rungs or number in self._audited:
            return TrialScheduler.CONTINUE
        decision = self._judge(number, epoch, score)
        if decision.is_audited:
            self._audited.add(number)
        elif decision.is_stopped:
            self._study.finish(number, TrialStatus.STOPPED)
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def _judge(self, number: int, epoch: int, score: float) -> RungDecision:
        rung = self._rungs[epoch]
        others = [recorded for other, recorded in rung.items() if other != number]
        decision = self._audit.audited(number, decide(epoch, score, others, self._reduction_factor))
        rung[number] = score
        self._study.record_rung(number, decision)
        return decision

    def _adopt(self, record: TrialRecord) -> None:
        """Takes a trial's scores from the record."""
        last_rung = record.audit_rung_epoch
        if last_rung is not None:
            self._audited.add(record.number)
        for epoch, rung in self._rungs.items():
            if epoch in record.val_accuracies and (last_rung is None or epoch <= last_rung):
                rung[record.number] = record.val_accuracies[epoch]

    def _make_up_for(self, record: TrialRecord) -> None:
        """Makes the decision on an unfinished trial's last score, or writes the end, that a kill cut off."""
        epoch = record.epochs_trained
        decided = {decision.epoch: decision for decision in record.rungs}
        if epoch in decided:
            if decided[epoch].is_stopped and not decided[epoch].is_audited:
                self._study.finish(record.number, TrialStatus.STOPPED)
        else:
            self._decide(record.number, epoch, record.val_accuracies[epoch])


class StudyPromotionScheduler(StudyScheduler):
    """Successive halving by promotion: a trial is laid aside at each rung, until `promotions` lets it go on.

    To Ray every way from one rung to the next is a trial of its own, which the searcher proposes.
    """

    def __init__(self, settings: RungSettings, study: RunStudy) -> None:
        super().__init__(settings, study)
        for record in study.trials():
            if record.status is TrialStatus.INTERRUPTED and record.epochs_trained >= self._max_epochs:
                study.finish(record.number, TrialStatus.COMPLETED, value=record.val_accuracies[record.epochs_trained])
        self.promotions: Promotions = Promotions(settings, study)

    def _decide(self, number: int, epoch: int, score: float) -> str:
        if epoch >= self._max_epochs:
            self._study.finish(number, TrialStatus.COMPLETED, value=score)
            self.promotions.complete(number)
            return TrialScheduler.STOP
        return TrialScheduler.STOP if self.promotions.reach(number, epoch, score) else TrialScheduler.CONTINUE


EPOCH_METRICS = ("train_loss", "val_loss", "lr", "seconds", "images_per_s", "worker")
"""What the record keeps of a report besides its score."""


def build_trial_scheduler(
    settings: RungSettings, study: RunStudy, audit: Audit = NO_AUDIT
) -> StudyASHAScheduler | StudyPromotionScheduler:
    """The trial scheduler of a run. It and the searcher over the same study belong together.

    The audit is of ASHA's stops: by promotion a trial is laid aside and may yet go on, until the search is over.
    """
    if settings.scheduler == "promotion":
        return StudyPromotionScheduler(settings, study)
    return StudyASHAScheduler(settings, study, audit)
