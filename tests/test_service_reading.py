"""What the service says of a run, from its record: epochs, time left and how it is steered."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

from fabricated_run import MAX_EPOCHS, SPACE, add_finals, add_retrains, add_trial, add_trials, make_run, record_epoch
from served import finished_run, hold_all_cores, served, wait_until

from search.analysis.results import Run
from search.schedulers.expected_epochs import expected_epochs
from search.service.access import Caller
from search.service.reading import summarize
from search.service.steering import steer
from search.study.record import RungDecision, TrialStatus
from search.study.study import EARLY_END_NOTE, RunStudy, open_study
from search.study.wishes import Wish, add_wish, answer_wish

EPOCH_S, NUM_SLOTS = 19.0, 2
RETRAINING_S = 3 * MAX_EPOCHS * EPOCH_S / NUM_SLOTS  # the winner and two baselines


def ask(study: RunStudy, **values: Any) -> None:
    answer_wish(study, add_wish(study, Wish(**values), by="anna").number)


def half_way(folder: Path, fill: Callable[[RunStudy], None] = lambda _study: None) -> Run:
    """A run with 4 of 20 trials."""

    def fill_both(study: RunStudy) -> None:
        add_trials(study, 4)
        fill(study)

    return make_run(folder / "run", fill_both)


def searching_s(run: Run) -> float:
    left = expected_epochs(run.settings, 20) - sum(len(record.scores) for record in run.records)
    return left * EPOCH_S / NUM_SLOTS


def test_the_time_left_is_that_of_the_epochs_left_side_by_side(tmp_path: Path) -> None:
    run = half_way(tmp_path)
    assert summarize(run)["seconds_left"] == pytest.approx(searching_s(run) + RETRAINING_S)


@pytest.mark.parametrize(("image_size", "share"), [(32, 1.0), (64, 2 / 3)])
def test_a_run_whose_images_do_not_suit_the_seed_config_has_one_baseline(
    tmp_path: Path, image_size: int, share: float
) -> None:
    run = half_way(tmp_path)
    data = run.document.data.model_copy(update={"image_size": image_size})
    run.document = run.document.model_copy(update={"data": data})
    assert summarize(run)["seconds_left"] == pytest.approx(searching_s(run) + share * RETRAINING_S)


@pytest.mark.parametrize(
    ("wishes", "seconds", "steering"),
    [
        ([{"action": "stop"}], RETRAINING_S, "search stopped by anna"),
        ([{"action": "stop"}, {"num_slots": 1}], 2 * RETRAINING_S, "search stopped by anna, 1 of 2 slots"),
        ([{"action": "pause"}], None, "paused by anna"),
    ],
)
def test_what_was_asked_counts(
    tmp_path: Path, wishes: list[dict[str, Any]], seconds: float | None, steering: str
) -> None:
    def fill(study: RunStudy) -> None:
        for wish in wishes:
            ask(study, **wish)

    summary = summarize(half_way(tmp_path, fill))
    assert summary["seconds_left"] == (None if seconds is None else pytest.approx(seconds))
    assert summary["steering"] == steering


def test_a_search_that_its_time_has_ended_has_only_retrainings_left(tmp_path: Path) -> None:
    run = half_way(tmp_path, lambda study: study.set_note(EARLY_END_NOTE, "time budget used up"))
    assert summarize(run)["seconds_left"] == pytest.approx(RETRAINING_S)


def test_what_came_too_late_is_not_called_done(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", num_trials=3)
    for action in ("pause", "stop", "continue"):
        add_wish(run.study, Wish(action=action), by="ada")
    answer_wish(run.study, 1)
    answer_wish(run.study, 2, is_done=False, text="the run has ended")
    answers = [wish["answer"] for wish in summarize(Run.load(run.run_dir))["wishes"]]
    assert answers == ["done", "not done: the run has ended", None]


def test_nothing_is_left_of_a_run_that_trained_all(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 4), num_trials=4)
    add_finals(run, {})
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.8, "default": 0.8})
    assert summarize(run)["seconds_left"] == 0


def test_epochs_that_a_longer_training_repeats_count_twice(tmp_path: Path) -> None:
    def fill(study: RunStudy) -> None:
        number = add_trial(study, SPACE.typical_config())
        for epoch in range(1, 8):
            record_epoch(study, number, epoch, 0.5, recorded_at=1e9 + epoch, worker="host:1")
        anew = RungDecision(epoch=3, score=0.5, cutoff=None, num_scores=1, is_stopped=False, next_epochs=9)
        study.record_rung(number, anew)
        study.finish(number, TrialStatus.FAILED, error="it fell")

    assert summarize(make_run(tmp_path / "run", fill))["epochs"] == 7 + 3


def test_only_a_run_that_goes_on_has_time_left_and_its_budget_ends_it(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    run = finished_run(tmp_path / "results" / "run", num_trials=3, time_budget_s=3600.0)
    assert summarize(run)["seconds_left"] > 200
    with served(tmp_path) as (_, service):
        wait_until(lambda: service.supervisor.summaries.of)
        assert service.runs.view("run").seconds_left is None
        hold_all_cores(service, "run")
        service.runs.store.change("run", started=time.time() - 3500)
        assert service.runs.view("run").seconds_left == pytest.approx(100, abs=5)


def test_a_run_that_was_paused_when_it_ended_goes_on_when_it_is_continued(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    folder = tmp_path / "results" / "run"
    made = make_run(folder, lambda study: add_trials(study, 3), results_dir=tmp_path / "results")
    study = open_study(made.settings, create=True)
    add_trials(study, 3)
    ask(study, action="pause")
    with served(tmp_path) as (_, service):
        hold_all_cores(service)
        wait_until(lambda: service.supervisor.summaries.of)
        steer(service.runs, "run", Wish(action="continue"), Caller("ben", "admin"))
        assert service.runs.view("run").state == "waiting"
        assert [(one.wish.action, one.by) for one in service.runs.load("run").wishes] == [
            ("pause", "anna"),
            ("continue", "ben"),
        ]
