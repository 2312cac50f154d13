"""Trials that hang or die, disks that fill, clusters that are none of ours: real processes, real faults."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import new_run, num_epochs, num_trials, started, wait_until

from search import load_run

pytestmark = pytest.mark.faults


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A tmpfs of that size, or no test where none can be mounted."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_trial_that_hangs_fails_alone(tmp_path: Path) -> None:
    run_dir = tmp_path / "results" / "tiny"
    timeout_s = 60
    with started(tmp_path, *new_run(tmp_path, "--trials", 2, "--trial-timeout", timeout_s)) as run:
        wait_until(lambda: num_epochs(run_dir) >= 1)
        worker = run.pid_of("worker")
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)
        code, output = run.wait()
        assert code == 0, output
        run.assert_nothing_is_left()
    trials = load_run(run_dir).trials
    failed = trials[trials.status == "failed"]
    assert len(failed) == 1
    assert failed.error.item() == f"no epoch ended within {timeout_s} s (--trial-timeout), so it was killed"
    assert (trials.status != "failed").sum() == 1


def test_a_worker_that_always_dies_fails_its_trial_alone(tmp_path: Path) -> None:
    run_dir = tmp_path / "results" / "tiny"
    killed: set[int] = set()
    with started(tmp_path, *new_run(tmp_path, "--trials", 2, "--max-failures", 1, "--epochs", 40)) as run:
        while run.process.poll() is None and len(killed) < 2:
            worker = run.pid_of("worker")
            if worker is not None and worker not in killed:
                # As the kernel does when memory runs out.
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)
            time.sleep(0.05)
        wait_until(lambda: num_trials(run_dir) >= 2)
        code, output = run.wait()
        assert code == 0, output
    trials = load_run(run_dir).trials
    assert len(killed) == 2
    assert list(trials.status) == ["failed", "completed"]
    assert "the worker process died" in trials.error[0]


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "80m") as disk:
        run_dir = disk / "tiny"
        with started(tmp_path, *new_run(tmp_path, "--results-dir", "disk")) as run:
            wait_until(lambda: num_epochs(run_dir) >= 3)
            _fill(disk / "ballast")
            code, output = run.wait()
            run.assert_nothing_is_left()
        assert code == 1, output
        assert output.count("tune_main.py: error: ") == 1, output
        assert "bytes left; the run may need" in output
        assert "Traceback" not in output
        (disk / "ballast").unlink()
        recorded = num_epochs(run_dir)
        assert recorded >= 3
        with started(tmp_path, "--resume", "disk/tiny") as run:
            code, output = run.wait()
        assert code == 0, output
        trials = load_run(run_dir).trials
        assert set(trials[trials.status != "rejected"].status) <= {"completed", "stopped"}


def test_a_cluster_that_ray_address_names_is_never_joined(tmp_path: Path) -> None:
    run_dir = tmp_path / "results" / "tiny"
    home = tmp_path / "home"
    home.mkdir()
    address = {"RAY_ADDRESS": "192.0.2.77:6379", "HOME": str(home)}
    with started(tmp_path, *new_run(tmp_path, "--trials", 1, "--epochs", 2), environment=address) as run:
        wait_until(lambda: num_epochs(run_dir) >= 1 or run.process.poll() is not None)
        raylet = run.pid_of("raylet")
        assert raylet is not None
        line = Path(f"/proc/{raylet}/cmdline").read_bytes().split(b"\0")
        (temp,) = [Path(part.decode().partition("=")[2]) for part in line if part.startswith(b"--temp_dir=")]
        assert stat.S_IMODE(temp.parent.stat().st_mode) == 0o700, "others can reach Ray's sockets and logs"
        code, output = run.wait()
        assert code == 0, output
    assert not temp.parent.exists()
    token = home / ".ray" / "auth_token"
    assert not token.exists() or stat.S_IMODE(token.stat().st_mode) & 0o077 == 0


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
