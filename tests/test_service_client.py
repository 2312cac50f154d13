"""The Python client: mistakes are one line, and a service that goes away for a while is asked again."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

from served import hold_all_cores, served, served_with_runs, wait_until

from search.errors import UserError
from search.service import Client, asking, guard
from search.service.context import Service

Server = tuple[str, Service]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served_with_runs(tmp_path_factory.mktemp("service"), {"done": 3}) as server:
        yield server


class Line:
    """A line to a service that can be cut and led to another one, as while a service is started again."""

    def __init__(self) -> None:
        self.target: int | None = None
        self.num_refused = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def lead_to(self, url: str) -> None:
        self.target = int(url.rsplit(":", 1)[1])

    def cut(self) -> None:
        self.target = None
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            ours, _ = self._listening.accept()
            if self.target is None:
                self.num_refused += 1
                ours.close()
                continue
            theirs = socket.create_connection(("127.0.0.1", self.target))
            self._open += [ours, theirs]
            for source, sink in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_RDWR)


def restarted_while(ask: Callable[[Client], None], folder: Path) -> None:
    """Asks through a line that is cut while it does, and that leads to a new service later, where the run is over."""
    line = Line()
    with served(folder) as (url, service):
        hold_all_cores(service)
        line.lead_to(url)
        client = Client(line.url)
        client.submit(run_name="mine", cores=1)
        asked = threading.Thread(target=ask, args=(client,), daemon=True)
        asked.start()
        time.sleep(0.5)  # it is in the middle of asking, or a little before
        line.cut()
    wait_until(lambda: line.num_refused > 1)
    with served(folder) as (url, _):
        Client(url).control("mine", "cancel")
        line.lead_to(url)
        asked.join(timeout=20)
        assert not asked.is_alive()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little time between attempts."""
    monkeypatch.setattr(asking.Unavailable.__init__, "__defaults__", (0.1,))
    monkeypatch.setattr("search.service.client.POLL_S", 0.1)


@pytest.mark.usefixtures("hasty")
def test_waiting_goes_on_when_the_service_is_started_again(tmp_path: Path) -> None:
    found: list[str] = []
    restarted_while(lambda client: found.append(client.wait("mine").view["state"]), tmp_path)
    assert found == ["cancelled"]


@pytest.mark.usefixtures("hasty")
def test_events_go_on_when_the_service_is_started_again(tmp_path: Path) -> None:
    found: list[str] = []
    restarted_while(lambda client: found.extend(view["state"] for view in client.events("mine")), tmp_path)
    assert found == ["waiting", "cancelled"]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("ask", [lambda client: client.wait("mine"), lambda client: list(client.events("mine"))])
def test_a_service_that_stays_away_is_given_up(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[Client], object]
) -> None:
    monkeypatch.setattr(asking, "PATIENCE_S", 0.5)
    line = Line()
    with pytest.raises(UserError, match="does not answer"):
        ask(Client(line.url))
    assert line.num_refused > 2


def test_waiting_goes_on_after_too_many_requests(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(server[0])
    monkeypatch.setattr(guard, "BURST", 1.0)
    monkeypatch.setattr(guard, "RATE", 2.0)
    refusals = []
    for _ in range(5):
        try:
            client.run("done")
        except UserError as refusal:
            refusals.append(str(refusal))
    assert "too many requests" in refusals[-1]
    assert client.wait("done").view["state"] == "finished"


def test_a_watched_run_that_is_removed_ends_the_events(server: Server) -> None:
    client = Client(server[0])
    client.submit(run_name="removed", cores=1)
    events = client.events("removed")
    assert next(events)["state"] == "waiting"
    client.delete("removed")
    with pytest.raises(UserError, match=r"no such run|no run removed"):
        list(events)


def test_numbers_of_numpy_are_numbers(server: Server) -> None:
    client = Client(server[0])
    wanted: dict[str, Any] = {"num_trials": np.int64(3), "cores": np.int32(1), "time_budget_s": np.float32(60)}
    client.submit(run_name="numpy", **wanted)
    entry = server[1].runs.store.run("numpy")
    assert entry is not None
    assert entry.request == {"run_name": "numpy", "num_trials": 3, "cores": 1, "time_budget_s": 60.0}
    client.delete("numpy")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("time_budget_s", float("nan"), "nan"), ("time_budget_s", np.inf, "inf"), ("space", Path("x.toml"), "x.toml")],
)
def test_a_value_that_json_lacks_is_named(server: Server, name: str, value: Any, shown: str) -> None:
    with pytest.raises(UserError, match=rf"`{name}`.*{shown}"):
        Client(server[0]).submit(**{name: value})


@pytest.mark.parametrize("url", ["127.0.0.1:8321", "localhost:8321", "ftp://lab.example", ""])
def test_an_address_without_http_is_the_callers(url: str) -> None:
    with pytest.raises(UserError, match=rf"`url` must begin with http.*got '{url}'"):
        Client(url)


def test_an_address_that_ends_in_api_is_told_so(server: Server) -> None:
    with pytest.raises(UserError, match="without /api"):
        Client(f"{server[0]}/api").runs()


@pytest.mark.parametrize("token", ["", " ", "a\nb", "a b", "t\u00f6ken"])
def test_a_token_that_no_header_can_hold_is_the_callers(token: str) -> None:
    with pytest.raises(UserError, match="`token` must be the one line") as refusal:
        Client("http://127.0.0.1:8321", token)
    assert not token.strip() or token not in str(refusal.value)


def test_a_token_is_taken_with_the_end_of_its_line(tmp_path: Path) -> None:
    with served(tmp_path, needs_tokens=True) as (url, service):
        token = service.access.add_token("ada", "viewer")
        assert Client(url, f" {token}\n").runs() == []


@pytest.mark.parametrize("key", ["a\nb", "\u2713"])
def test_a_key_that_no_header_can_hold_is_the_callers(server: Server, key: str) -> None:
    with pytest.raises(UserError, match="cannot be sent"):
        Client(server[0]).submit(idempotency_key=key)


@pytest.mark.parametrize("name", ["", ".", ".."])
@pytest.mark.parametrize("verb", ["run", "wait", "delete", "report"])
def test_a_name_that_leads_to_another_address_is_refused(server: Server, verb: str, name: str) -> None:
    with pytest.raises(UserError, match=rf"a name must not be empty.*got '{name}'"):
        getattr(Client(server[0]), verb)(name)


@pytest.mark.parametrize("verb", ["predict", "upload"])
def test_a_file_that_is_missing_is_named(server: Server, tmp_path: Path, verb: str) -> None:
    with pytest.raises(UserError, match=r"missing\.zip cannot be read \(No such file"):
        getattr(Client(server[0]), verb)("done", tmp_path / "missing.zip")


def test_a_filter_that_is_not_known_is_not_ignored(server: Server) -> None:
    with pytest.raises(TypeError, match="ownr"):
        Client(server[0]).runs(ownr="ada")  # type: ignore[call-arg]
    assert [run["name"] for run in Client(server[0]).runs(text="DO", page=1, page_size=1)] == ["done"]
