"""What is asked of a run while it starts, waits or is removed: nothing starts twice, and nothing asked for is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

import requests
from served import finished_run, served, wait_until

from search.errors import UserError
from search.service import Client, children
from search.service.context import Service
from search.service.queue import Devices
from search.service.store import RunState
from search.setup.run_lock import run_lock

Started = list[list[str]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The command line of each run that the service starts; what lives in its place is this process."""
    commands: Started = []
    this = psutil.Process()

    def start(words: list[str], *_: object, **_more: object) -> tuple[int, float]:
        commands.append(words)
        return this.pid, this.create_time() - psutil.boot_time()

    monkeypatch.setattr(children, "start", start)
    return commands


@pytest.fixture
def lab(tmp_path: Path, started: Started) -> Iterator[tuple[Client, Service]]:
    """A service in which `busy` goes on and `waits` waits for its cores."""
    (tmp_path / "results").mkdir()
    (tmp_path / "datasets" / "mine").mkdir(parents=True)
    with served(tmp_path) as (url, service):
        client = Client(url)
        client.submit(run_name="busy", cores=2)
        wait_until(lambda: started)
        assert client.submit(run_name="waits", num_trials=3)["state"] == "waiting"
        yield client, service


def test_a_run_that_starts_while_it_is_cancelled_stays_the_services(
    lab: tuple[Client, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, service = lab
    monkeypatch.setattr(
        service.runs, "check_owner", lambda *_: service.runs.store.change("waits", state=RunState.RUNNING)
    )
    with pytest.raises(UserError, match="just started"):
        client.control("waits", "cancel")
    assert client.run("waits")["state"] == "running"


def test_a_run_that_starts_while_it_is_removed_stays(
    lab: tuple[Client, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, service = lab

    def start_meanwhile(_name: str) -> bool:
        service.runs.store.change("waits", state=RunState.RUNNING)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(service.supervisor, "is_running", start_meanwhile)
        with pytest.raises(UserError, match="goes on"):
            client.delete("waits")
    assert client.run("waits")["state"] == "running"


def test_a_run_that_was_taken_from_the_queue_does_not_start(lab: tuple[Client, Service], started: Started) -> None:
    client, service = lab
    [seen] = service.supervisor.queue()
    client.control("waits", "cancel")
    service.supervisor._start(seen, Devices((), (0, 1)))
    assert (len(started), client.run("waits")["state"]) == (1, "cancelled")
    client.delete("waits")
    service.supervisor._start(seen, Devices((), (0, 1)))
    assert len(started) == 1


def test_more_trials_before_the_first_start_are_trained(lab: tuple[Client, Service], started: Started) -> None:
    client, service = lab
    client.control("waits", "cancel")
    client.control("waits", num_trials=7)
    service.runs.store.change("busy", state=RunState.FINISHED, devices={})
    service.supervisor.wake()
    wait_until(lambda: len(started) == 2)
    assert [word for word in started[1] if word.startswith("--trials=")][-1] == "--trials=7"


def test_a_wish_for_trials_is_not_undone_by_an_earlier_one(lab: tuple[Client, Service]) -> None:
    client, service = lab
    run_dir = finished_run(service.runs.folders.run("busy"), num_trials=3).run_dir
    service.runs.store.change("busy", num_trials=4)  # with which it was started
    with run_lock(run_dir):
        client.control("busy", num_trials=9)
    entry = service.runs.store.run("busy")
    assert entry is not None
    assert entry.num_trials is None, "a resume would end the run with 4"


def test_a_run_from_elsewhere_is_queued_with_all_that_was_asked(lab: tuple[Client, Service]) -> None:
    client, service = lab
    finished_run(service.runs.folders.run("theirs"), num_trials=3)
    wait_until(lambda: "theirs" in service.supervisor.summaries.of)
    seen = []
    add = service.runs.store.add
    service.runs.store.add = lambda entry: seen.append(entry) or add(entry)  # type: ignore[method-assign,func-returns-value]
    client.control("theirs", num_trials=5)
    assert [(entry.name, entry.num_trials) for entry in seen] == [("theirs", 5)], "it may start at once"


def test_a_run_that_can_never_start_says_why(lab: tuple[Client, Service]) -> None:
    client, service = lab
    service.runs.store.change("waits", num_gpus=4)  # as after a start with fewer visible
    assert client.run("waits")["shortage"] == "needs 4 GPUs, and there are 0"
    for page in ("runs/waits", "devices"):
        assert "needs 4 GPUs, and there are 0" in requests.get(f"{client._url}/{page}", timeout=20).text
    assert client.run("busy")["shortage"] == ""


def test_whoever_watches_a_run_that_is_removed_is_sent_no_more(lab: tuple[Client, Service]) -> None:
    client, _ = lab
    events = client.events("waits")
    assert next(events)["state"] == "waiting"
    client.delete("waits")
    with pytest.raises(UserError, match="no such run"):
        next(events)


def test_what_was_asked_for_as_nothing_in_particular_is_a_default(lab: tuple[Client, Service]) -> None:
    client, service = lab
    client.submit(run_name="plain", time_budget_s=None, space=None, cores=None, image_size=None, num_trials=3)
    entry = service.runs.store.run("plain")
    assert entry is not None
    assert entry.request == {"run_name": "plain", "num_trials": 3}
    page = requests.get(f"{client._url}/submit?like=plain", timeout=20)
    assert (page.status_code, "None" in page.text) == (200, False)


def test_a_search_on_a_data_set_names_it(lab: tuple[Client, Service]) -> None:
    client, _ = lab
    assert 'href="/submit?dataset=mine"' in requests.get(f"{client._url}/datasets", timeout=20).text
    form = requests.get(f"{client._url}/submit?dataset=mine", timeout=20).text
    assert 'name="dataset" list="datasets" value="mine"' in form
