"""The HTTP interface through the Python client, on a real server: runs that wait or have ended; nothing trains."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

import requests
from PIL import Image
from served import served, served_with_runs

from search import load_run
from search.errors import UserError
from search.service import Client
from search.service.context import Service

Server = tuple[str, Service]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served_with_runs(tmp_path_factory.mktemp("service"), {"done": 5, "other": 3, "third": 4}) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server[0])


def test_a_finished_run_has_the_tables_and_numbers_of_its_folder(client: Client, server: Server) -> None:
    run = load_run(server[1].runs.folders.run("done"))
    remote = client.wait("done", timeout_s=5)
    pd.testing.assert_frame_equal(remote.trials, run.trials)
    pd.testing.assert_frame_equal(remote.epochs, run.epochs)
    assert remote.view["state"] == "finished"
    assert run.result.winner is not None
    assert remote.view["test_result"] == remote.view["test_accuracy"] == run.result.winner.test.mean
    assert remote.view["curve"][-1] == pytest.approx(max(run.epochs["val_accuracy"]), abs=1e-4)
    csv = pd.read_csv(io.BytesIO(client.get("runs/done/trials", format="csv").content))
    assert list(csv["trial_number"]) == list(run.trials["trial_number"])


def test_a_page_tells_search_and_retraining_apart_and_offers_the_trials_left(server: Server) -> None:
    view = server[1].runs.view("done")
    assert view.num_started < view.num_trials
    page = requests.get(f"{server[0]}/runs/done", timeout=20).text
    assert "winner after retraining" in page
    assert f"in the search, trial {view.best_trial}" in page
    assert f'name="num_trials" inputmode="numeric" size="5" placeholder="5 or more" value="{view.num_trials}"' in page


def test_a_list_is_filtered_and_comes_in_pages(client: Client) -> None:
    assert {run["name"] for run in client.runs(state="finished")} == {"done", "other", "third"}
    assert [run["name"] for run in client.runs(text="OTH")] == ["other"]
    assert client.runs(owner="nobody") == []
    answer = client.get("runs", page_size=1, page=2).json()
    assert (answer["num_runs"], len(answer["runs"])) == (4, 1)


def test_a_run_is_submitted_waits_and_is_cancelled(client: Client) -> None:
    view = client.submit(run_name="waits", num_trials=3, cores=1)
    assert (view["state"], view["queue_position"], view["num_trials"]) == ("waiting", 1, 3)
    assert client.devices()["queue"] == ["waits"]
    with pytest.raises(UserError, match="only be cancelled"):
        client.control("waits", "pause")
    assert client.control("waits", "cancel")["state"] == "cancelled"
    assert client.control("waits", "continue")["state"] == "waiting"
    client.delete("waits")
    with pytest.raises(UserError, match="no such run"):
        client.run("waits")


def test_an_idempotency_key_submits_once(client: Client) -> None:
    first = client.submit(num_trials=3, run_name="once", idempotency_key="k")
    again = client.submit(num_trials=3, run_name="once", idempotency_key="k")
    assert first["name"] == again["name"] == "once"
    with pytest.raises(UserError, match="used for another run"):
        client.submit(num_trials=4, run_name="twice", idempotency_key="k")
    with pytest.raises(UserError, match="once already"):
        client.submit(run_name="once")
    client.delete("once")


@pytest.mark.parametrize(
    ("settings", "field", "words"),
    [
        ({"num_trials": 0}, "num_trials", "at least 1; got 0"),
        ({"num_trials": "many"}, "num_trials", "whole number; got 'many'"),
        ({"dataset": "/etc"}, None, "data set of this service; got '/etc'"),
        ({"dataset": "../results"}, None, "data set of this service"),
        ({"storage": "sqlite:////tmp/x.db"}, "storage", "may not be chosen"),
        ({"results_dir": "/tmp"}, "results_dir", "may not be chosen"),
        ({"data_dir": "/tmp"}, "data_dir", "may not be chosen"),
        ({"run_name": "../x"}, "run_name", "run_name"),
        ({"gpus": 1}, "gpus", "0 GPUs"),
        ({"cores": 99}, "cores", "2 CPU cores"),
        ({"grace_period": 30}, None, "at most `max_epochs`"),
    ],
)
def test_a_bad_setting_is_named_with_its_value(
    server: Server, settings: dict[str, Any], field: str | None, words: str
) -> None:
    answer = requests.post(f"{server[0]}/api/runs", json=settings, timeout=20)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error.get("field") == field
    assert words in error["message"]


def test_the_forms_example_of_a_search_space_is_accepted_and_kept(client: Client, server: Server) -> None:
    example = re.search("such as <code>(.+?)</code>", requests.get(f"{server[0]}/submit", timeout=20).text)
    assert example is not None
    space = f"{example[1]}\n"
    assert client.submit(run_name="spaced", space=space)["state"] == "waiting"
    runs = server[1].runs
    entry = runs.store.run("spaced")
    assert entry is not None
    assert f"--space={runs.folders.space('spaced')}" in entry.arguments
    assert runs.folders.space("spaced").read_text() == space
    client.delete("spaced")


def test_errors_in_the_search_space_name_their_lines(server: Server) -> None:
    space = 'flip = true\nlr = {kind = "log", low = 1}\nunknown = 3\n'
    errors = requests.post(f"{server[0]}/api/runs", json={"space": space}, timeout=20).json()["errors"]
    assert [(error["field"], error["line"]) for error in errors] == [("space", 2), ("space", 3)]
    [error] = requests.post(f"{server[0]}/api/runs", json={"space": "a = \n"}, timeout=20).json()["errors"]
    assert error["line"] == 1


@pytest.mark.parametrize(
    ("space", "line"),
    [
        ("flip = true\n[muon_lr]\nlow = 0.5\n", 2),
        ("flip = true\n\n[unknown]\nlow = 0.5\n", 3),
        ("[network]\nresidual = true\nunknown = 1\n", 3),
        ("flip = true\n[network.c1_kind]\nkind = 'lo'\n", 2),
        ("muon_lr_x = 1\n", 1),
        ("lr.kind = 'log'\nlr.low = 1\n", 1),
    ],
)
def test_an_entry_that_is_a_table_has_the_line_of_its_head(server: Server, space: str, line: int) -> None:
    [error] = requests.post(f"{server[0]}/api/runs", json={"space": space}, timeout=20).json()["errors"]
    assert (error["field"], error["line"]) == ("space", line)


def test_every_plain_setting_can_be_chosen_and_nothing_else(server: Server) -> None:
    fields = requests.get(f"{server[0]}/api/openapi.json", timeout=20).json()["components"]["schemas"]["RunRequest"]
    assert {"num_trials", "max_params", "seed", "gpus", "space", "dataset"} <= set(fields["properties"])
    closed = {"storage", "results_dir", "data_dir", "mlflow", "wandb"}
    assert closed.isdisjoint(fields["properties"])


def test_the_queue_can_be_reordered(client: Client) -> None:
    for name in ("first", "second"):
        client.submit(run_name=name)
    assert client.devices()["queue"] == ["first", "second"]
    client.prioritize("second", 5)
    assert client.devices()["queue"] == ["second", "first"]
    for name in ("first", "second"):
        client.delete(name)


def test_up_to_five_runs_are_compared(client: Client) -> None:
    comparison = client.compare(["done", "other", "third"])
    assert comparison["names"] == ["done", "other", "third"]
    assert len(comparison["verdicts"]) == 2
    rows = {row["name"]: row["values"] for row in comparison["sections"][0]["rows"]}
    views = [client.run(name) for name in comparison["names"]]
    assert rows["test accuracy"] == [f"{100 * view['test_accuracy']:.2f} %" for view in views]
    with pytest.raises(UserError, match="two to 5"):
        client.compare(["done"])


def test_files_are_fetched_by_name(client: Client) -> None:
    assert {"report.html", "space.toml"} <= set(client.get("runs/done/files").json())
    assert b"kind" in client.file("done", "space.toml")
    assert "<!doctype html>" in client.report("done")
    # Without it a browser ignores the report's link to its table.
    assert "sandbox allow-scripts allow-downloads;" in client.get("runs/done/report").headers["content-security-policy"]
    for name in ("run.toml", "study.db", "../other/space.toml", "run.lock"):
        with pytest.raises(UserError, match=r"no such|Not Found"):
            client.file("done", name)


def test_a_run_without_a_network_predicts_nothing_and_says_why(client: Client, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match="retrain"):
        client.predict("done", tmp_path / "x.png")


def test_events_come_when_a_run_changes(client: Client) -> None:
    client.submit(run_name="watched")
    events = client.events("watched")
    assert next(events)["state"] == "waiting"
    client.control("watched", "cancel")
    assert [view["state"] for view in events] == ["cancelled"]
    client.delete("watched")


def test_a_body_that_is_no_json_is_told_how_to_be_sent(server: Server) -> None:
    answer = requests.post(f"{server[0]}/api/runs", data='{"num_trials": 3}', timeout=20)
    assert "Content-Type: application/json" in answer.json()["errors"][0]["message"]


def test_metrics_count_runs_and_devices(server: Server) -> None:
    text = requests.get(f"{server[0]}/metrics", timeout=20).text
    assert 'convladder_runs{state="finished"} 3' in text
    assert 'convladder_devices{kind="cores",state="held"} 2' in text
    assert requests.get(f"{server[0]}/healthz", timeout=20).text == "ok"


def test_a_service_answers_below_a_path(tmp_path: Path) -> None:
    with served(tmp_path, root_path="/lab/search") as (url, _):
        page = requests.get(f"{url}/", timeout=20).text
        assert 'href="/lab/search/submit"' in page
        # A proxy may keep the path or leave it out.
        assert requests.get(f"{url.removesuffix('/lab/search')}/api/runs", timeout=20).json()["num_runs"] == 0
        assert Client(url).runs() == []


def test_two_services_on_one_folder_are_refused(server: Server) -> None:
    folder = server[1].runs.folders.results.parent
    with pytest.raises(UserError, match="another service works on"), served(folder):
        pass
