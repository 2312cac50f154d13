"""Asked to stop, a run stops at once, in good order, and can go on."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from faults import new_run, num_epochs, started, story, wait_until

from search import load_run

pytestmark = pytest.mark.faults
STOP_WITHIN_S = 15 * float(os.environ.get("FAULTS_SLOWNESS", "1"))
RESUME_HINT = "Resume with: python tune_main.py --resume results/tiny"


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.core_faults), signal.SIGTERM, signal.SIGHUP]
)
def test_a_signal_while_trials_run(number: signal.Signals, tmp_path: Path) -> None:
    run_dir = tmp_path / "results" / "tiny"
    # Without rungs, so that the first trials are in the middle of their training.
    with started(tmp_path, *new_run(tmp_path, "--grace-period", 6)) as run:
        wait_until(lambda: num_epochs(run_dir) >= 3)
        # As a terminal or a shell's `kill` sends it: to all processes of the group, Ray's included.
        os.killpg(run.process.pid, number)
        sent = time.monotonic()
        code, output = run.wait()
        assert code == 128 + number, output
        assert time.monotonic() - sent < STOP_WITHIN_S
        run.assert_nothing_is_left()
    assert RESUME_HINT in output
    assert not re.search("^retraining ", output, re.MULTILINE)
    assert "Traceback" not in output
    assert {"trials.csv", "summary.md", "trials.parquet"} <= {path.name for path in run_dir.iterdir()}
    assert "interrupted" in set(load_run(run_dir).trials.status)
    assert list(run_dir.glob("checkpoints/*/*.safetensors")), "the running trial kept no checkpoint"


def test_a_signal_that_was_ignored_at_the_start_is_ignored(tmp_path: Path) -> None:
    """As `nohup` starts it."""
    run_dir = tmp_path / "results" / "tiny"
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with started(tmp_path, *new_run(tmp_path, "--trials", 2)) as run:
            wait_until(lambda: num_epochs(run_dir) >= 2)
            os.killpg(run.process.pid, signal.SIGHUP)
            code, output = run.wait()
    finally:
        signal.signal(signal.SIGHUP, earlier)
    assert code == 0, output
    assert len(story(run_dir)["retrains"]) == 1


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    run_dir = tmp_path / "results" / "tiny"
    with started(tmp_path, *new_run(tmp_path)) as run:
        wait_until(lambda: num_epochs(run_dir) >= 2)
        sent = time.monotonic()
        while run.process.poll() is None:
            run.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        assert run.process.returncode == 128 + signal.SIGTERM
        assert time.monotonic() - sent < STOP_WITHIN_S
        run.assert_nothing_is_left()
    with started(tmp_path, "--resume", "results/tiny") as run:
        code, output = run.wait()
        assert code == 0, output
    assert len(story(run_dir)["retrains"]) == 1


def test_a_signal_while_loading_leaves_nothing(tmp_path: Path) -> None:
    with started(tmp_path, *new_run(tmp_path)) as run:
        wait_until(lambda: (tmp_path / "results" / "tiny").is_dir())
        run.process.send_signal(signal.SIGTERM)
        code, output = run.wait()
        run.assert_nothing_is_left()
    assert code == 128 + signal.SIGTERM, output
    assert "Traceback" not in output
    if not (tmp_path / "results" / "tiny" / "run.toml").exists():
        assert "the run had not begun" in output
        assert not (tmp_path / "results" / "tiny").exists()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core leaves nothing to measure")
def test_a_signal_while_the_machine_is_measured_leaves_nothing(tmp_path: Path) -> None:
    arguments = new_run(tmp_path)
    index = arguments.index("--cpus-per-trial")
    with started(tmp_path, *arguments[:index], *arguments[index + 2 :], num_cores=2) as run:
        wait_until(lambda: any("model.throughput" in line for line in run.family().values()))
        # As a terminal sends it: to the processes that are measured, too.
        os.killpg(run.process.pid, signal.SIGINT)
        code, output = run.wait()
        run.assert_nothing_is_left()
    assert code == 128 + signal.SIGINT, output
    assert "Traceback" not in output
    assert "the run had not begun" in output
    assert not (tmp_path / "results" / "tiny").exists()


def test_a_signal_while_retraining_keeps_its_epochs(tmp_path: Path) -> None:
    run_dir = tmp_path / "results" / "tiny"
    with started(tmp_path, *new_run(tmp_path, "--trials", 1, "--epochs", 30, "--grace-period", 30)) as run:
        wait_until(lambda: list(run_dir.glob("checkpoints/retrain*/*.safetensors")))
        run.process.send_signal(signal.SIGINT)
        code, output = run.wait()
        run.assert_nothing_is_left()
    assert code == 128 + signal.SIGINT, output
    assert RESUME_HINT in output
    before = load_run(run_dir).study.retrain("retrain:winner:0")
    with started(tmp_path, "--resume", "results/tiny") as run:
        code, output = run.wait()
    assert code == 0, output
    after = load_run(run_dir).study.retrain("retrain:winner:0")
    assert before is not None
    assert after is not None
    assert (before.is_ended, after.is_ended) == (False, True)
    assert 0 < before.epochs_trained < len(after.train_losses) == 30
    assert after.train_losses[: before.epochs_trained] == before.train_losses
