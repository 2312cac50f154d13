"""Failed trials: their error lines, when they end the search, and how often checkpoints are written."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from model.checkpoint import Checkpoint
from search.schedulers.failure_streak import FailureStreak
from search.schedulers.trial_clock import TrialClock
from search.study.checkpoints import Checkpoints
from search.study.record import NewTrial, TrialId, TrialRecord, TrialStatus
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
        trial: Any = SimpleNamespace(
            trial_id=str(number), status="RUNNING", config={"trial_number": number}, should_recover=lambda: True
        )
        scheduler.on_trial_error(None, trial)
        assert study.trial(number).status is TrialStatus.RUNNING, "a trial that Ray starts again has not failed"
        trial.should_recover = lambda: False
        scheduler.on_trial_error(None, trial)
    assert study.trials()[0].error == "no epoch ended"
    assert "the worker process died" in str(study.trials()[1].error)


class FullDisk(Checkpoints):
    """Where no checkpoint fits."""

    def write(self, trial: TrialId, checkpoint: Checkpoint) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_the_search_and_not_the_trial(tmp_path: Path) -> None:
    study = RunStudy.in_memory()
    rungs = SimpleNamespace(max_epochs=4, grace_period=1, reduction_factor=2, scheduler="asha")
    scheduler = StudyScheduler(rungs, study, checkpoints=FullDisk(tmp_path))
    number = study.add_trial(NewTrial(config={"x": 1}, seed=1))
    trial: Any = SimpleNamespace(trial_id="a", config={"trial_number": number})
    report = {"epoch": 1, "val_score": 0.5, "checkpoint": Checkpoint.of(1, {}, {})}
    with pytest.raises(OSError, match="No space left"):
        scheduler.on_trial_result(None, trial, report)
    record = study.trial(number)
    assert (record.status, record.scores) == (TrialStatus.RUNNING, {}), "no checkpoint, no score"


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


def test_a_trial_that_never_starts_is_overdue_from_its_first_begin() -> None:
    now = 0.0
    clock = TrialClock(60.0, now=lambda: now)
    clock.begin(3)
    now = 50.0
    clock.begin(3)
    assert not clock.is_overdue(3)
    now = 60.5
    assert clock.is_overdue(3)
    clock.progress(3)
    assert not clock.is_overdue(3)
