"""Disks that are full, records that others hold, a clock that is set: a sentence each, and nothing lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

import requests
from faults import small_disk
from served import finished_run, hold_all_cores, served, wait_until

from search.errors import UserError
from search.service import Client, children, summaries
from search.service.queue import Devices
from search.service.serve import web_address


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Another program writes into a database, and does not end."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_a_locked_queue_is_read_on_and_writes_are_refused_until_it_is_free(tmp_path: Path) -> None:
    with served(tmp_path) as (url, service):
        hold_all_cores(service)
        client = Client(url)
        client.submit(run_name="first", cores=1)
        with held(service.runs.folders.own / "service.db"):
            start = time.monotonic()
            assert {run["name"] for run in client.runs()} == {"busy", "first"}
            assert time.monotonic() - start < 5
            with pytest.raises(UserError, match=r"cannot be used now \(database is locked\)"):
                client.submit(run_name="second", cores=1)
        assert client.submit(run_name="second", cores=1)["queue_position"] == 2


def test_a_locked_record_of_a_run_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    run_dir = finished_run(tmp_path / "results" / "mine", num_trials=3).run_dir
    with served(tmp_path) as (url, service):
        wait_until(lambda: service.supervisor.summaries.of)
        client = Client(url)
        with held(run_dir / "study.db"):
            assert client.run("mine")["num_started"] == 3
            with pytest.raises(UserError) as refusal:
                client.get("runs/mine/trials")
            assert "is in use by another program (database is locked)" in str(refusal.value)
            assert "damaged" not in str(refusal.value)
        assert len(client.get("runs/mine/trials").json()) == 3


def test_a_run_that_others_held_is_read_when_they_let_it_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "SCAN_INTERVAL_S", 0.2)
    (tmp_path / "results").mkdir()
    run_dir = finished_run(tmp_path / "results" / "mine", num_trials=3).run_dir
    with ExitStack() as stack:
        stack.enter_context(held(run_dir / "study.db"))
        url, service = stack.enter_context(served(tmp_path))
        wait_until(lambda: service.supervisor.summaries.of)
        assert "in use by another program" in Client(url).run("mine")["verdict"]
    with served(tmp_path) as (url, _):  # it has kept what it knew
        wait_until(lambda: Client(url).run("mine")["state"] == "finished")


def test_a_full_disk_refuses_what_writes_and_shows_the_rest(tmp_path: Path) -> None:
    with small_disk(tmp_path / "results", "2m"), served(tmp_path) as (url, service):
        hold_all_cores(service)
        client = Client(url)
        with pytest.raises(UserError, match="are free and the run may need"):
            client.submit(run_name="large", cores=1)
        ballast = tmp_path / "results" / "ballast"
        with suppress(OSError):
            ballast.write_bytes(bytes(4_000_000))
        kept, priorities, refusal = 0, iter(range(1, 1000)), ""
        while not refusal:  # the file of the database has room for some
            try:
                kept = client.prioritize("busy", next(priorities))["priority"]
            except UserError as error:
                refusal = str(error)
        assert refusal.startswith("the disk or the record cannot be used now (")
        assert client.run("busy")["priority"] == kept
        ballast.unlink()
        assert client.prioritize("busy", -1)["priority"] == -1


def test_a_clock_that_is_set_ends_no_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    exit_file = tmp_path / "r.exit"
    monkeypatch.setattr(children, "find_spec", lambda _name: type("Spec", (), {"origin": str(tmp_path / "sleep.py")}))
    (tmp_path / "sleep.py").write_text("import time; time.sleep(60)")
    pid, start = children.start([], Devices((), (0,)), log=tmp_path / "r.log", exit_file=exit_file, environment={})
    try:
        wait_until(lambda: children.find(exit_file))  # its command line is known once it has begun
        now = psutil.boot_time()
        for shift in (-3600.0, 3600.0):
            # A clock that is set moves the moment at which Linux says that it was started.
            monkeypatch.setattr(psutil, "boot_time", lambda shift=shift: now + shift)
            monkeypatch.setattr(psutil._pslinux, "boot_time", lambda shift=shift: now + shift)
            assert children.is_alive(pid, start, tmp_path)
            assert children.find(exit_file)["process_start"] == pytest.approx(start, abs=1.5)
        assert not children.is_alive(pid, start + 60, tmp_path), "another process has the number"
    finally:
        for process in (*psutil.Process(pid).children(), psutil.Process(pid)):
            process.kill()
    wait_until(lambda: not children.is_alive(pid, start, tmp_path))


def test_a_supervisor_that_has_ended_is_reported(tmp_path: Path) -> None:
    with served(tmp_path) as (url, service):
        assert requests.get(f"{url}/healthz", timeout=20).status_code == 200
        service.supervisor.stop()
        answer = requests.get(f"{url}/healthz", timeout=20)
        assert (answer.status_code, answer.text) == (503, "the supervisor is stuck")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_the_address_that_is_said_leads_to_the_service(host: str) -> None:
    parts = urlsplit(web_address(host, 8321))
    assert (parts.hostname, parts.port) == (host, 8321)


def serve(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """The command line with `serve`, to its end."""
    program = str(Path(__file__).parent.parent / "tune_main.py")
    command = [sys.executable, program, "serve", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_tokens_are_made_listed_and_removed(tmp_path: Path) -> None:
    token, note = serve(tmp_path, "token", "add", "ada").stdout.splitlines()
    assert len(token) > 40
    assert "you too" in note
    assert len(serve(tmp_path, "token", "add", "bob", "--role", "admin").stdout.splitlines()) == 1
    assert serve(tmp_path, "token", "list").stdout.splitlines() == ["ada (member)", "bob (admin)"]
    assert serve(tmp_path, "token", "remove", "ada").returncode == 0
    assert serve(tmp_path, "token", "list").stdout.splitlines() == ["bob (admin)"]
    for path in (tmp_path / "results" / ".service").iterdir():
        assert token.encode() not in path.read_bytes()


def test_of_an_address_of_another_machine_the_host_is_blamed(tmp_path: Path) -> None:
    serve(tmp_path, "token", "add", "bob", "--role", "admin")
    done = serve(tmp_path, "--host", "192.0.2.1")  # of a block that belongs to no machine
    assert done.returncode == 2
    assert "--host 192.0.2.1 --port 8321 cannot be had" in done.stderr
    assert "Give an address of this machine as --host." in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--host", "0.0.0.0"), "--host 0.0.0.0: other machines could use this service, so they need tokens."),
        (("--datasets-dir", "nosuch"), "nosuch is not a folder"),
        (("--port", "99999"), "--port 99999 cannot be had"),
        (("--cluster", "127.0.0.1:1"), "--cluster 127.0.0.1:1: 127.0.0.1:1 cannot be reached"),
        (("token", "add", "ada", "--role", "king"), "got 'king'"),
        (("token", "add", "a b"), "got 'a b'"),
        (("token", "lose"), "`serve token lose` is not known"),
    ],
)
def test_what_cannot_be_served_is_one_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = serve(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert message in line
