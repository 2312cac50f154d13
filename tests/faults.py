"""Real runs of the program for the fault tests: started, watched through their record, killed, and compared."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tiny_space import TINY

from search import load_run
from search.study.ranking import rank_trials

REPOSITORY = Path(__file__).parent.parent
PATIENCE_S = float(os.environ.get("FAULTS_PATIENCE_S", "900"))
NUM_TRIALS = 6
RESUME = ("--resume", "results/tiny")
_MARK = "CONVLADDER_FAULT_TEST"


@dataclass
class Started:
    """One process of the program and everything that it started."""

    process: subprocess.Popen[str]
    mark: str
    output: list[str] = field(default_factory=list)

    def wait(self, timeout_s: float = PATIENCE_S) -> tuple[int, str]:
        """Its exit code and all that it printed."""
        out, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out

    def family(self) -> dict[int, str]:
        """Command lines of the living processes of this run, by id; found by a mark in their environment."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (folder / "environ").read_bytes() and _is_alive(folder):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def pid_of(self, kind: str) -> int | None:
        """The driver, a worker that trains, or the raylet."""
        if kind == "driver":
            return self.process.pid
        text = {"worker": "ray::", "raylet": "/raylet/raylet "}[kind]
        others = {"ray::DashboardAgent", "ray::RuntimeEnvAgent", "ray::IDLE"}
        pids = [pid for pid, line in self.family().items() if text in line and line.split()[0] not in others]
        return pids[0] if pids else None

    def assert_nothing_is_left(self, within_s: float = 30.0) -> None:
        """No process of the run lives on."""
        wait_until(lambda: not self.family(), within_s, lambda: f"still alive: {self.family()}")

    def end(self) -> None:
        """Whatever is left of it, at the end of a test."""
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def started(
    folder: Path, *arguments: object, environment: dict[str, str] | None = None, num_cores: int = 1
) -> Iterator[Started]:
    """The program in `folder`; on one core, one trial runs at a time and the order of events is fixed."""
    mark = uuid.uuid4().hex
    run = Started(
        subprocess.Popen(
            [sys.executable, str(REPOSITORY / "tune_main.py"), *map(str, arguments)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: _use_cores(num_cores),
            env={**os.environ, _MARK: mark, **(environment or {})},
        ),
        mark,
    )
    try:
        yield run
    finally:
        run.end()


def new_run(folder: Path, *more: object, name: str = "tiny") -> list[object]:
    """Arguments of a tiny search on digits; `more` come last and count."""
    (folder / "tiny.toml").write_text(TINY)
    return [
        *("--dataset", "digits", "--image-size", 16, "--space", "tiny.toml", "--name", name, "--no-baseline"),
        *("--trials", NUM_TRIALS, "--epochs", 6, "--grace-period", 1, "--reduction-factor", 2, "--seed", 7),
        *("--precision", "fp32", "--cpus-per-trial", 1, "--max-params", 50_000),
        *more,
    ]


def strike(run: Started, kind: str, run_dir: Path, epochs: int) -> bool:
    """Kills one process of a run once so many epochs are recorded; whether the run ends of it."""
    wait_until(lambda: run.process.poll() is not None or num_epochs(run_dir) >= epochs)
    pid = None
    while pid is None:
        assert run.process.poll() is None, f"it ended before it could be killed: {run.wait()}"
        pid = run.pid_of(kind)
    os.kill(pid, signal.SIGKILL)
    if kind == "raylet":
        # Killed while Ray starts, it is started again.
        wait_until(lambda: run.process.poll() is not None or run.pid_of(kind) not in (None, pid))
        return run.process.poll() is not None
    return kind == "driver"


def end_after(run: Started, kind: str) -> None:
    """The last process that was killed was of this kind: how the run has to end."""
    code, output = run.wait()
    assert code == {"driver": -signal.SIGKILL, "worker": 0, "raylet": 1}[kind], output
    assert "Traceback" not in output
    if kind == "raylet":
        assert output.count("tune_main.py: error: ") == 1, output
        assert "--resume results/tiny" in output
    # Ray's agents try for a minute to tell a driver that is gone that its node is gone.
    run.assert_nothing_is_left(within_s=90)


def finish(folder: Path) -> dict[str, Any]:
    """Resumes the run to its end; returns its story."""
    with started(folder, *RESUME) as run:
        code, output = run.wait()
        assert code == 0, output
    return story(folder / "results" / "tiny")


def story(run_dir: Path) -> dict[str, Any]:
    """Everything that must be the same however often a run was killed: trials, curves, stops, winner, its retrain."""
    run = load_run(run_dir)
    trials = [
        {
            "number": record.number,
            "status": record.status,
            "seed": record.seed,
            "config": dict(record.config),
            "curve": dict(record.scores),
            "losses": {epoch: metrics.get("train_loss") for epoch, metrics in record.epoch_metrics.items()},
            "rungs": record.rungs,
        }
        for record in run.records
    ]
    retrains = [dataclasses.replace(record, seconds=0.0) for record in run.retrain_records]
    return {"trials": trials, "winner": rank_trials(run.records)[0].number, "retrains": retrains}


def num_epochs(run_dir: Path) -> int:
    """Epochs in the record so far, read beside the run without disturbing it."""
    return _count(run_dir, "trial_intermediate_values")


def num_trials(run_dir: Path) -> int:
    """Trials in the record so far."""
    return _count(run_dir, "trials")


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


def wait_until(
    is_true: Callable[[], object], timeout_s: float = PATIENCE_S, describe: Callable[[], str] = lambda: "waited in vain"
) -> None:
    """Asks often."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.05)


def _count(run_dir: Path, table: str) -> int:
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{run_dir / 'study.db'}?mode=ro", uri=True, timeout=5)
        ) as database:
            return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.Error:
        return 0


def _is_alive(folder: Path) -> bool:
    return ") Z " not in (folder / "stat").read_text()


def _use_cores(num_cores: int) -> None:
    """As many of the machine's; tests that run side by side begin with different ones."""
    cores = sorted(os.sched_getaffinity(0))
    first = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {cores[(first + index) % len(cores)] for index in range(num_cores)})
