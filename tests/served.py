"""A real service in a thread, at a free port, with runs of a folder: for tests that talk to it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import psutil
import uvicorn
from fabricated_run import add_finals, add_retrains, add_trials, finalist_numbers, make_run

from search.analysis.results import Run
from search.notify import Messenger
from search.paths import sqlite_url
from search.report.page import write_report
from search.service.app import make_app
from search.service.context import Service, opened_service
from search.service.notifier import Notifier
from search.service.queue import Devices
from search.service.serve import Server
from search.service.store import RunEntry, RunState
from search.service.submission import Folders


@contextlib.contextmanager
def served(
    folder: Path,
    *,
    needs_tokens: bool = False,
    root_path: str = "",
    gpus: tuple[str, ...] = (),
    max_upload_bytes: int = 1_000_000,
    notify: str | None = None,
) -> Iterator[tuple[str, Service]]:
    """The address of a service on `folder`/results and `folder`/datasets, and the service itself."""
    folders = Folders(folder / "results", folder / "datasets")
    for path in (folders.results, folders.datasets):
        assert path is not None
        path.mkdir(exist_ok=True)
    notifier = Notifier(Messenger(notify, print), f"https://lab.example{root_path}")
    limits: dict[str, Any] = {"needs_tokens": needs_tokens, "max_upload_bytes": max_upload_bytes, "notifier": notifier}
    with (
        opened_service(folders, Devices(gpus, (0, 1)), patience_s=(0.1,), **limits) as service,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        app = make_app(service, root_path=root_path)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
        server = Server(config, service.events)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}{root_path}", service
        finally:
            server.should_exit = True
            thread.join(timeout=10)


@contextlib.contextmanager
def served_with_runs(folder: Path, num_trials: Mapping[str, int]) -> Iterator[tuple[str, Service]]:
    """A service with finished runs of so many trials, in which nothing else can start."""
    (folder / "results").mkdir()
    for name, number in num_trials.items():
        finished_run(folder / "results" / name, num_trials=number)
    with served(folder) as (url, service):
        hold_all_cores(service)
        wait_until(lambda: len(service.supervisor.summaries.of) == len(num_trials))
        yield url, service


def hold_all_cores(service: Service, name: str = "busy") -> None:
    """A run that holds all cores for as long as this process lives, so that submitted runs wait and nothing trains."""
    this = psutil.Process()
    service.runs.store.add(
        RunEntry(
            name=name,
            owner="somebody",
            request={},
            arguments=(),
            num_gpus=0,
            cores=2,
            state=RunState.RUNNING,
            devices={"gpus": [], "cores": [0, 1]},
            pid=this.pid,
            process_start=this.create_time() - psutil.boot_time(),
        )
    )


def finished_run(folder: Path, *, num_trials: int = 6, **settings: Any) -> Run:
    """A run's folder as a search leaves it, with its record on disk and its page; nothing was trained."""
    run = make_run(folder, lambda study: add_trials(study, num_trials), **settings)
    add_finals(run, dict.fromkeys(finalist_numbers(run), (0.8,)))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.8})
    optuna.copy_study(
        from_study_name=run.study.name,
        from_storage=run.study.storage,
        to_storage=sqlite_url(folder / "study.db"),
        to_study_name=folder.name,
    )
    kept = Run.load(folder)
    write_report(kept)
    return kept


def wait_until(is_true: Any, timeout_s: float = 30.0) -> None:
    """Asks often."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
