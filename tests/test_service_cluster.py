"""Runs of the service on a Ray cluster: what is free there, and that a run starts when it fits, not before."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

from faults import PATIENCE_S, REPOSITORY, wait_until
from namespaces import HEAD, Node, ray_nodes, why_not
from tiny_space import TINY

import search.service.cluster
from search import load_run
from search.errors import UserError
from search.notify import Messenger
from search.service.cluster import Cluster
from search.service.notifier import Notifier
from search.service.queue import Devices
from search.service.store import RunEntry, RunState, Store
from search.service.submission import Folders
from search.service.supervisor import Supervisor

Room = tuple[list[float], list[float]]


def entry(**request: Any) -> RunEntry:
    return RunEntry(
        name="r", owner="ada", request=request, arguments=(), num_gpus=request.get("gpus", 0), cores=request["cores"]
    )


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Room]:
    """What a cluster answers, one after the other; then nothing."""
    given: list[Room] = []

    def answer(address: str) -> Room:
        if not given:
            raise UserError(f"--cluster {address}: no answer.")
        return given.pop(0)

    monkeypatch.setattr(search.service.cluster, "cluster_room", answer)
    monkeypatch.setattr(search.service.cluster, "cluster_problems", lambda _settings: [])
    monkeypatch.setattr(search.service.cluster, "LOOK_INTERVAL_S", 0.0)
    return given


def test_free_is_what_neither_the_services_runs_nor_others_use(answers: list[Room]) -> None:
    answers += [([8.0, 4.0], [8.0, 4.0]), ([16.0, 4.0], [3.0, 1.5])]
    cluster = Cluster("head:6379")
    unheld = Devices(("2", "3"), (4, 5, 6, 7))
    assert cluster.fitting(unheld) == unheld
    cluster.look()
    assert (len(cluster.total.cores), len(cluster.total.gpus)) == (16, 4), "a node has joined"
    assert cluster.fitting(unheld) == Devices(("2",), (4, 5, 6))
    with pytest.raises(UserError):
        cluster.look()
    assert cluster.fitting(unheld) == Devices((), ()), "nothing starts on a cluster that does not answer"
    assert len(cluster.total.cores) == 16


@pytest.mark.parametrize(
    ("request_", "is_new", "more"),
    [
        ({"cores": 4}, True, ["--cpus-per-trial=1", "--workers=4"]),
        ({"cores": 4, "cpus_per_trial": 2}, True, ["--cpus-per-trial=2", "--workers=2"]),
        ({"cores": 4, "workers": 3}, True, []),
        ({"cores": 4, "gpus": 1}, True, []),
        ({"cores": 4}, False, []),
    ],
)
def test_a_run_keeps_within_its_part(
    answers: list[Room], request_: dict[str, Any], is_new: bool, more: list[str]
) -> None:
    answers.append(([8.0, 4.0], [8.0, 4.0]))
    words = Cluster("head:6379").words(entry(**request_), is_new=is_new)
    assert list(words) == ["--cluster=head:6379", *more]


def test_a_cluster_that_has_lost_all_nodes_stops_no_supervisor(answers: list[Room], tmp_path: Path) -> None:
    answers.append(([0.0, 0.0], [0.0, 0.0]))
    folders = Folders(tmp_path, None)
    folders.own.mkdir()
    this = psutil.Process()
    with contextlib.closing(Store(folders.own / "service.db")) as store:
        notifier = Notifier(Messenger(None, print), "")
        supervisor = Supervisor(store, folders, Cluster("head:6379"), on_change=lambda: None, notifier=notifier)
        start = this.create_time() - psutil.boot_time()
        store.add(replace(entry(cores=1), state=RunState.RUNNING, pid=this.pid, process_start=start))
        supervisor.tick()
        assert supervisor.usage() == {"ada": 0.0}


BODY = {
    "dataset": "digits", "image_size": 16, "space": TINY, "baseline": False, "num_trials": 2, "max_epochs": 2,
    "grace_period": 1, "reduction_factor": 2, "precision": "fp32", "max_params": 50_000, "cores": 1,
}  # fmt: skip


def asked(node: Node, url: str, body: dict[str, Any] | None = None) -> Any:
    """The service's answer to a request from inside a node."""
    program = (
        "import json, sys, requests; url, body = sys.argv[1:]; "
        "answer = requests.post(url, json=json.loads(body)) if body else requests.get(url); print(answer.text)"
    )
    done = node.run(sys.executable, "-c", program, url, json.dumps(body) if body else "")
    return json.loads(done.stdout.splitlines()[-1])


def needs_namespaces(test: Callable[[], None]) -> Callable[[], None]:
    missing = why_not()
    for mark in (
        pytest.mark.cluster,
        pytest.mark.timeout(1500),
        pytest.mark.skipif(missing is not None, reason=str(missing)),
    ):
        test = mark(test)
    return test


@contextlib.contextmanager
def serving(cpus: Sequence[int]) -> Iterator[tuple[Node, str]]:
    """The head of a cluster whose nodes have so many CPUs for trials, and the service there: the start of its URLs."""
    with ray_nodes(cpus) as nodes:
        head = nodes.nodes[0]
        words = ("serve", "--cluster", HEAD, "--port", 0)
        command = head.command(sys.executable, REPOSITORY / "tune_main.py", *words)
        service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert service.stdout is not None
            yield head, service.stdout.readline().split()[-1] + "api/"
        finally:
            head.kill(text="tune_main.py")
            service.communicate()


@needs_namespaces
def test_runs_wait_until_they_fit_and_train_on_other_nodes() -> None:
    with serving([0, 1]) as (head, url):
        for name in ("first", "second"):
            assert "errors" not in asked(head, url + "runs", {**BODY, "run_name": name})
        wait_until(lambda: asked(head, url + "runs/first")["state"] == "running")
        assert asked(head, url + "devices")["cores"] == [0]
        assert asked(head, url + "runs/second")["queue_position"] == 1
        wait_until(lambda: asked(head, url + "runs/second")["state"] == "finished", 2 * PATIENCE_S)
        first, second = (asked(head, f"{url}runs/{name}") for name in ("first", "second"))
        assert first["state"] == "finished"
        assert second["started"] >= first["ended"]
        for name in ("first", "second"):
            run = load_run(head.folder / "results" / name)
            workers = {one["worker"].partition(":")[0] for rec in run.records for one in rec.epoch_metrics.values()}
            assert workers == {"node-2"}
            assert run.result.winner is not None


@needs_namespaces
def test_what_a_long_run_gives_back_goes_to_the_next() -> None:
    with serving([0, 1, 1]) as (head, url):
        asked(head, url + "runs", {**BODY, "run_name": "long", "cores": 2, "cpus_per_trial": 1, "num_trials": 5000})
        asked(head, url + "runs", {**BODY, "run_name": "short"})
        wait_until(lambda: asked(head, url + "runs/long")["num_started"] > 3)
        assert asked(head, url + "runs/short")["state"] == "waiting"
        asked(head, url + "runs/long/control", {"num_slots": 1})
        wait_until(lambda: asked(head, url + "runs/short")["state"] == "finished", 2 * PATIENCE_S)
        assert asked(head, url + "runs/long")["state"] == "running"
        asked(head, url + "runs/long/control", {"action": "stop"})
        wait_until(lambda: asked(head, url + "runs/long")["state"] == "finished", 2 * PATIENCE_S)
        for name in ("long", "short"):
            run = load_run(head.folder / "results" / name)
            assert run.result.winner is not None
            assert all(record.error is None for record in run.records)
