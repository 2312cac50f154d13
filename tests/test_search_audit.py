"""The audit of early stopping: who goes on, what it leaves alone, and what it finds, against hand-made cases."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler
from search_worlds import Rungs, stub

from model.seeds import derive_seed
from search.analysis.wording import audit_sentences
from search.schedulers.audit import NO_AUDIT, Audit, audit_report
from search.schedulers.rungs import decide
from search.study.study import NewTrial, RungDecision, RunStudy, TrialRecord, TrialStatus
from search.tune.trial_scheduler import StudyASHAScheduler

RUNGS = Rungs(max_epochs=9, grace_period=1, reduction_factor=2)  # rungs at 1, 2, 4, 8
STOP = RungDecision(epoch=1, score=0.1, cutoff=0.5, num_scores=3, is_stopped=True)


def test_who_is_audited_depends_on_run_seed_and_trial_alone() -> None:
    half = Audit(fraction=0.5, seed=7)
    drawn = [half.audited(number, STOP).is_audited for number in range(1000)]
    assert drawn == [derive_seed(7, "audit", number) / 2**63 < 0.5 for number in range(1000)]
    assert 450 < sum(drawn) < 550
    assert not any(NO_AUDIT.audited(number, STOP).is_audited for number in range(1000))
    assert all(Audit(fraction=1.0).audited(number, STOP).is_audited for number in range(1000))


def test_a_trial_that_goes_on_anyway_is_not_audited() -> None:
    passed = decide(1, 0.9, [0.5], 2)
    assert Audit(fraction=1.0).audited(0, passed) == passed


def study_of(num_trials: int) -> RunStudy:
    study = RunStudy.in_memory()
    for number in range(num_trials):
        study.add_trial(NewTrial(config={}, seed=number))
    return study


def scheduler_of(study: RunStudy, fraction: float = 1.0) -> StudyASHAScheduler:
    return StudyASHAScheduler(RUNGS, study, Audit(fraction=fraction))  # type: ignore[arg-type]


def report(scheduler: StudyASHAScheduler, number: int, epoch: int, score: float) -> str:
    trial = stub(f"t{number}", {"trial_number": number})
    return scheduler.on_trial_result(None, trial, {"epoch": epoch, "val_accuracy": score})  # type: ignore[arg-type]


def test_an_audited_trial_goes_on_to_the_end_uncompared() -> None:
    study = study_of(2)
    scheduler = scheduler_of(study)
    report(scheduler, 0, 1, 0.9)
    actions = [report(scheduler, 1, epoch, 0.1) for epoch in range(1, 10)]
    assert actions == [TrialScheduler.CONTINUE] * 8 + [TrialScheduler.STOP]
    record = study.trial(1)
    assert record.status is TrialStatus.COMPLETED
    assert record.audit_rung_epoch == 1
    stop = RungDecision(epoch=1, score=0.1, cutoff=0.9, num_scores=2, is_stopped=True, is_audited=True)
    assert record.rungs == (stop,)


@pytest.mark.parametrize("is_resumed", [False, True])
def test_its_scores_count_at_the_rung_of_its_stop_and_at_no_later_one(is_resumed: bool) -> None:
    study = study_of(3)
    scheduler = scheduler_of(study)
    report(scheduler, 0, 1, 0.9)
    for epoch, score in ((1, 0.1), (2, 0.99), (3, 0.99)):
        report(scheduler, 1, epoch, score)
    if is_resumed:
        scheduler = scheduler_of(study)
    report(scheduler, 2, 1, 0.8)
    assert study.trial(2).rungs[0].num_scores == 3
    report(scheduler, 0, 2, 0.3)
    assert study.trial(0).rungs[1].num_scores == 1
    assert report(scheduler, 1, 4, 0.01) == TrialScheduler.CONTINUE
    assert len(study.trial(1).rungs) == 1


def test_a_kill_between_score_and_decision_changes_nothing() -> None:
    study = study_of(2)
    report(scheduler_of(study), 0, 1, 0.9)
    study.record_epoch(1, epoch=1, val_accuracy=0.1, metrics={})
    scheduler_of(study)
    record = study.trials()[1]
    assert (record.status, record.audit_rung_epoch) == (TrialStatus.INTERRUPTED, 1)
    study.record_epoch(1, epoch=2, val_accuracy=0.1, metrics={})
    scheduler_of(study)
    assert study.trials()[1].status is TrialStatus.INTERRUPTED
    assert len(study.trials()[1].rungs) == 1


def run_all(fraction: float, *, is_resumed_often: bool) -> list[TrialRecord]:
    """24 trials, four at a time, with curves drawn by trial number alone."""
    study, rng = study_of(24), random.Random(3)
    scheduler = scheduler_of(study, fraction)
    epochs = dict.fromkeys(range(24), 0)
    while epochs:
        if is_resumed_often:
            scheduler = scheduler_of(study, fraction)
        number = rng.choice(list(epochs)[:4])
        epochs[number] += 1
        if report(scheduler, number, epochs[number], random.Random(100 * number + epochs[number]).random()) == "STOP":
            del epochs[number]
    return study.trials()


def told(records: list[TrialRecord]) -> list[tuple[Any, ...]]:
    return [(record.status, record.val_accuracies, record.rungs) for record in records]


def test_resuming_after_every_report_audits_the_same() -> None:
    undisturbed = run_all(0.5, is_resumed_often=False)
    audited = [record for record in undisturbed if record.audit_rung_epoch is not None]
    assert 2 < len(audited) < 22
    assert all(record.status is TrialStatus.COMPLETED for record in audited)
    assert any(record.status is TrialStatus.STOPPED for record in undisturbed)
    assert told(run_all(0.5, is_resumed_often=True)) == told(undisturbed)


def record(
    number: int,
    scores: tuple[float, ...],
    *,
    audited_at: int | None = None,
    status: str = "completed",
    excess: float = 0,
) -> TrialRecord:
    """A trial with its scores by epoch."""
    stop = dataclasses.replace(STOP, epoch=audited_at or 1, is_audited=True)
    return TrialRecord(
        number=number, status=TrialStatus(status), origin="sampled", seed=0, config={}, params={},
        violations={"num_params": excess}, profile={}, val_accuracies=dict(enumerate(scores, 1)), epoch_metrics={},
        rungs=() if audited_at is None else (stop,), error=None, started=None, ended=None,
    )  # fmt: skip


RECORDS = [
    record(0, (0.50, 0.60, 0.70, 0.80)),
    record(1, (0.40, 0.55, 0.65, 0.75)),
    record(2, (0.45, 0.62, 0.68, 0.72)),
    record(3, (0.60, 0.61, 0.62, 0.63)),
    record(4, (0.55, 0.58, 0.60, 0.62)),
    record(5, (0.10, 0.30, 0.60, 0.84), audited_at=1),  # the stop would have missed it
    record(6, (0.20, 0.30, 0.40, 0.50), audited_at=1),
    record(7, (0.42, 0.50, 0.52, 0.55), audited_at=2),
    record(8, (0.30,), status="stopped"),
    record(9, (0.25,), status="stopped"),
    record(10, (0.41, 0.50), status="stopped"),
    record(11, (0.10, 0.20), audited_at=1, status="diverged"),
]


def test_what_the_stops_cost_and_saved() -> None:
    report = audit_report(RECORDS, (1, 2), 4)
    first, second = report.rungs
    assert (first.num_stopped, first.num_audited, first.num_missed, first.epochs_saved) == (2, 2, 1, 6)
    assert (second.num_stopped, second.num_audited, second.num_missed, second.epochs_saved) == (1, 1, 0, 2)
    assert (report.num_audited, report.num_whole, report.epochs_saved) == (3, 8, 8)
    assert report.epochs_spent == 3 + 3 + 2
    assert report.lost_accuracy == pytest.approx(0.84 - 0.80)
    # Ranks at epoch 1 against ranks at the end: differences of 1, 3, 0, 4, 4, 7, 1 and 2.
    assert first.correlation == pytest.approx(1 - 6 * (1 + 9 + 0 + 16 + 16 + 49 + 1 + 4) / (8 * 63))
    assert first.num_trials == 8


def test_a_config_over_the_limits_is_no_loss_and_no_mark() -> None:
    whole = [record(0, (0.1, 0.9), excess=5.0), record(1, (0.1, 0.5))]
    missed = record(2, (0.1, 0.6), audited_at=1)
    beyond = record(3, (0.1, 0.95), audited_at=1, excess=5.0)
    assert audit_report([*whole, missed, beyond], (1,), 2).lost_accuracy == pytest.approx(0.1)
    assert audit_report([*whole, beyond], (1,), 2).lost_accuracy is None
    assert audit_report([missed], (1,), 2).lost_accuracy is None


def test_no_loss_is_told_as_none() -> None:
    report = audit_report([record(0, (0.5, 0.9)), record(1, (0.1, 0.3), audited_at=1)], (1,), 2)
    assert report.lost_accuracy == 0
    told = " ".join(audit_sentences(report))
    assert "1 trial about to be stopped went on to the end" in told
    assert "stopping cost no accuracy" in told
    assert (
        "too little to judge the rungs by: it takes 8 trials with an end, 3 of them audited, and there are 2 and 1"
        in told
    )


def test_the_grace_period_is_the_first_epoch_that_foretells_the_end() -> None:
    """11 trials; at epoch 1 the order is turned round within both groups, at epoch 2 two neighbours are swapped."""
    ends = [0.1 + 0.1 * number for number in range(8)]
    seconds = [0.2, 0.1, *ends[2:]]
    firsts = [0.9 - 0.05 * number for number in range(8)]
    records = [
        record(number, (first, second, end, end))
        for number, (first, second, end) in enumerate(zip(firsts, seconds, ends, strict=True))
    ]
    audited = [record(8 + index, (0.4 - 0.05 * index, *[0.01 * index] * 3), audited_at=1) for index in range(3)]
    report = audit_report([*records, *audited], (1, 3), 4)
    # Rank differences of 2, 0 and 2 among the audited, of 7, 5, 3 and 1, each twice, among the others.
    assert report.rungs[0].correlation == pytest.approx(1 - 6 * (8 + 2 * (49 + 25 + 9 + 1)) / (11 * 120))
    assert report.rungs[1].correlation == pytest.approx(1)
    assert report.suggested_grace_period == 2
    assert "which suggests --grace-period 2." in audit_sentences(report)[-1]


def test_without_foresight_no_grace_period_is_suggested() -> None:
    records = [record(number, (0.9 - number / 20, number / 10)) for number in range(6)]
    audited = [record(6 + number, (0.5 - number / 20, 0.7 + number / 20), audited_at=1) for number in range(3)]
    report = audit_report([*records, *audited], (1,), 2)
    assert report.suggested_grace_period is None
    assert "no grace period can be suggested" in audit_sentences(report)[-1]
    assert "3 of them ended above every trial" in audit_sentences(report)[1]


def test_an_audit_without_trials_says_so() -> None:
    for records, rungs in (([], (1,)), (RECORDS[8:10], (1,)), (RECORDS, ())):
        [sentence] = audit_sentences(audit_report(records, rungs, 4))
        assert sentence.startswith("The audit let no trial go on past its stop and reach the end")
