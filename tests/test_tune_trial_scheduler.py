"""What the scheduler writes into the record for each report, and what it makes of a record."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from retrained_run import TINY, completed_trials
from search_worlds import SEED, SPACE, Rungs, build_searcher, stub

from search.schedulers.retrain_queue import RetrainQueue
from search.settings import SearchSettings
from search.study.record import NewTrial, RungDecision, TrialStatus
from search.study.study import RunStudy
from search.tune.trial_scheduler import WORKER_DIED, StudyScheduler

RUNGS = Rungs(max_epochs=4, grace_period=1, reduction_factor=2)


def study_of(num_trials: int) -> RunStudy:
    study = RunStudy.in_memory()
    for number in range(num_trials):
        study.add_trial(NewTrial(config={"lr": 0.1}, seed=number))
    return study


def scheduler_of(study: RunStudy) -> StudyScheduler:
    return StudyScheduler(RUNGS, study)


def report(scheduler: StudyScheduler, number: int, **result: Any) -> str:
    trial = stub(f"t{number}", {"trial_number": number})
    return scheduler.on_trial_result(None, trial, result)  # type: ignore[arg-type]


def test_every_epoch_is_recorded_with_its_metrics() -> None:
    study = study_of(1)
    scheduler = scheduler_of(study)
    action = report(scheduler, 0, epoch=1, val_score=0.5, lr=0.1, seconds=2.0, time_total_s=9.0, config={})
    assert action == TrialScheduler.CONTINUE
    record = study.trial(0)
    assert record.scores == {1: 0.5}
    assert record.epoch_metrics[1]["lr"] == 0.1
    assert set(record.epoch_metrics[1]) == {"lr", "seconds", "recorded_at"}
    assert record.rungs == (RungDecision(epoch=1, score=0.5, cutoff=None, num_scores=1, is_stopped=False),)


def test_an_epoch_never_counts_twice() -> None:
    study = study_of(2)
    scheduler = scheduler_of(study)
    report(scheduler, 0, epoch=1, val_score=0.9)
    for score in (0.3, 0.8):
        assert report(scheduler, 0, epoch=1, val_score=score) == TrialScheduler.CONTINUE
    assert report(scheduler_of(study), 0, epoch=1, val_score=0.2) == TrialScheduler.CONTINUE
    assert study.trial(0).scores == {1: 0.9}
    report(scheduler, 1, epoch=1, val_score=0.1)
    assert study.trial(1).rungs[0].num_scores == 2


def test_the_time_of_epochs_trained_again_is_the_next_one_s() -> None:
    study = study_of(1)
    for epoch in (1, 2):
        study.record_epoch(0, epoch=epoch, score=0.1, metrics={})
    scheduler = scheduler_of(study)
    for epoch, seconds in ((1, 3.0), (2, 4.0), (3, 5.0), (4, 6.0)):
        report(scheduler, 0, epoch=epoch, val_score=0.3, seconds=seconds)
    record = study.trial(0)
    assert (record.scores[1], record.scores[3]) == (0.1, 0.3)
    assert [record.seconds_spent_on(epoch) for epoch in (3, 4)] == [3.0 + 4.0 + 5.0, 6.0]
    assert record.seconds == 18.0


def test_epochs_that_a_worker_had_trained_when_it_died_cost_their_time_once() -> None:
    """The next worker reports the epochs of its checkpoint that the record had not when the trial was suggested."""
    study = study_of(1)
    scheduler = scheduler_of(study)
    trial = stub("t0", {"trial_number": 0, "epochs_recorded": 0})
    trial.status, trial.should_recover = Trial.RUNNING, lambda: True
    report(scheduler, 0, epoch=1, val_score=0.3, seconds=7.0)
    scheduler.on_trial_error(None, trial)  # type: ignore[arg-type]
    scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
    for epoch, seconds in ((1, 7.0), (2, 5.0)):
        if epoch > trial.config["epochs_recorded"]:  # as the worker does
            report(scheduler, 0, epoch=epoch, val_score=0.3, seconds=seconds)
    assert study.trial(0).seconds == 7.0 + 5.0


def test_a_stop_says_where_and_why() -> None:
    study = study_of(2)
    scheduler = scheduler_of(study)
    report(scheduler, 0, epoch=1, val_score=0.9)
    assert report(scheduler, 1, epoch=1, val_score=0.4) == TrialScheduler.STOP
    record = study.trial(1)
    assert record.status is TrialStatus.STOPPED
    assert record.rungs == (RungDecision(epoch=1, score=0.4, cutoff=0.9, num_scores=2, is_stopped=True),)


def test_the_last_epoch_completes_a_trial_without_a_comparison() -> None:
    study = study_of(1)
    scheduler = scheduler_of(study)
    actions = [report(scheduler, 0, epoch=epoch, val_score=epoch / 10) for epoch in range(1, 5)]
    assert actions == [TrialScheduler.CONTINUE] * 3 + [TrialScheduler.STOP]
    assert study.trial(0).status is TrialStatus.COMPLETED
    assert [rung.epoch for rung in study.trial(0).rungs] == [1, 2]


@pytest.mark.parametrize("ended", ["diverged", "failed"])
def test_a_bad_end_is_recorded_with_its_error(ended: str) -> None:
    study = study_of(1)
    assert report(scheduler_of(study), 0, ended=ended, error="one line") == TrialScheduler.STOP
    assert (study.trial(0).status, study.trial(0).error) == (TrialStatus(ended), "one line")


def test_a_dead_worker_fails_its_trial_and_keeps_its_scores() -> None:
    study = study_of(1)
    scheduler = scheduler_of(study)
    report(scheduler, 0, epoch=1, val_score=0.5)
    trial = stub("t0", {"trial_number": 0})
    trial.status, trial.should_recover = Trial.RUNNING, lambda: False
    scheduler.on_trial_error(None, trial)  # type: ignore[arg-type]
    record = study.trial(0)
    assert record.status is TrialStatus.FAILED
    assert str(record.error).startswith("the worker process died")
    assert record.scores == {1: 0.5}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "Failure # 1 (occurred at noon)\nThe actor died unexpectedly before finishing this task.\n"
            "Failure # 2 (occurred later)\nTraceback (most recent call last):\n"
            "RuntimeError: The actor with name ImplicitFunc failed to import on the worker.\n\nTraceback:\n"
            "ModuleNotFoundError: No module named 'search'\n\nAn unexpected internal error occurred.\n",
            "the worker failed: ModuleNotFoundError: No module named 'search'",
        ),
        ("Failure # 1 (x)\nKeyError: 'a'\nFailure # 2 (y)\nThe actor died unexpectedly.\n", WORKER_DIED),
    ],
)
def test_the_row_of_a_dead_trial_has_the_workers_own_error(tmp_path: Path, text: str, error: str) -> None:
    study = study_of(1)
    trial = stub("t0", {"trial_number": 0})
    trial.status, trial.should_recover = Trial.RUNNING, lambda: False
    trial.error_file = str(tmp_path / "error.txt")
    (tmp_path / "error.txt").write_text(text)
    scheduler_of(study).on_trial_error(None, trial)  # type: ignore[arg-type]
    assert study.trial(0).error == error


@pytest.mark.parametrize(
    "text",
    [
        "The actor died because its node has died. Node Id: 5\n",
        "The actor a is unavailable: The actor is temporarily unavailable: RpcError: RPC error: recvmsg:Connection "
        "reset by peer rpc_code: 14. The task may or may not have been executed on the actor.\n",
    ],
)
def test_a_lost_node_is_no_failure_of_its_trial(tmp_path: Path, text: str) -> None:
    study = study_of(1)
    trial = stub("t0", {"trial_number": 0})
    trial.status, trial.should_recover = Trial.RUNNING, lambda: False
    trial.run_metadata = SimpleNamespace(num_failures=1)
    trial.error_file = str(tmp_path / "error.txt")
    (tmp_path / "error.txt").write_text(f"Failure # 1 (x)\n{text}")
    scheduler_of(study).on_trial_error(None, trial)  # type: ignore[arg-type]
    assert study.trial(0).status is TrialStatus.RUNNING
    assert trial.run_metadata.num_failures == 0


def test_failed_and_diverged_trials_scores_still_count_at_a_rung() -> None:
    study = study_of(2)
    scheduler = scheduler_of(study)
    report(scheduler, 0, epoch=1, val_score=0.9)
    report(scheduler, 0, ended="diverged", error="e")
    assert report(scheduler_of(study), 1, epoch=1, val_score=0.4) == TrialScheduler.STOP


def test_a_score_without_its_decision_is_decided_on_all_scores_of_its_rung() -> None:
    study = study_of(3)
    scheduler = scheduler_of(study)
    report(scheduler, 2, epoch=1, val_score=0.9)
    study.record_epoch(0, epoch=1, score=0.4, metrics={})
    scheduler_of(study)
    assert study.trial(0).status is TrialStatus.STOPPED
    assert study.trial(0).rungs == (RungDecision(epoch=1, score=0.4, cutoff=0.9, num_scores=2, is_stopped=True),)
    assert [record.status for record in study.trials()][1:] == [TrialStatus.INTERRUPTED] * 2


def test_a_stop_or_an_end_without_its_status_is_made_up_for() -> None:
    study = study_of(2)
    study.record_epoch(0, epoch=1, score=0.4, metrics={})
    study.record_rung(0, RungDecision(epoch=1, score=0.4, cutoff=0.5, num_scores=2, is_stopped=True))
    study.record_epoch(1, epoch=4, score=0.6, metrics={})
    scheduler_of(study)
    assert [record.status for record in study.trials()] == [TrialStatus.STOPPED, TrialStatus.COMPLETED]


def test_its_pickle_holds_nothing_of_the_record() -> None:
    assert len(pickle.dumps(scheduler_of(study_of(5)))) < 200


def test_a_trial_whose_idle_worker_died_is_suggested_again_a_few_times() -> None:
    """Ray itself restarts no trial that dies as PENDING; see `on_trial_error`."""
    study = RunStudy.in_memory()
    scheduler = StudyScheduler(RUNGS, study)
    searcher = build_searcher(SPACE, study, SEED, num_trials=1, max_concurrent=1)
    for death in range(3):
        proposed = searcher.suggest(f"t{death}")
        assert isinstance(proposed, dict)
        assert proposed["trial_number"] == study.num_trials - 1
        assert searcher.suggest("other") is None
        trial = stub(f"t{death}", proposed)
        trial.status, trial.max_failures = Trial.PENDING, 2
        scheduler.on_trial_error(None, trial)  # type: ignore[arg-type]
        searcher.on_trial_complete(f"t{death}", error=True)
        assert (study.trials()[-1].status is TrialStatus.FAILED) == (death == 2)
    assert searcher.suggest("t3") == Searcher.FINISHED


def test_reports_of_retrainings_go_to_their_queue_and_a_dead_worker_fails_only_its_own() -> None:
    study = completed_trials(TINY, max_epochs=4)
    queue = RetrainQueue(SearchSettings(run_name="r", max_epochs=4, retrain_top=2, retrain_seeds=2), study, {})
    scheduler = StudyScheduler(RUNGS, study, queue)
    first, second = queue.suggest(), queue.suggest()
    assert first is not None
    assert second is not None
    before = study.trials()
    trial = stub("a", first)
    for epoch in range(1, 5):
        result = {"epoch": epoch, "val_score": epoch / 10, "val_accuracy": 0.5, "train_loss": 1.0, "seconds": 2.0}
        action = scheduler.on_trial_result(None, trial, result)  # type: ignore[arg-type]
        assert action == (TrialScheduler.STOP if epoch == 4 else TrialScheduler.CONTINUE)
        assert scheduler.is_over(first["retraining"]) == (epoch == 4)
        scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
        assert trial.config["epochs_recorded"] == epoch, "if its worker dies, the next one reports no epoch again"
    [record] = study.retrains()
    assert (record.val_scores, record.seconds) == ((0.1, 0.2, 0.3, 0.4), 8.0)
    dead = stub("b", second)
    dead.status, dead.should_recover = Trial.RUNNING, lambda: False
    scheduler.will_be_killed(second["retraining"], "too slow")
    scheduler.on_trial_error(None, dead)  # type: ignore[arg-type]
    assert queue.failures == {second["retraining"]: "too slow"}
    assert not scheduler.is_over(second["retraining"])
    assert study.trials() == before
