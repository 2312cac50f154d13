"""What the pages of runs show and offer, and what no link can make them say."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

import psutil
import requests
from served import finished_run, hold_all_cores, served, wait_until

from search.errors import UserError
from search.service import Client, children
from search.service.context import Service
from search.service.store import RunEntry, RunState
from search.setup.control import control
from search.setup.document import read_document
from search.setup.run_folder import RunFolder
from search.setup.run_lock import run_lock
from search.study.wishes import Wish

NUM_TRIALS = 5


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[str, Service]]:
    """A service with the run `done`, which has as many trials as it was asked for, none of them cut off."""
    (tmp_path / "results").mkdir()
    run_dir = finished_run(tmp_path / "results" / "done", num_trials=NUM_TRIALS).run_dir
    document = read_document(run_dir)
    RunFolder(run_dir).write_settings(document.settings.changed(num_trials=NUM_TRIALS), document.data)
    with served(tmp_path) as (url, service):
        hold_all_cores(service)
        wait_until(lambda: "done" in service.supervisor.summaries.of)
        assert "interrupted" not in service.supervisor.summaries.of["done"]["trials"]
        yield url, service


def page(address: str) -> str:
    answer = requests.get(address, timeout=20)
    answer.raise_for_status()
    return answer.text


def test_the_page_of_a_finished_run_offers_more_trials(lab: tuple[str, Service]) -> None:
    text = page(f"{lab[0]}/runs/done")
    assert "train more trials" in text
    assert f'placeholder="{NUM_TRIALS} or more"' in text


def test_a_problem_is_told_once_and_by_no_link(lab: tuple[str, Service]) -> None:
    url, _ = lab
    assert "mail your token" not in page(f"{url}/runs/done?error=mail+your+token&flash=mail+your+token")
    answer = requests.post(f"{url}/runs/done/control", data={"action": "pause"}, timeout=20)
    assert answer.status_code == 200
    assert "only be given more trials" in answer.text
    assert "only be given more trials" not in page(answer.url)


@pytest.mark.parametrize("trials", ["-3", "2"])
def test_a_page_says_which_numbers_of_trials_are_too_low(lab: tuple[str, Service], trials: str) -> None:
    answer = requests.post(f"{lab[0]}/runs/done/control", data={"num_trials": trials}, timeout=20)
    expected = "this run has 5 trials already" if trials == "2" else "at least 1"
    assert expected in answer.text


def test_more_trials_that_were_taken_back_are_forgotten(lab: tuple[str, Service]) -> None:
    client = Client(lab[0])
    waiting = client.control("done", num_trials=NUM_TRIALS + 2)
    assert (waiting["state"], waiting["num_trials"]) == ("waiting", NUM_TRIALS + 2)
    over = client.control("done", "cancel")
    assert (over["state"], over["num_trials"], over["last_line"]) == ("finished", NUM_TRIALS, "")
    with pytest.raises(UserError, match="'continue' is not possible"):
        client.control("done", "continue")


def test_more_trials_are_recorded_as_asked_by_who_asked(
    lab: tuple[str, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, service = lab
    service.runs.store.add(RunEntry(name="hers", owner="ada", request={}, arguments=(), num_gpus=0, cores=1))
    service.runs.store.change("hers", state=RunState.FINISHED)
    finished_run(service.runs.folders.run("hers"), num_trials=3)
    wait_until(lambda: "hers" in service.supervisor.summaries.of)
    asker = Client(url).control("hers", num_trials=4)["owner"], getpass.getuser()
    entry = service.runs.store.run("hers")
    assert entry is not None
    for name, value in service.supervisor._notifier.environment(entry).items():
        monkeypatch.setenv(name, value)
    run_dir = service.runs.folders.run("hers")
    with run_lock(run_dir):
        asked = control(run_dir, Wish(num_trials=4))  # as the resumed process does
    assert ("ada", asked.by) == asker


def test_a_name_that_is_taken_is_the_fields_problem(lab: tuple[str, Service]) -> None:
    answer = requests.post(f"{lab[0]}/api/runs", json={"run_name": "done"}, timeout=20)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (409, "run_name")
    assert "--" not in error["message"]


def test_an_unknown_run_is_named(lab: tuple[str, Service]) -> None:
    with pytest.raises(UserError, match="no run nowhere"):
        Client(lab[0]).compare(["done", "nowhere"])


def test_uploads_are_offered_only_where_they_are_possible(
    lab: tuple[str, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, service = lab
    assert "data-upload" in page(f"{url}/datasets")
    assert "upload another" in page(f"{url}/submit")
    monkeypatch.setattr(service.data_sets, "_folder", None)
    assert "data-upload" not in page(f"{url}/datasets")
    assert "--datasets-dir" in page(f"{url}/datasets")
    assert "upload another" not in page(f"{url}/submit")


def test_a_refused_priority_is_shown_in_the_open(lab: tuple[str, Service]) -> None:
    answer = requests.post(f"{lab[0]}/submit", data={"priority": "5000"}, timeout=20)
    assert answer.status_code == 422
    assert '<details class="panel" open>' in answer.text
    assert "1000" in answer.text


def test_a_resumed_run_that_has_not_locked_its_folder_can_be_cancelled(
    lab: tuple[str, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, service = lab
    interrupted: list[int] = []
    monkeypatch.setattr(children, "interrupt", interrupted.append)
    client = Client(url)
    client.control("done", num_trials=NUM_TRIALS + 1)
    this = psutil.Process()
    start = this.create_time() - psutil.boot_time()
    service.runs.store.change("done", state=RunState.RUNNING, pid=this.pid, process_start=start)
    with pytest.raises(UserError, match="only just started"):
        client.control("done", "pause")
    client.control("done", "cancel")
    assert interrupted == [this.pid]


def test_buttons_move_a_run_by_one_place(lab: tuple[str, Service]) -> None:
    url, service = lab
    client = Client(url)
    for name, priority in (("a", 5), ("b", 0), ("c", 0)):
        client.submit(run_name=name, priority=priority)

    def press(name: str, step: str) -> list[str]:
        requests.post(f"{url}/runs/{name}/priority", data={"step": step}, timeout=20).raise_for_status()
        return [entry.name for entry in service.supervisor.queue()]

    assert press("b", "sooner") == ["b", "a", "c"]
    assert press("b", "sooner") == ["b", "a", "c"]
    assert press("a", "later") == ["b", "c", "a"]
    assert press("c", "later") == ["b", "a", "c"]
