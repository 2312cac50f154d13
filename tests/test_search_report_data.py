"""What the report says of a run: verdict, intervals, costs, stops, workers, the winner's place in the space."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from fabricated_run import (
    MAX_EPOCHS,
    RUNGS,
    SPACE,
    add_finals,
    add_retrains,
    add_trial,
    add_trials,
    finalist_numbers,
    make_run,
    record_epoch,
)

from model.config import SEED_CONFIG
from search.analysis.results import load_run
from search.estimates import proportion_interval
from search.report.data import report_data
from search.report.trials import worker_spans
from search.report.winner import position_in
from search.study.record import TrialStatus
from search.study.study import RunStudy


def test_a_finished_run_tells_accuracy_gain_and_interval(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.6})
    data = report_data(run)
    winner, [seed], [gain] = data.result.winner, data.result.references, data.result.gains
    assert winner is not None
    assert data.state == "finished"
    assert winner.test.n == 1
    assert winner.images_interval == proportion_interval(round(winner.test.mean * 400), 400)
    assert gain.difference.value == pytest.approx(winner.test.mean - seed.test.mean)
    assert gain.difference.is_clear
    assert not gain.is_over_seeds
    points = f"{100 * gain.difference.value:.2f} points more than the seed config."
    assert data.result.verdict.endswith(points)


def test_several_seeds_give_students_interval(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 4))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.6}, num_seeds=3)
    result = report_data(run).result
    assert result.winner is not None
    assert (result.winner.test.n, result.winner.images_interval) == (3, None)
    assert result.winner.test.low is not None
    assert result.gains[0].is_over_seeds


@pytest.mark.parametrize(
    ("winner", "seed", "words"),
    [
        (0.5, 0.9, "The search did not beat the seed config: its choice gets"),
        (0.80, 0.79, "more than the seed config (which may be chance)."),
        (1.0, 1.0, "The search did not beat the seed config: both get 100.00 %"),
    ],
)
def test_the_verdict_admits_a_search_that_was_not_worth_it(
    tmp_path: Path, winner: float, seed: float, words: str
) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 4))
    add_retrains(run, accuracies={"winner": winner, "seed": seed})
    assert words in report_data(run).result.verdict


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ({"winner": 0.5, "seed": 0.9, "default": 0.1}, "The search did not beat the seed config: its choice gets"),
        ({"winner": 0.5, "seed": 0.1, "default": 0.9}, "The search did not beat the space's default: its choice gets"),
        (
            {"winner": 0.5, "seed": 0.9, "default": 0.8},
            "The search did not beat the seed config or the space's default:",
        ),
        ({"winner": 0.9, "seed": 0.1, "default": 0.2}, " more than the space's default."),
    ],
)
def test_both_baselines_are_in_the_verdict(tmp_path: Path, accuracies: dict[str, float], words: str) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    add_retrains(run, accuracies=accuracies)
    data = report_data(run)
    assert words in data.result.verdict
    assert [gain.over.name for gain in data.result.gains] == ["seed", "default"]


def test_a_winner_that_is_the_default_is_its_own_baseline(tmp_path: Path) -> None:
    def fill(study: RunStudy) -> None:
        number = add_trial(study, SPACE.default_config() or {}, origin="default")
        record_epoch(study, number, MAX_EPOCHS, 0.9, recorded_at=1e9, worker="host:1")
        study.finish(number, TrialStatus.COMPLETED, value=0.9)

    run = make_run(tmp_path / "run", fill)
    add_retrains(run, accuracies={"winner": 0.9})
    # Left by an earlier part of the run, when another trial won.
    run.study.set_note("retrain:default:0", {**run.study.notes()["retrain:winner:0"], "config_name": "default"})
    result = report_data(run).result
    assert result.verdict.startswith("The search did not beat the space's default, which is its own choice and gets ")
    assert result.references == []


def test_the_winner_of_unfinished_finals_is_not_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12), retrain_top=2, retrain_seeds=2)
    first, second = finalist_numbers(run)
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.5}, num_seeds=2)  # of a shorter run that was extended since
    add_finals(run, {first: (0.5, 0.5), second: (0.6,)})
    data = report_data(run)
    assert (data.state, data.result.winner) == ("unfinished", None)
    add_finals(run, {second: (0.6, 0.6)})
    data = report_data(run)
    assert data.winner is not None
    assert data.winner.trial_number == second
    assert [view.number for view in data.trials if view.is_winner] == [second]
    add_retrains(run, accuracies={"winner": 0.9}, num_seeds=2)
    data = report_data(run)
    assert data.state == "finished"
    assert data.cost.retrain_s == 4 * 170.0 + 4 * 180.0


def test_an_extended_run_does_not_show_the_old_winners_test_accuracy(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 1))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.8})
    assert report_data(run).state == "finished"
    number = add_trial(run.study, SPACE.draw(random.Random(1)))
    for epoch in range(1, MAX_EPOCHS + 1):
        record_epoch(run.study, number, epoch, 0.99, recorded_at=1.9e9 + epoch, worker="host:1")
    run.study.finish(number, TrialStatus.COMPLETED, value=0.99)
    data = report_data(run)
    assert (data.state, data.result.winner) == ("unfinished", None)
    assert data.winner is not None
    assert (data.winner.trial_number, data.winner.answers) == (number, None)
    assert [reference.name for reference in data.result.references] == ["seed"]


def test_costs_are_added_up_from_the_epochs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    cost = report_data(run).cost
    num_epochs = sum(record.epochs_trained for record in run.records)
    assert cost.epochs == num_epochs
    assert cost.epochs_without_stops == 12 * MAX_EPOCHS
    assert cost.trial_s == pytest.approx(19.0 * num_epochs)
    assert sum(cost.statuses.values()) == 12


def test_every_stop_is_told_as_it_was_decided(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    data = report_data(run)
    stopped = [record for record in run.records if record.status is TrialStatus.STOPPED]
    assert [view.stop for view in data.stops] == [record.rungs[-1] for record in stopped]
    assert set(data.rung_correlations) == set(RUNGS)


def test_importances_leave_out_configs_outside_the_space(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    equal = report_data(run).equal_epoch
    assert [trial.number for trial in equal.trials] == list(range(1, 12))  # trial 0 is the seed config
    assert sum(equal.importances.values()) == pytest.approx(1)
    assert equal.scores == [run.records[number].val_accuracies[1] for number in range(1, 12)]


def test_answers_are_counted_by_class(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 2))
    add_retrains(run, accuracies={"winner": 0.75})
    data = report_data(run)
    assert data.winner is not None
    answers, result = data.winner.answers, data.result.winner
    assert answers is not None
    assert result is not None
    assert answers.confusion.sum() == 400
    assert answers.confusion.trace() / 400 == pytest.approx(result.test.mean)
    assert answers.class_accuracies == (answers.confusion.diagonal() / answers.confusion.sum(axis=1)).tolist()
    confidences = [mistake.confidence for mistake in answers.mistakes]
    assert confidences == sorted(confidences, reverse=True)
    assert all(mistake.label != mistake.predicted for mistake in answers.mistakes)


def test_trials_that_run_at_one_time_are_in_different_lanes() -> None:
    study = RunStudy.in_memory()
    for start in (0.0, 5.0, 100.0):
        number = add_trial(study, SEED_CONFIG.flat())
        record_epoch(study, number, 1, 0.5, recorded_at=1e9 + start + 19, worker="host:1")
    spans = worker_spans(study.trials())
    assert [(span.lane, span.start_s, span.end_s) for span in spans] == [(0, 0, 19), (1, 5, 24), (0, 100, 119)]


def test_places_follow_the_scale_of_drawing() -> None:
    lr, width = SPACE.parameters["lr"], SPACE.parameters["c1_width"]
    assert lr.low is not None
    assert lr.high is not None
    assert position_in(lr, (lr.low * lr.high) ** 0.5) == pytest.approx(0.5)
    assert position_in(width, 56) == 0.5  # 32..80
    assert position_in(width, 1000) is None
    assert position_in(SPACE.parameters["activation"], "relu") is None


def test_a_running_search_shows_its_trials_as_running(tmp_path: Path) -> None:
    def fill(study: RunStudy) -> None:
        add_trials(study, 3)
        add_trial(study, SPACE.draw(random.Random(1)))

    run = make_run(tmp_path / "run", fill)
    data = report_data(run, is_running=True)
    assert (data.state, data.trials[-1].status) == ("running", "running")
    assert (report_data(run).state, report_data(run).trials[-1].status) == ("unfinished", "interrupted")


def test_the_record_in_a_database_tells_the_same(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 1))
    add_trials(RunStudy.in_database(f"sqlite:///{tmp_path / 'run' / 'study.db'}", "run"), 1)
    kept, expected = report_data(load_run(tmp_path / "run")), report_data(run)
    assert [view.label for view in kept.trials] == [view.label for view in expected.trials]
    assert kept.spans == expected.spans
    assert kept.by_epochs is not None
    assert expected.by_epochs is not None
    assert np.array_equal(kept.by_epochs.band.mean, expected.by_epochs.band.mean)
