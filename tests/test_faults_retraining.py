"""Retrainings that are killed, hang or die again and again: what each costs, and that the run can go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from faults import RESUME, Started, end_after, finish, new_run, started, story, wait_until

from search import load_run

pytestmark = pytest.mark.faults
LONG_RETRAINING = ("--trials", 1, "--epochs", 30, "--grace-period", 30, "--retrain-top", 2, "--retrain-seeds", 2)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with started(folder, *new_run(folder, *LONG_RETRAINING)) as run:
        code, output = run.wait()
        assert code == 0, output
    return story(folder / "results" / "tiny")


def worker_of(run: Started, checkpoints: str, folder: Path) -> int:
    """The worker that trains, once there are such checkpoints."""
    wait_until(lambda: list(folder.glob(f"results/tiny/checkpoints/{checkpoints}/*.safetensors")))
    pid = None
    while pid is None:
        assert run.process.poll() is None, f"it ended before it could be struck: {run.wait()}"
        pid = run.pid_of("worker")
    return pid


@pytest.mark.parametrize("checkpoints", ["finalist*", "retrain-winner*"])
@pytest.mark.parametrize("kind", ["driver", "worker", "raylet"])
def test_a_killed_process_changes_nothing(
    kind: str, checkpoints: str, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    with started(tmp_path, *new_run(tmp_path, *LONG_RETRAINING)) as run:
        worker = worker_of(run, checkpoints, tmp_path)
        pid = worker if kind == "worker" else run.pid_of(kind)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        end_after(run, kind)
    assert finish(tmp_path) == undisturbed


@pytest.mark.parametrize("fault", ["frozen", "killed"])
def test_a_retraining_that_cannot_end_ends_the_run_which_can_go_on(
    fault: str, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    more = ("--trial-timeout", "30s", "--max-failures", 0)
    with started(tmp_path, *new_run(tmp_path, *LONG_RETRAINING, *more)) as run:
        worker = worker_of(run, "retrain-winner*", tmp_path)
        os.kill(worker, signal.SIGSTOP if fault == "frozen" else signal.SIGKILL)
        code, output = run.wait()
        assert code == 1, output
        run.assert_nothing_is_left()
    reason = "killed because no epoch ended within 30 s" if fault == "frozen" else "the worker process died"
    assert f"tune_main.py: error: the retraining of winner, seed 1 failed: {reason}" in output
    assert "--resume results/tiny" in output
    assert "test accuracy" not in output, "the test images are opened after the last training"
    record = load_run(tmp_path / "results" / "tiny").study.retrain("retrain:winner:1")
    assert record is not None
    assert len(record.train_losses) == 30, "the other retraining goes on to its end"
    assert finish(tmp_path) == undisturbed
    with started(tmp_path, *RESUME) as run:
        assert run.wait()[0] == 0, "nothing is left to do"
