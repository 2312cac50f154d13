"""A run that people steer ends as one that nobody touched, whatever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from faults import NUM_TRIALS, RESUME, Started, end_after, new_run, num_epochs, started, story, wait_until

from search import Wish, control, load_run

pytestmark = pytest.mark.faults


def num_workers(run: Started) -> int:
    return sum("ray::ImplicitFunc" in line for line in run.family().values())


def test_a_run_that_was_paused_killed_and_continued_is_the_undisturbed_one(tmp_path: Path) -> None:
    folders = [tmp_path / "undisturbed", tmp_path / "paused"]
    for folder in folders:
        folder.mkdir()
    with started(folders[0], *new_run(folders[0])) as run:
        code, output = run.wait()
        assert code == 0, output
    run_dir = folders[1] / "results" / "tiny"
    with started(folders[1], *new_run(folders[1])) as run:
        wait_until(lambda: num_epochs(run_dir) >= 4)
        assert num_workers(run) == 1
        control(run_dir, Wish(action="pause"), by="anna")
        wait_until(lambda: num_workers(run) == 0)
        before = num_epochs(run_dir)
        os.kill(run.process.pid, signal.SIGKILL)
        end_after(run, "driver")
    with started(folders[1], *RESUME) as run:
        wait_until(lambda: run.pid_of("raylet"))
        time.sleep(10)
        assert (num_epochs(run_dir), num_workers(run)) == (before, 0), "it is still paused"
        control(run_dir, Wish(action="continue"), by="ben")
        code, output = run.wait()
        assert code == 0, output
        run.assert_nothing_is_left()
    assert "ben asked: continue" in output
    assert [one.answer is not None and one.answer.is_done for one in load_run(run_dir).wishes] == [True, True]
    assert story(run_dir) == story(folders[0] / "results" / "tiny")


def test_what_was_asked_before_a_kill_is_done_after_it(tmp_path: Path) -> None:
    run_dir = tmp_path / "results" / "tiny"
    with started(tmp_path, *new_run(tmp_path)) as run:
        wait_until(lambda: num_epochs(run_dir) >= 2)
        os.kill(run.process.pid, signal.SIGSTOP)
        control(run_dir, Wish(num_trials=NUM_TRIALS + 1), by="anna")
        control(run_dir, Wish(action="cancel"), by="anna")
        os.kill(run.process.pid, signal.SIGKILL)
        end_after(run, "driver")
    assert [one.answer for one in load_run(run_dir).wishes] == [None, None]
    with started(tmp_path, *RESUME) as run:
        code, output = run.wait()
        assert code == 0, output
    more, cancel = load_run(run_dir).wishes
    assert more.answer is not None
    assert cancel.answer is not None
    assert (more.answer.is_done, cancel.answer.text) == (True, "the run had ended")
    finished = load_run(run_dir)
    assert finished.settings.num_trials == NUM_TRIALS + 1
    assert (finished.trials.status != "rejected").sum() == NUM_TRIALS + 1
