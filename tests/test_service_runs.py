"""One run in a service: it grows, takes up wishes, answers images; what cannot be read is said."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

import requests
from fabricated_run import add_trials, make_run
from PIL import Image
from retrained_run import make_retrained_run
from served import finished_run, hold_all_cores, served, wait_until

from model.config import SEED_CONFIG
from search import load_run
from search.analysis.results import Run
from search.errors import UserError
from search.paths import sqlite_url
from search.report.page import write_report
from search.service import Client, summaries
from search.service.store import RunState
from search.setup.run_lock import run_lock
from search.study.record import NewTrial
from search.study.study import RunStudy, open_study


def test_a_run_that_goes_on_is_followed_as_its_record_grows(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    run = finished_run(tmp_path / "results" / "grows", num_trials=3)
    with served(tmp_path) as (url, service):
        hold_all_cores(service, "grows")
        client = Client(url)
        wait_until(lambda: client.run("grows")["num_started"] == 3)
        epochs = client.run("grows")["epochs"]
        study = open_study(run.settings.changed(results_dir=tmp_path / "results"), create=False)
        number = study.add_trial(NewTrial(config={}, seed=1))
        for epoch in (1, 2):
            study.record_epoch(number, epoch=epoch, score=0.5, metrics={})
            wait_until(lambda so_far=epochs + epoch: client.run("grows")["epochs"] == so_far)
        assert client.run("grows")["num_started"] == 4


def test_a_run_whose_record_is_elsewhere_is_followed_as_its_report_is_written(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    run_dir, url_of_record = tmp_path / "results" / "grows", sqlite_url(tmp_path / "elsewhere.db")
    make_run(run_dir, lambda _study: None, storage=url_of_record)
    study = RunStudy.in_database(url_of_record, "grows")
    add_trials(study, 2)
    with served(tmp_path) as (url, service):
        hold_all_cores(service, "grows")
        wait_until(lambda: Client(url).run("grows")["num_started"] == 2)
        study.add_trial(NewTrial(config=SEED_CONFIG.flat(), seed=1))
        write_report(Run.load(run_dir), is_running=True)
        wait_until(lambda: Client(url).run("grows")["num_started"] == 3, timeout_s=15)


def test_a_wish_to_a_run_that_goes_on_is_in_its_record(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    run_dir = finished_run(tmp_path / "results" / "grows", num_trials=3).run_dir
    with served(tmp_path) as (url, service), run_lock(run_dir):
        hold_all_cores(service, "grows")
        view = Client(url).control("grows", "pause", num_trials=9)
        wait_until(lambda: Client(url).run("grows")["wishes"])
    [asked] = load_run(run_dir).wishes
    assert (asked.wish.words, asked.by, view["state"]) == ("9 trials, pause", getpass.getuser(), "running")


def test_a_network_answers_an_image(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    run = make_retrained_run(tmp_path / "results" / "trained")
    image = tmp_path / "one.png"
    Image.new("L", (8, 8), 200).save(image)
    with served(tmp_path) as (url, service):
        wait_until(lambda: service.supervisor.summaries.of)
        answer = Client(url).predict("trained", image)
        with pytest.raises(UserError, match="the body cannot be read as an image"):
            Client(url).predict("trained", Path(__file__))
    assert list(answer) == list(run.class_names)
    assert list(answer.values()) == pytest.approx(list(run.predict([image])[0]))


def test_a_run_of_another_version_is_unreadable_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "results" / "old").mkdir(parents=True)
    (tmp_path / "results" / "old" / "run.toml").write_text('created = "2025-01-01"\n')
    with served(tmp_path) as (url, service):
        wait_until(lambda: service.supervisor.summaries.of)
        view = Client(url).run("old")
        assert view["state"] == "unreadable"
        assert "another version" in view["verdict"]
        assert "another version" in requests.get(f"{url}/runs/old", timeout=20).text


def test_a_run_that_has_finished_is_given_more_trials_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    finished_run(tmp_path / "results" / "done", num_trials=3)
    with served(tmp_path) as (url, service):
        hold_all_cores(service)
        wait_until(lambda: service.supervisor.summaries.of)
        client = Client(url)
        for action in ("continue", "pause", "stop", "cancel"):
            with pytest.raises(UserError, match="more trials"):
                client.control("done", action)
        with pytest.raises(UserError, match="3 trials already"):
            client.control("done", num_trials=2)
        assert client.control("done", num_trials=4)["state"] == "waiting"
        assert client.control("done", "cancel")["state"] == "finished"


@pytest.mark.parametrize("is_the_services", [False, True])
def test_a_finished_run_that_a_shell_extends_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_the_services: bool
) -> None:
    monkeypatch.setattr(summaries, "SCAN_INTERVAL_S", 0.2)
    (tmp_path / "results").mkdir()
    run_dir = finished_run(tmp_path / "results" / "done", num_trials=3).run_dir
    with served(tmp_path) as (url, service):
        if is_the_services:
            hold_all_cores(service, "done")
            service.runs.store.change("done", state=RunState.FINISHED, devices={}, pid=None)
        client = Client(url)
        wait_until(lambda: service.supervisor.summaries.of)
        assert client.run("done")["state"] == "finished"
        with run_lock(run_dir):
            wait_until(lambda: client.run("done")["state"] == "running", timeout_s=10)
            seen = service.supervisor.summaries.versions["done"]
        wait_until(lambda: service.supervisor.summaries.versions["done"] > seen)  # whoever watches is told
        assert client.run("done")["state"] == "finished"
