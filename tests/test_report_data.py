"""The contents of a report: state, costs, stops, and the winner's place in the space."""

from __future__ import annotations

import random
from pathlib import Path

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
    reread,
)

from search.analysis.results import Run
from search.report.data import report_data
from search.report.winner import position_in
from search.study.record import TrialStatus
from search.study.study import RunStudy


def test_unfinished_finals_have_no_winner(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12), retrain_top=2, retrain_seeds=2)
    first, second = finalist_numbers(run)
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.5}, num_seeds=2)  # of a shorter run that was extended since
    add_finals(run, {first: (0.5, 0.5), second: (0.6,)})
    data = report_data(reread(run))
    assert (data.state, data.run.result.winner) == ("unfinished", None)
    add_finals(run, {second: (0.6, 0.6)})
    data = report_data(reread(run))
    assert data.winner is not None
    assert data.winner.trial_number == second
    assert data.winner_number == second
    add_retrains(run, accuracies={"winner": 0.9}, num_seeds=2)
    data = report_data(reread(run))
    assert data.state == "finished"
    assert data.cost.retrain_s == 4 * 170.0 + 4 * 180.0


def test_an_extended_run_does_not_show_the_old_winners_test_accuracy(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 1))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.8})
    assert report_data(reread(run)).state == "finished"
    number = add_trial(run.study, SPACE.draw(random.Random(1)))
    for epoch in range(1, MAX_EPOCHS + 1):
        record_epoch(run.study, number, epoch, 0.99, recorded_at=1.9e9 + epoch, worker="host:1")
    run.study.finish(number, TrialStatus.COMPLETED, value=0.99)
    data = report_data(reread(run))
    assert (data.state, data.run.result.winner) == ("unfinished", None)
    assert data.winner is not None
    assert (data.winner.trial_number, data.winner.answers) == (number, None)
    assert [reference.name for reference in data.run.result.references] == ["seed"]


def test_costs_are_summed_from_the_epochs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    cost = report_data(reread(run)).cost
    num_epochs = sum(record.epochs_trained for record in run.records)
    assert cost.epochs == num_epochs
    assert cost.epochs + cost.saved_epochs == 12 * MAX_EPOCHS
    assert cost.trial_s == pytest.approx(19.0 * num_epochs)
    assert sum(cost.statuses.values()) == 12


def test_every_stop_has_its_decision(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    data = report_data(reread(run))
    stopped = [record for record in run.records if record.status is TrialStatus.STOPPED]
    assert data.stops == [(record, record.rungs[-1]) for record in stopped]
    assert [rung.epoch for rung in data.rungs] == list(RUNGS)


def test_importances_leave_out_configs_outside_the_space(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    equal = report_data(reread(run)).equal_epoch
    assert [trial.number for trial in equal.trials] == list(range(1, 12))  # trial 0 is the seed config
    assert sum(equal.importances.values()) == pytest.approx(1)
    assert equal.scores == [run.records[number].scores[1] for number in range(1, 12)]


def test_answers_are_counted_by_class(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 2))
    add_retrains(run, accuracies={"winner": 0.75})
    data = report_data(reread(run))
    assert data.winner is not None
    answers, result = data.winner.answers, data.run.result.winner
    assert answers is not None
    assert result is not None
    assert answers.confusion.sum() == 400
    assert answers.confusion.trace() / 400 == pytest.approx(result.test.mean)
    assert answers.class_accuracies == (answers.confusion.diagonal() / answers.confusion.sum(axis=1)).tolist()
    confidences = [mistake.confidence for mistake in answers.mistakes]
    assert confidences == sorted(confidences, reverse=True)
    assert all(mistake.label != mistake.predicted for mistake in answers.mistakes)


def test_places_follow_the_scale_of_drawing() -> None:
    lr, width = SPACE.parameters["muon_lr"], SPACE.parameters["c1_width"]
    assert lr.low is not None
    assert lr.high is not None
    assert position_in(lr, (lr.low * lr.high) ** 0.5) == pytest.approx(0.5)
    assert position_in(width, 56) == 0.5  # 40..72
    assert position_in(width, 1000) is None
    assert position_in(SPACE.parameters["activation"], "relu") is None


def test_a_running_search_shows_its_trials_as_running(tmp_path: Path) -> None:
    def fill(study: RunStudy) -> None:
        add_trials(study, 3)
        add_trial(study, SPACE.draw(random.Random(1)))

    run = make_run(tmp_path / "run", fill)
    data = report_data(reread(run), is_running=True)
    assert (data.state, data.trials[-1].status) == ("running", "running")
    assert (report_data(reread(run)).state, report_data(reread(run)).trials[-1].status) == ("unfinished", "interrupted")


def test_a_record_in_a_database_gives_the_same_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 1))
    add_trials(RunStudy.in_database(f"sqlite:///{tmp_path / 'run' / 'study.db'}", "run"), 1)
    kept, expected = report_data(Run.load(tmp_path / "run")), report_data(run)
    assert [trial.scores for trial in kept.trials] == [trial.scores for trial in expected.trials]
    assert (kept.cost, kept.rungs, kept.equal_epoch.scores) == (
        expected.cost,
        expected.rungs,
        expected.equal_epoch.scores,
    )
