"""The record in a database: few statements, nothing read back, and Optuna reads what was written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from search_worlds import GIVEN, SEED, SPACE, Rungs, build_searcher, search, stub
from sqlalchemy.exc import OperationalError
from watched_database import in_database, lose_every_commit

from search.errors import RunFailed
from search.study.study import RunStudy
from search.tune.trial_scheduler import StudyScheduler

Sent = Callable[[], list[str]]


@pytest.fixture
def sent() -> Iterator[Sent]:
    """Returns the first words of what was sent to any database since the last call: statements and commits."""
    words: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        words.append(statement.split()[0])

    def commit(connection: Any) -> None:
        words.append("COMMIT")

    def take() -> list[str]:
        taken = words.copy()
        words.clear()
        return taken

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    sa.event.listen(sa.Engine, "commit", commit)
    yield take
    sa.event.remove(sa.Engine, "before_cursor_execute", note)
    sa.event.remove(sa.Engine, "commit", commit)


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Optuna's tables hold UTC, its trials local time."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_a_trial_takes_one_write_and_so_does_each_of_its_reports(tmp_path: Path, sent: Sent) -> None:
    with in_database(tmp_path / "study.db") as study:
        scheduler = StudyScheduler(Rungs(max_epochs=2), study)
        searcher = build_searcher(SPACE, study, SEED, given=GIVEN[1:])
        study.set_note("fact", 1)  # opens the connection
        sent()
        assignment: Any = searcher.suggest("t")
        assert sent() == ["INSERT"] * 4 + ["COMMIT"], "trial, params, facts, limits"
        trial: Any = stub("t", assignment)
        scheduler.on_trial_result(None, trial, {"epoch": 1, "val_score": 0.5, "seconds": 1.0})
        assert sent() == ["INSERT"] * 3 + ["COMMIT"], "metrics, score, decision"
        scheduler.on_trial_result(None, trial, {"epoch": 2, "val_score": 0.5, "seconds": 1.0})
        assert sent() == ["INSERT"] * 2 + ["UPDATE"] * 2 + ["INSERT", "COMMIT"], "metrics, score, status, end, value"
        searcher.on_trial_complete("t")
        assert study.trials()[0] == study.trial(0)
        assert sent() == []


def test_a_search_reads_nothing_back(tmp_path: Path, sent: Sent) -> None:
    with in_database(tmp_path / "study.db") as study:
        study.set_note("fact", 1)
        sent()
        search(study, 6, rungs=Rungs(scheduler="promotion"), num_workers=2)
        assert set(sent()) == {"INSERT", "UPDATE", "COMMIT"}


def test_notes_of_others_are_seen(tmp_path: Path) -> None:
    with in_database(tmp_path / "study.db") as study:
        other = RunStudy.in_database(f"sqlite:///{tmp_path / 'study.db'}", "run")
        other.set_note("wish", [1])
        study.set_note("answer", 2)
        assert study.notes() == {**other.notes(), "wish": [1], "answer": 2}


def test_optuna_reads_what_the_run_has_in_memory(tmp_path: Path, in_tokyo: None) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with in_database(tmp_path / "study.db") as study:
        RunStudy.in_database(url, "another").add_trial(GIVEN[0])
        search(study, 6, rungs=Rungs(scheduler="promotion"))
        held = study.storage.get_all_trials(0)
        read = RDBStorage(url)
        stored = read.get_all_trials(read.get_study_id_from_name("run"))
        assert {trial.state for trial in held} >= {TrialState.COMPLETE, TrialState.PRUNED}
        for mine, theirs in zip(held, stored, strict=True):
            mine._trial_id = theirs._trial_id
            assert mine == theirs
        read.remove_session()
        read.engine.dispose()


def test_a_server_that_stays_away_ends_the_run_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.study.transactions._RETRY_S", 0.01)
    monkeypatch.setattr("search.study.transactions.PATIENCE_S", 0.1)
    with in_database(tmp_path / "study.db") as study:
        reasons = lose_every_commit(study, is_made=False, is_back=False)
        with pytest.raises(RunFailed, match=r"^--storage sqlite:\S+: no answer for 0 s \(the server is gone\)\."):
            study.set_note("fact", 1)
    assert reasons[:3] == ["the server is gone", "None", "None"]
    assert len(reasons) > 3


def test_the_disk_of_a_sqlite_record_is_not_waited_for(tmp_path: Path) -> None:
    with in_database(tmp_path / "study.db") as study:
        lose_every_commit(study, is_made=False)
        assert study.database is not None
        study.database.transactions._is_server = False
        with pytest.raises(OperationalError):
            study.set_note("fact", 1)
