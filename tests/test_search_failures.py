"""One trial's trouble: how it is told, when it ends the search, and what the disk and the database may do."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import torch
from sqlalchemy.exc import OperationalError

from search.errors import RunFailed
from search.machine import temporary_folder as private_folder
from search.schedulers.failure_streak import FailureStreak
from search.schedulers.trial_clock import TrialClock
from search.settings import SearchSettings
from search.setup import disk_errors as disk_errors_module
from search.setup.disk_errors import disk_errors
from search.study.record import NewTrial, TrialRecord, TrialStatus
from search.study.study import RunStudy
from search.tune.trial_scheduler import StudyScheduler
from search.worker.checkpoint_pace import CheckpointPace
from search.worker.trainable import error_line


def ended(status: TrialStatus, error: str | None = None) -> TrialRecord:
    study = RunStudy.in_memory()
    number = study.add_trial(NewTrial(config={"x": 1}, seed=1))
    study.finish(number, status, error=error, value=0.5)
    return study.trial(number)


def test_five_equal_failures_in_a_row_end_the_search() -> None:
    streak = FailureStreak()
    same = ended(TrialStatus.FAILED, "RuntimeError: no luck")
    for record in [same] * 4:
        streak.add(record)
        assert streak.verdict is None
    streak.add(same)
    assert streak.verdict == "5 trials in a row failed with the same error: RuntimeError: no luck"


@pytest.mark.parametrize(
    "between", [(TrialStatus.STOPPED, None), (TrialStatus.DIVERGED, "x"), (TrialStatus.FAILED, "another")]
)
def test_anything_between_failures_goes_on(between: tuple[TrialStatus, str | None]) -> None:
    streak = FailureStreak()
    same = ended(TrialStatus.FAILED, "RuntimeError: no luck")
    for record in [same] * 4 + [ended(*between)] + [same] * 4:
        streak.add(record)
    assert streak.verdict is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            "out of memory: CUDA out of memory.",
        ),
        (MemoryError("Unable to allocate 9 GiB"), "out of memory: Unable to allocate 9 GiB"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "out of memory: DefaultCPUAllocator: can't",
        ),
        (RuntimeError("first\nlast"), "RuntimeError: last"),
        (KeyError(), "KeyError: no message"),
    ],
)
def test_an_error_is_one_line_of_the_table(error: Exception, expected: str) -> None:
    line = error_line(error)
    assert line.startswith(expected)
    assert "\n" not in line


def test_a_trial_is_overdue_only_without_progress() -> None:
    now = [100.0]
    clock = TrialClock(10.0, now=lambda: now[0])
    assert not clock.is_overdue(1)
    clock.progress(1)
    now[0] = 109.0
    assert not clock.is_overdue(1)
    clock.progress(1)
    now[0] = 118.0
    assert not clock.is_overdue(1)
    now[0] = 120.0
    assert clock.is_overdue(1)
    clock.end(1)
    assert not clock.is_overdue(1)


def test_a_killed_trial_fails_with_the_reason_it_was_killed_for() -> None:
    study = RunStudy.in_memory()
    rungs = SimpleNamespace(max_epochs=4, grace_period=1, reduction_factor=2, scheduler="asha")
    scheduler = StudyScheduler(rungs, study)
    numbers = [study.add_trial(NewTrial(config={"x": 1}, seed=1)) for _ in range(2)]
    scheduler.will_be_killed(numbers[0], "no epoch ended")
    for number in numbers:
        trial: Any = SimpleNamespace(trial_id=str(number), config={"trial_number": number}, should_recover=lambda: True)
        scheduler.on_trial_error(None, trial)
        assert study.trial(number).status is TrialStatus.RUNNING, "a trial that Ray starts again has not failed"
        trial.should_recover = lambda: False
        scheduler.on_trial_error(None, trial)
    assert study.trials()[0].error == "no epoch ended"
    assert "the worker process died" in str(study.trials()[1].error)


def test_a_full_disk_in_a_worker_ends_the_search_and_not_the_trial() -> None:
    study = RunStudy.in_memory()
    rungs = SimpleNamespace(max_epochs=4, grace_period=1, reduction_factor=2, scheduler="asha")
    scheduler = StudyScheduler(rungs, study)
    number = study.add_trial(NewTrial(config={"x": 1}, seed=1))
    trial: Any = SimpleNamespace(trial_id="a", config={"trial_number": number})
    with pytest.raises(OSError, match="No space left"):
        scheduler.on_trial_result(None, trial, {"disk_error": errno.ENOSPC, "error": "No space left"})
    assert study.trial(number).status is TrialStatus.RUNNING


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device. .* the run may need [0-9,]+ "),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
        (OperationalError("INSERT", {}, Exception("database or disk is full")), "disk is full.*Make room, then resume"),
        (sqlite3.OperationalError("database or disk is full"), "disk is full.*Make room, then resume"),
        (optuna.exceptions.StorageInternalError("disk I/O error"), "disk I/O error"),
        (OperationalError("SELECT", {}, Exception("database disk image is malformed")), "study.db is damaged"),
    ],
)
def test_what_the_disk_does_is_told_in_one_line(error: Exception, expected: str, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    with (
        pytest.raises(RunFailed, match=expected) as caught,
        disk_errors(SearchSettings(run_name="r", results_dir=tmp_path)),
    ):
        raise error
    assert "\n" not in str(caught.value)


def test_a_full_temporary_folder_is_named_in_place_of_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r").mkdir()
    monkeypatch.setattr(disk_errors_module, "MIN_TEMP_BYTES", 10**18)
    message = (
        r"No space left\. The temporary folder /.+ bytes free; Ray needs 1,000,.+ or set TMPDIR to another folder, then"
    )
    with (
        pytest.raises(RunFailed, match=message),
        disk_errors(SearchSettings(run_name="r", results_dir=tmp_path)),
    ):
        raise OSError(errno.ENOSPC, "No space left")


def test_our_own_faults_stay_what_they_are(tmp_path: Path) -> None:
    with (
        pytest.raises(PermissionError, match="no"),
        disk_errors(SearchSettings(run_name="r", results_dir=tmp_path)),
    ):
        raise PermissionError(errno.EACCES, "no")


def test_checkpoints_cost_a_twentieth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("search.worker.checkpoint_pace.time.monotonic", lambda: now[0])
    pace = CheckpointPace()
    assert pace.is_due()
    with pace.saving():
        now[0] += 1.0
    assert not pace.is_due()
    now[0] += 19.9
    assert not pace.is_due()
    now[0] += 0.2
    assert pace.is_due()


def test_the_private_folder_is_closed_to_others_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_folder, "short_temp_dir", lambda: tmp_path)
    with private_folder.private_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_what_killed_runs_left_is_cleared_and_what_lives_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_folder, "short_temp_dir", lambda: tmp_path)
    abandoned, young, foreign = tmp_path / "cl-abandoned", tmp_path / "cl-young", tmp_path / "else"
    for folder in (abandoned, young, foreign):
        folder.mkdir()
        (folder / "owner.lock").write_text("")
    os.utime(abandoned / "owner.lock", (0, 0))
    os.utime(foreign / "owner.lock", (0, 0))
    with private_folder.private_folder() as living:
        os.utime(living / "owner.lock", (0, 0))
        private_folder.remove_abandoned(tmp_path)
        assert living.exists()
    assert not abandoned.exists()
    assert young.exists()
    assert foreign.exists()


def test_an_empty_folder_that_ray_made_again_goes_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_folder, "short_temp_dir", lambda: tmp_path)
    made_again, used, foreign = (tmp_path / name for name in ("cl-again/1/session_x", "cl-used/1/session_x", "cl-else"))
    for folder in (made_again, used, foreign):
        folder.mkdir(parents=True)
    (used / "log").write_text("")
    with private_folder.private_folder() as living:
        starting = living / "1" / "session_x"
        starting.mkdir(parents=True)
        private_folder.remove_abandoned(tmp_path)
        assert starting.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"cl-used", "cl-else"}
    assert (used / "log").exists()
