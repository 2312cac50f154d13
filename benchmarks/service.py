"""The service under load: 1,000 finished runs, 20 live ones, 50 watchers, 10 requests a second.

    python -m benchmarks.service --seconds 120

Nothing trains for real: live runs are records to which this process adds an epoch every five seconds each, and the
finished ones are copies of a made-up run. Prints the 95th percentile of the pages of the list and of a run (target:
100 ms), the memory early and late (target: flat), the share of a core, and by how much the service slows a computation
that shares the machine (target: 1 %): steps a second while the service goes on and while it is stopped, in turns.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import requests
import torch

from search.paths import sqlite_url
from search.service.store import RunEntry, RunState, Store
from search.service.submission import Folders
from search.study.record import NewTrial
from search.study.study import RunStudy

TESTS = Path(__file__).parent.parent / "tests"
WATCHERS, REQUESTS_PER_S, EPOCH_S = 50, 10, 5.0
TURN_S, NUM_TURNS = 4.0, 16


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--finished", type=int, default=1000)
    parser.add_argument("--live", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folders = Folders(Path(folder) / "results", None)
        say(f"making {options.finished} finished runs and {options.live} live ones")
        make_finished(folders, options.finished)
        live = make_live(folders, options.live)
        say("starting the service")
        with served(Path(folder)) as (url, process), growing(live):
            wait_until_read(url, options.finished)
            report = {"finished": options.finished, "live": options.live, "watchers": WATCHERS}
            say(f"asking for pages for {options.seconds:g} s")
            report |= measure_requests(url, process, options.seconds)
            say(f"measuring the slow-down for {NUM_TURNS * TURN_S:g} s")
            report |= measure_slowdown(process)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


def say(words: str) -> None:
    """Shows what is done now: making and reading all runs takes minutes on a busy machine."""
    sys.stderr.write(f"{words}\n")


def make_finished(folders: Folders, count: int) -> None:
    """One made-up run and copies of it, each with its own name in its record."""
    sys.path.insert(0, str(TESTS))
    from served import finished_run

    folders.own.mkdir(parents=True)
    first = folders.run("finished0000")
    finished_run(first, num_trials=10)
    for path in (first / "report.html", first / "predictions"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    for index in range(1, count):
        copy = folders.run(f"finished{index:04}")
        shutil.copytree(first, copy)
        _rename(copy, first.name)


def _rename(run_dir: Path, earlier: str) -> None:
    document = run_dir / "run.toml"
    document.write_text(document.read_text().replace(earlier, run_dir.name))
    with sqlite3.connect(run_dir / "study.db") as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("UPDATE studies SET study_name = ?", (run_dir.name,))
    database.close()


def make_live(folders: Folders, count: int) -> list[RunStudy]:
    """Records of runs that this process works on, as far as the service can tell."""
    store, this, studies = Store(folders.own / "service.db"), psutil.Process(), []
    for index in range(count):
        name = f"live{index:02}"
        run_dir = folders.run(name)
        shutil.copytree(folders.run("finished0000"), run_dir)
        _rename(run_dir, "finished0000")
        (run_dir / "study.db").unlink()
        study = RunStudy.in_database(sqlite_url(run_dir / "study.db"), name)
        profile = {"num_params": 1, "multiply_adds": 1, "receptive_field": 80}
        for _ in range(10):
            study.add_trial(NewTrial(config={}, seed=1, profile=profile))
        studies.append(study)
        store.add(
            RunEntry(
                name=name,
                owner="benchmark",
                request={},
                arguments=(),
                num_gpus=0,
                cores=0,
                state=RunState.RUNNING,
                pid=this.pid,
                process_start=this.create_time() - psutil.boot_time(),
            )
        )
    store.close()
    return studies


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The service in a process of its own: its address and process."""
    words = [sys.executable, str(TESTS.parent / "tune_main.py"), "serve", "--port", "0"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1].rstrip("/"), psutil.Process(process.pid)
        finally:
            process.kill()


@contextmanager
def growing(studies: list[RunStudy]) -> Iterator[None]:
    """Adds epochs to all records meanwhile."""
    ended = threading.Event()

    def grow() -> None:
        for epoch in range(1, 1_000_000):
            for index, study in enumerate(studies):
                metrics = {"seconds": EPOCH_S, "images_per_s": 1.0, "worker": "w", "train_loss": 1.0, "lr": 0.1}
                score = 0.5 + index / 100 - 0.4 / epoch
                study.record_epoch(epoch % 10, epoch=epoch // 10 + 1, score=score, metrics=metrics)
                if ended.wait(EPOCH_S / len(studies)):
                    return

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def wait_until_read(url: str, count: int) -> None:
    """The service reads new runs in the background."""
    address, num_read = f"{url}/api/runs?state=finished&page_size=1", 0
    while num_read < count:
        time.sleep(1)
        num_read = requests.get(address, timeout=60).json()["num_runs"]
        say(f"the service has read {num_read} of {count} finished runs")


def watch(answer: requests.Response) -> None:
    """Reads events until the service ends."""
    with suppress(requests.RequestException):
        list(answer.iter_lines())


def measure_requests(url: str, process: psutil.Process, seconds: float) -> dict[str, Any]:
    """Times of both pages under load, in ms; memory in MB; share of a core."""
    watchers = [requests.get(f"{url}/api/runs/live{index % 10:02}/events", stream=True) for index in range(WATCHERS)]
    for watcher in watchers:
        threading.Thread(target=watch, args=(watcher,), daemon=True).start()
    times: dict[str, list[float]] = {"/": [], "/runs/live03": []}
    session, started, early = requests.Session(), time.monotonic(), 0.0
    cpu_s = sum(process.cpu_times()[:2])
    number = 0
    while (elapsed := time.monotonic() - started) < seconds:
        path = list(times)[number % 2]
        before = time.perf_counter()
        session.get(url + path, timeout=60).raise_for_status()
        times[path].append(1000 * (time.perf_counter() - before))
        number += 1
        if not early and elapsed > seconds / 4:
            early = process.memory_info().rss / 1e6
        time.sleep(max(0.0, number / REQUESTS_PER_S - (time.monotonic() - started)))
    share = (sum(process.cpu_times()[:2]) - cpu_s) / (time.monotonic() - started)
    p95 = {f"p95_ms {path}": round(statistics.quantiles(found, n=20)[-1], 1) for path, found in times.items()}
    late = process.memory_info().rss / 1e6
    return {**p95, "requests": number, "memory_mb": [round(early), round(late)], "share_of_a_core": round(share, 3)}


def measure_slowdown(process: psutil.Process) -> dict[str, Any]:
    """The slow-down of a computation by a service that reads live runs and serves nobody, in percent."""
    torch.set_num_threads(1)
    matrix = torch.rand(300, 300)
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(NUM_TURNS):
        is_on = bool(turn % 2)
        process.send_signal(signal.SIGCONT if is_on else signal.SIGSTOP)
        steps, started = 0, time.perf_counter()
        while time.perf_counter() - started < TURN_S:
            torch.mm(matrix, matrix)
            steps += 1
        speeds[is_on].append(steps / TURN_S)
    process.send_signal(signal.SIGCONT)
    slowdowns = [100 * (1 - on / off) for on, off in zip(speeds[True], speeds[False], strict=True)]
    error = statistics.stdev(slowdowns) / len(slowdowns) ** 0.5
    return {"slowdown_percent": round(statistics.mean(slowdowns), 2), "standard_error": round(error, 2)}


if __name__ == "__main__":
    main()
