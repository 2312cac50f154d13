"""A score counts once its checkpoint is on the disk, and Ray's loop does not wait for slow disks."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler
from search_worlds import Rungs, stub

from model.checkpoint import Checkpoint
from search.study.checkpoints import Checkpoints
from search.study.record import NewTrial, TrialId
from search.study.study import RunStudy
from search.tune.trial_scheduler import StudyScheduler

CHECKPOINT = Checkpoint.of(1, {}, {"epoch": 1})


class Disk(Checkpoints):
    """Writes once the test says so."""

    def __init__(self, run_dir: Path, error: OSError | None = None) -> None:
        super().__init__(run_dir)
        self.is_free = threading.Event()
        self.error = error

    def write(self, trial: TrialId, checkpoint: Checkpoint) -> None:
        assert self.is_free.wait(60)
        if self.error is not None:
            raise self.error
        super().write(trial, checkpoint)


class Loop:
    """As much of Ray's loop as the scheduler looks at: runs its turns, and notes what becomes of the trials."""

    def __init__(self, disk: Disk) -> None:
        self.study = RunStudy.in_memory()
        for number in range(3):
            self.study.add_trial(NewTrial(config={}, seed=number))
        self.scheduler = StudyScheduler(Rungs(max_epochs=3, scheduler="promotion"), self.study, checkpoints=disk)
        self.trials = [stub(f"t{number}", {"trial_number": number}) for number in range(3)]
        self.actions: list[tuple[int, str]] = []

    def report(self, number: int, epoch: int, **more: Any) -> str:
        result = {"epoch": epoch, "val_score": 0.5, **more}
        return self.scheduler.on_trial_result(None, self.trials[number], result)  # type: ignore[arg-type]

    def turn(self) -> None:
        def note(trial: Any, action: str) -> None:
            self.actions.append((trial.config["trial_number"], action))

        controller = SimpleNamespace(_execute_action=note)
        wrapped = SimpleNamespace(_tune_controller=controller, get_trials=list)
        self.scheduler.choose_trial_to_run(wrapped)

    def turn_until_acted(self) -> None:
        deadline = time.monotonic() + 60
        while not self.actions:
            assert time.monotonic() < deadline
            self.turn()


def test_a_score_waits_for_its_checkpoint_and_the_loop_does_not(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    loop = Loop(disk)
    start = time.monotonic()
    assert loop.report(0, 1, checkpoint=CHECKPOINT) == TrialScheduler.NOOP
    assert loop.report(1, 1, checkpoint=CHECKPOINT) == TrialScheduler.NOOP
    assert loop.report(2, 1) == TrialScheduler.STOP, "one without a checkpoint pauses at its rung at once"
    loop.turn()
    assert time.monotonic() - start < 5
    assert loop.actions == []
    assert [bool(loop.study.trial(number).scores) for number in range(3)] == [False, False, True]
    disk.is_free.set()
    loop.turn_until_acted()
    assert loop.actions[0][1] == TrialScheduler.STOP
    assert loop.study.trial(loop.actions[0][0]).scores == {1: 0.5}
    assert disk.newest(loop.actions[0][0]) is not None


def test_a_quick_write_is_waited_for(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.is_free.set()
    loop = Loop(disk)
    if loop.report(0, 1, checkpoint=CHECKPOINT) == TrialScheduler.NOOP:  # the disk is busy
        loop.turn_until_acted()
    assert loop.study.trial(0).scores == {1: 0.5}
    assert disk.newest(0) is not None


def test_a_disk_error_ends_the_search(tmp_path: Path) -> None:
    disk = Disk(tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    loop = Loop(disk)
    assert loop.report(0, 1, checkpoint=CHECKPOINT) == TrialScheduler.NOOP
    disk.is_free.set()
    with pytest.raises(OSError, match="No space left"):
        loop.turn_until_acted()
    assert not loop.study.trial(0).scores


def test_a_worker_that_dies_meanwhile_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    loop = Loop(disk)
    trial = loop.trials[0]
    assert loop.report(0, 1, checkpoint=CHECKPOINT) == TrialScheduler.NOOP
    threading.Timer(0.2, disk.is_free.set).start()
    trial.status, trial.should_recover = "RUNNING", lambda: True
    loop.scheduler.on_trial_error(None, trial)  # type: ignore[arg-type]
    assert disk.newest(0) is not None, "the trial that starts again is given it"
    loop.turn()
    assert loop.actions == [], "the worker that reported is gone"
    assert not loop.study.trial(0).scores
