"""Processes of runs: each started in its own session on its devices, found again, and how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from search.service.queue import Devices
from search.setup.run_lock import is_locked

# The exit code outlives a service that is killed: this shell writes it. A killed shell writes none.
_SHELL = '"$@"; code=$?; echo $code >"$0.new" && mv "$0.new" "$0"'
_LAST_BYTES = 8192
_TIME_TOLERANCE_S = 2.0
"""The machine's start is known to a second, and is read twice."""


def start(
    arguments: Sequence[str], devices: Devices | None, *, log: Path, exit_file: Path, environment: Mapping[str, str]
) -> tuple[int, float]:
    """Starts tune_main.py, with more `environment`; returns the process's id and its start as `_start_of` gives it.

    `devices` of this machine that it gets; None for a run whose trials train elsewhere.
    Call it from one thread only: a child inherits the CPU cores of the thread that starts it.
    """
    program = find_spec("tune_main")
    assert program is not None
    assert program.origin is not None
    words = ["/bin/sh", "-c", _SHELL, str(exit_file), sys.executable, program.origin, *arguments]
    gpus = {} if devices is None else {"CUDA_VISIBLE_DEVICES": ",".join(devices.gpus)}
    with log.open("ab") as output, _on_cores(() if devices is None else devices.cores):
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            start_new_session=True,
            env={**os.environ, **environment, **gpus},
        )
    return process.pid, _start_of(process.pid)


@contextlib.contextmanager
def _on_cores(cores: Sequence[int]) -> Iterator[None]:
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def _start_of(pid: int) -> float:
    """Seconds from the machine's start to the process's: setting the clock, which moves both, does not change it."""
    return psutil.Process(pid).create_time() - psutil.boot_time()


def is_alive(pid: int | None, process_start: float | None, run_dir: Path) -> bool:
    """Whether a run's process lives, or another one works on its folder."""
    if pid is not None and process_start is not None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            is_same = abs(_start_of(pid) - process_start) < _TIME_TOLERANCE_S
            if is_same and process.status() != psutil.STATUS_ZOMBIE:
                return True
            if is_same:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
    return is_locked(run_dir)


def find(exit_file: Path) -> dict[str, Any]:
    """`pid` and `process_start` of the process that would leave its exit code in a file; empty if there is none."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(exit_file) in process.cmdline()[:5]:
                return {"pid": process.pid, "process_start": _start_of(process.pid)}
    return {}


def interrupt(pid: int) -> None:
    """Ctrl-C for a run that has no record yet."""
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children():
            process.send_signal(signal.SIGINT)


def exit_code(exit_file: Path) -> int | None:
    """What the run's process ended with; None if it was killed with its shell, as when the machine restarts."""
    with contextlib.suppress(OSError, ValueError):
        return int(exit_file.read_text())
    return None


def log_lines(log: Path, num_lines: int) -> list[str]:
    """The last lines that a run's process printed."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LAST_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.replace("\r", "\n").splitlines() if line.strip()][-num_lines:]


def last_line(log: Path) -> str:
    """The error that a run's process ended with, else the last that it said."""
    lines = log_lines(log, 40)
    errors = [line for line in lines if ": error: " in line]
    return (errors or lines or [""])[-1].removeprefix("tune_main.py: error: ")
