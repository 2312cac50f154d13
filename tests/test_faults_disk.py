"""Disks that fill while a run writes to them: one line, nothing lost, and the run goes on once there is room."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import new_run, num_epochs, small_disk, started, wait_until

from search import load_run

pytestmark = pytest.mark.faults


def run_onto_a_full_disk(
    folder: Path, disk: Path, is_time: Callable[[], object], *more: object, environment: dict[str, str] | None = None
) -> str:
    """A run whose disk is filled at a certain time; returns its one line. Then there is room again, and it ends."""
    run_dir = folder / "results" / "tiny"
    with started(folder, *new_run(folder, *more), environment=environment) as run:
        wait_until(lambda: is_time() or run.process.poll() is not None)
        _fill(disk / "ballast")
        code, output = run.wait()
        run.assert_nothing_is_left()
    assert code == 1, output
    assert "Traceback" not in output, output
    (line,) = [line for line in output.splitlines() if line.startswith("tune_main.py: error: ")] or [output]
    assert "Resume with: python tune_main.py --resume results/tiny" in output
    (disk / "ballast").unlink()
    with started(folder, "--resume", "results/tiny", environment=environment) as run:
        code, output = run.wait()
    assert code == 0, output
    trials = load_run(run_dir).trials
    assert set(trials[trials.status != "rejected"].status) <= {"completed", "stopped"}
    return line


@pytest.mark.core_faults
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    run_dir = tmp_path / "results" / "tiny"
    with small_disk(tmp_path / "results", "80m") as disk:
        line = run_onto_a_full_disk(tmp_path, disk, lambda: num_epochs(run_dir) >= 3)
        assert "bytes free; the run may need" in line
        assert num_epochs(run_dir) > 3


def test_a_disk_that_fills_while_retraining_loses_nothing(tmp_path: Path) -> None:
    checkpoints = tmp_path / "results" / "tiny" / "checkpoints"
    with small_disk(tmp_path / "results", "80m") as disk:
        line = run_onto_a_full_disk(
            tmp_path,
            disk,
            lambda: list(checkpoints.glob("retrain*/*.safetensors")),
            *("--trials", 1, "--epochs", 30, "--grace-period", 30),
        )
        assert "bytes free; the run may need" in line


def test_a_full_disk_under_the_record_alone_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "database", "4m") as disk:
        run_dir = tmp_path / "results" / "tiny"
        url = f"sqlite:///{disk / 'record.db'}"
        line = run_onto_a_full_disk(
            tmp_path, disk, lambda: list(run_dir.glob("checkpoints/*/*.safetensors")), "--storage", url
        )
        assert line.startswith(f"tune_main.py: error: --storage {url}: ")
        assert "disk is full" in line


def test_a_full_temporary_folder_loses_nothing(tmp_path: Path) -> None:
    """Ray's sessions are in it; a run may survive that, but must end well or be resumed."""
    run_dir = tmp_path / "results" / "tiny"
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short, small_disk(Path(short) / "d", "100m") as disk:
        environment = {"TMPDIR": str(disk)}
        with started(tmp_path, *new_run(tmp_path), environment=environment) as run:
            wait_until(lambda: num_epochs(run_dir) >= 3 or run.process.poll() is not None)
            assert list(disk.glob("cl-*")), "Ray is elsewhere"
            _fill(disk / "ballast")
            code, output = run.wait()
            run.assert_nothing_is_left()
        assert code in (0, 1), output
        assert "Traceback" not in output
        with started(tmp_path, "--resume", "results/tiny", environment=environment) as run:
            refused, output = run.wait()
        assert refused == 2
        assert "the temporary folder" in output
        assert "set TMPDIR to another folder" in output
        (disk / "ballast").unlink()
        with started(tmp_path, "--resume", "results/tiny", environment=environment) as run:
            code, output = run.wait()
        assert code == 0, output
        assert not list(disk.glob("cl-*/[0-9]*")), "something is left in the temporary folder"
    trials = load_run(run_dir).trials
    assert set(trials[trials.status != "rejected"].status) <= {"completed", "stopped"}


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
