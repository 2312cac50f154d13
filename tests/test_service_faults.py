"""The service and its runs are killed: no run is lost, none runs twice, and the queue stays as it was."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tiny_space import TINY

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

from search import load_run
from search.errors import UserError
from search.service import Client

REPOSITORY = Path(__file__).parent.parent
PATIENCE_S = float(os.environ.get("FAULTS_PATIENCE_S", "900"))
TINY_RUN: dict[str, Any] = {
    "dataset": "digits",
    "image_size": 16,
    "space": TINY,
    "baseline": False,
    "num_trials": 2,
    "max_epochs": 2,
    "grace_period": 1,
    "reduction_factor": 2,
    "precision": "fp32",
    "cpus_per_trial": 1,
    "max_params": 50_000,
    "cores": 1,
}


class Killable:
    """The service as a process of its own on one folder, killed and started again at will."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        words = [sys.executable, str(REPOSITORY / "tune_main.py"), "serve", "--port", "0"]
        self.process = subprocess.Popen(words, cwd=self._folder, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.client = Client(line.split()[-1])
        wait_until(lambda: self._answers())

    def _answers(self) -> bool:
        try:
            self.client.runs()
        except UserError:
            return False
        return True

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def states(self) -> dict[str, str]:
        """The state of each run by name."""
        return {run["name"]: run["state"] for run in self.client.runs()}

    def process_of(self, name: str) -> psutil.Process | None:
        """The process that works on a run."""
        found = [one for one in psutil.process_iter() if f"--name={name}" in _words(one) or _resumes(one, name)]
        drivers = [one for one in found if "/bin/sh" not in _words(one)[:1]]
        assert len(drivers) <= 1, f"{name} runs twice: {drivers}"
        return drivers[0] if drivers else None


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def _resumes(process: psutil.Process, name: str) -> bool:
    words = _words(process)
    return "--resume" in words and words[words.index("--resume") + 1].endswith(f"/{name}")


def kill_session(process: psutil.Process | None) -> None:
    """kill -9 for a run and the shell that would note its end."""
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(os.getsid(process.pid), signal.SIGKILL)


def wait_until(is_true: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Asks now and then."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Killable]:
    killable = Killable(tmp_path)
    try:
        yield killable
    finally:
        killable.kill()
        for process in psutil.process_iter():
            if str(tmp_path) in " ".join(_words(process)):
                with contextlib.suppress(psutil.Error):
                    process.kill()


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_kills_of_the_service_lose_no_run_and_start_none_twice(service: Killable, tmp_path: Path) -> None:
    names = [f"run{index}" for index in range(8)]
    for index, name in enumerate(names):
        service.client.submit(run_name=name, seed=index, **TINY_RUN)
    queue = service.client.devices()["queue"]
    for pause_s in range(10):
        time.sleep(pause_s)
        service.kill()
        service.start()
        states = service.states()
        assert set(states) == set(names)
        assert "failed" not in states.values()
        assert [name for name in queue if states[name] == "waiting"] == service.client.devices()["queue"]
        for name in names:
            service.process_of(name)
    # As when the machine restarts: nothing is left of service and runs.
    cut_off = [name for name in names if service.process_of(name) is not None]
    service.kill()
    for name in cut_off:
        kill_session(service.process_of(name))
    service.start()
    wait_until(lambda: set(service.states().values()) == {"finished"}, 2 * PATIENCE_S)
    for name in names:
        assert service.client.run(name)["num_deaths"] == 0  # as of its last start
        run = load_run(tmp_path / "results" / name)
        assert len(run.trials) == 2
        assert run.result.winner is not None


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_is_resumed_and_in_the_end_marked(service: Killable) -> None:
    service.client.submit(run_name="dies", **{**TINY_RUN, "num_trials": 50})
    for num_deaths in range(4):
        wait_until(lambda: service.process_of("dies") is not None)
        kill_session(service.process_of("dies"))
        wait_until(lambda: service.client.run("dies")["state"] != "running")
        view = service.client.run("dies")
        assert view["num_deaths"] == min(num_deaths + 1, 3)
        if num_deaths == 1:
            break  # the next waits take minutes
    assert view["state"] == "waiting"


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_waiting_run_gets_what_a_long_one_gives_back(service: Killable, tmp_path: Path) -> None:
    client = service.client
    client.submit(run_name="long", **{**TINY_RUN, "num_trials": 40, "cores": 2})
    client.submit(run_name="next", **TINY_RUN)
    wait_until(lambda: client.run("long")["num_started"] >= 2)
    assert client.run("next")["state"] == "waiting"
    client.control("long", num_slots=1)
    wait_until(lambda: client.run("next")["state"] == "running")
    held = [client.run(name)["devices"]["cores"] for name in ("long", "next")]
    assert sorted(core for cores in held for core in cores) == sorted(os.sched_getaffinity(0))[:2]
    process = service.process_of("long")
    assert process is not None
    assert process.cpu_affinity() == held[0]
    with pytest.raises(UserError, match="devices for 1 side by side"):
        client.control("long", num_slots=2)
    wait_until(lambda: set(service.states().values()) == {"finished"})
    assert client.run("long")["num_deaths"] == 0
    trials = load_run(tmp_path / "results" / "long").trials
    assert list(trials["status"].value_counts().index.sort_values()) == ["completed", "stopped"]
    assert len(trials) == 40


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_run_that_cannot_be_fails_at_once_with_its_line(service: Killable) -> None:
    service.client.submit(run_name="many", dataset="digits", search_examples=10_000, cores=1)
    wait_until(lambda: service.states()["many"] == "failed")
    view = service.client.run("many")
    assert "10000" in view["last_line"]
    assert view["num_deaths"] == 0
    with pytest.raises(UserError, match="many failed"):
        service.client.wait("many")
