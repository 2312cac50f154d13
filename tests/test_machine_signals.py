"""Requests to stop, with real signals to a real process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.errors import RunInterrupted
from search.machine.signals import STOP_SIGNALS, StopRequest

RAISED = """
import time
from search.machine.signals import RunInterrupted, StopRequest
with StopRequest().installed():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except RunInterrupted as interrupted:
        print("raised", interrupted.exit_code, flush=True)
    try:
        time.sleep(60)
    finally:
        print("no second exception", flush=True)
"""
DEFERRED = """
import sys, time
from search.machine.signals import RunInterrupted, StopRequest
stop = StopRequest()
with stop.installed():
    try:
        with stop.deferred():
            print("ready", flush=True)
            while not stop:
                time.sleep(0.01)
            print("seen", flush=True)
    except RunInterrupted as interrupted:
        sys.exit(interrupted.exit_code)
"""
WITH_CHILDREN = """
import subprocess, time
from search.machine.signals import StopRequest
stop = StopRequest()
with stop.installed(), stop.deferred():
    child = subprocess.Popen(["sh", "-c", "sleep 900 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    grandchild = child.stdout.readline().strip()
    print("ready", flush=True)
    print(child.pid, grandchild, flush=True)
    while not stop:
        time.sleep(0.01)
    print("seen", flush=True)
    time.sleep(60)
"""
WITH_ORPHAN = WITH_CHILDREN.replace(
    "    time.sleep(60)", "    child.kill()\n    child.wait()\n    print(flush=True)\n    time.sleep(60)"
)


def start(script: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent
    )
    assert read_line(process) == "ready"
    return process


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def rest_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_first_signal_raises_and_the_second_ends_at_once(number: signal.Signals) -> None:
    process = start(RAISED)
    process.send_signal(number)
    assert read_line(process) == f"raised {128 + number}"
    process.send_signal(number)
    assert rest_of(process) == (128 + number, "")


@pytest.mark.parametrize("script", [WITH_CHILDREN, WITH_ORPHAN])
def test_the_second_signal_leaves_no_process_behind(script: str) -> None:
    process = start(script)
    pids = read_line(process).split()
    process.send_signal(signal.SIGTERM)
    assert read_line(process) == "seen"
    if script == WITH_ORPHAN:
        assert read_line(process) == ""
    assert is_alive(pids[1])
    process.send_signal(signal.SIGTERM)
    assert rest_of(process) == (143, "")
    deadline = time.monotonic() + 60
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline


def is_alive(pid: str) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_deferred_signal_is_raised_at_the_end_of_the_block() -> None:
    process = start(DEFERRED)
    process.send_signal(signal.SIGTERM)
    assert rest_of(process) == (143, "seen\n")


def test_earlier_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with StopRequest().installed() as stop:
        assert not stop
        assert [signal.getsignal(number) for number in STOP_SIGNALS] != before
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_no_error_handler_swallows_a_request() -> None:
    assert not issubclass(RunInterrupted, Exception)
    assert [RunInterrupted(number).exit_code for number in STOP_SIGNALS] == [130, 143, 129]


def test_check_raises_only_after_a_signal() -> None:
    stop = StopRequest()
    stop.check()
    stop.signal_number = signal.SIGINT
    with pytest.raises(RunInterrupted):
        stop.check()
