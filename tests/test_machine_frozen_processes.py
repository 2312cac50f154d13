"""Which frozen processes are killed, with real processes and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.machine.frozen_processes import kill_frozen_processes

INTERVAL_S = 0.05
NUM_LOOKS = 4


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def freeze(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    while " T " not in Path(f"/proc/{pid}/stat").read_text():
        time.sleep(0.001)


def test_a_child_that_stays_frozen_is_killed(child: subprocess.Popen[bytes]) -> None:
    with kill_frozen_processes([child.pid], interval_s=INTERVAL_S, num_looks=NUM_LOOKS):
        freeze(child.pid)
        assert child.wait(timeout=60) == -signal.SIGKILL


def test_a_child_that_is_frozen_for_moments_is_not(child: subprocess.Popen[bytes]) -> None:
    with kill_frozen_processes([child.pid], interval_s=0.02, num_looks=25):
        for _ in range(15):
            freeze(child.pid)
            time.sleep(0.06)
            os.kill(child.pid, signal.SIGCONT)
            time.sleep(0.05)
    assert child.poll() is None


def test_a_process_that_is_not_a_child_is_left_alone() -> None:
    """The pid of a dead process may belong to another program."""
    shell = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    assert shell.stdout is not None
    grandchild = int(shell.stdout.readline())
    freeze(grandchild)
    try:
        with kill_frozen_processes([grandchild], interval_s=INTERVAL_S, num_looks=NUM_LOOKS):
            time.sleep(3 * NUM_LOOKS * INTERVAL_S)
        assert " T " in Path(f"/proc/{grandchild}/stat").read_text()
    finally:
        os.kill(grandchild, signal.SIGKILL)
        shell.communicate()
