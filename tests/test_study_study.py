"""The record: what goes in comes out, from memory or a database, while trials run and after they were cut off."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fabricated_run import finalist_record
from optuna.distributions import FloatDistribution

from search.errors import UserError
from search.settings import SearchSettings
from search.study.record import NewTrial, RungDecision, TrialStatus
from search.study.study import RunStudy, open_study

TRIAL = NewTrial(
    config={"lr": 0.1, "kind": "a", "flip": True, "width": 7},
    seed=2**63 - 1,
    origin="default",
    params={"lr": 0.1},
    distributions={"lr": FloatDistribution(0.01, 1.0, log=True)},
    violations={"num_params": -0.25, "receptive_field": 0.0},
    profile={"num_params": 12},
)
DECISION = RungDecision(epoch=2, score=1 / 3, cutoff=0.1 + 0.2, num_scores=4, is_stopped=False)


@pytest.fixture(params=["memory", "database"])
def study(request: pytest.FixtureRequest, tmp_path: Path) -> RunStudy:
    if request.param == "memory":
        return RunStudy.in_memory()
    return RunStudy.in_database(f"sqlite:///{tmp_path}/study.db", "run")


def test_everything_comes_back_exactly(study: RunStudy) -> None:
    assert study.num_trials == 0
    number = study.add_trial(TRIAL)
    study.record_epoch(number, epoch=2, score=1 / 3, metrics={"lr": 0.1 + 0.2, "worker": "host:1"})
    study.record_epoch(number, epoch=10, score=0.5, metrics={})
    study.record_rung(number, DECISION)
    record = study.trials()[number]
    assert (record.number, record.seed, record.origin) == (0, 2**63 - 1, "default")
    assert (record.config, record.params, record.profile) == (TRIAL.config, {"lr": 0.1}, {"num_params": 12})
    assert record.violations == TRIAL.violations
    assert record.is_within_limits
    assert list(record.scores.items()) == [(2, 1 / 3), (10, 0.5)]
    assert record.epochs_trained == 10
    assert record.epoch_metrics[2]["lr"] == 0.1 + 0.2
    assert record.rungs == (DECISION,)
    assert record.started is not None
    assert record.ended is None
    assert study.num_trials == 1


def test_a_trial_without_an_end_is_running_or_interrupted(study: RunStudy) -> None:
    number = study.add_trial(TRIAL)
    assert study.trial(number).status is TrialStatus.RUNNING
    assert [record.status for record in study.trials(is_running=True)] == [TrialStatus.RUNNING]
    assert [record.status for record in study.trials()] == [TrialStatus.INTERRUPTED]


@pytest.mark.parametrize("status", ["completed", "stopped", "failed", "diverged"])
def test_every_end_is_final(study: RunStudy, status: str) -> None:
    number = study.add_trial(TRIAL)
    error = "one line" if status in ("failed", "diverged") else None
    study.finish(number, TrialStatus(status), value=0.5 if status == "completed" else None, error=error)
    for record in (study.trial(number), study.trials()[0]):
        assert (record.status, record.error) == (status, error)
        assert record.ended is not None


def test_a_rejected_trial_has_its_violations_and_no_curve(study: RunStudy) -> None:
    over = NewTrial(config={}, seed=0, violations={"num_params": 2.0})
    number = study.add_trial(over, is_rejected=True)
    record = study.trials()[number]
    assert record.status is TrialStatus.REJECTED
    assert not record.is_within_limits
    assert record.epochs_trained == 0


def test_notes_come_back(study: RunStudy) -> None:
    study.set_note("fact", {"number": 0.1 + 0.2, "list": [1, 2]})
    assert study.notes()["fact"] == {"number": 0.1 + 0.2, "list": [1, 2]}


def test_a_database_is_opened_again_under_the_same_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    RunStudy.in_database(url, "run").add_trial(TRIAL)
    assert RunStudy.in_database(url, "run").num_trials == 1
    assert RunStudy.in_database(url, "other").num_trials == 0


def test_the_database_is_copied_after_a_report(tmp_path: Path) -> None:
    study = RunStudy.in_database(f"sqlite:///{tmp_path / 'study.db'}", "run")
    number = study.add_trial(NewTrial(config={}, seed=1))
    assert not (tmp_path / "study.backup.db").exists()
    study.record_epoch(number, epoch=1, score=0.5, metrics={})
    copy = RunStudy.in_database(f"sqlite:///{tmp_path / 'study.backup.db'}", "run")
    assert copy.trials() == study.trials()


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for url in ("nonsense", "postgresql://host:port/name"):
        with pytest.raises(UserError, match=rf"--storage {url} cannot be opened: .+\. Give a SQLAlchemy URL such as"):
            open_study(SearchSettings(run_name="run", results_dir=tmp_path, storage=url))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "study.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(UserError, match=r"study\.db .+"):
        open_study(SearchSettings(run_name="run", results_dir=tmp_path))


def test_retrainings_come_back_as_they_were_written_and_in_table_order(tmp_path: Path) -> None:
    study = RunStudy.in_database(f"sqlite:///{tmp_path / 'study.db'}", "r")
    names = [("finalist", 12, 0), ("default", 1, 0), ("finalist", 3, 1), ("winner", 7, 1), ("finalist", 3, 0)]
    names += [("seed", 0, 0), ("winner", 7, 0)]
    for name, number, index in names:
        record = dataclasses.replace(
            finalist_record(number, index, 0.1 + 0.2), config_name=name, train_losses=(2.0, 0.1)
        )
        study.record_retrain(record)
    read = RunStudy.in_database(f"sqlite:///{tmp_path / 'study.db'}", "r").retrains()
    order = ["winner:0", "winner:1", "seed:0", "default:0", "3:0", "3:1", "12:0"]
    assert [record.key.partition(":")[2] for record in read] == order
    assert read[-1] == dataclasses.replace(finalist_record(12, 0, 0.1 + 0.2), train_losses=(2.0, 0.1))
    unfinished = dataclasses.replace(read[0], seed_index=2, val_score=None, val_scores=(0.25, 0.5))
    study.record_retrain(unfinished)
    assert study.retrain(unfinished.key) == unfinished
    assert study.retrain("retrain:winner:3") is None
    assert study.retrains() == read, "only those that have ended"
    study.record_retrain(dataclasses.replace(read[0], trial_number=8))
    assert [record.trial_number for record in study.retrains() if record.config_name == "winner"] == [8, 7]
