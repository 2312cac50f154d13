"""The data behind each picture, worked out by hand, and what the figure makes of it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from fabricated_run import SPACE, add_retrains, add_trial, add_trials, make_run, record_epoch, reread

from model.config import SEED_CONFIG
from model.metrics import METRICS
from search.analysis.best_so_far import BestSoFar
from search.report.data import ReportData, report_data
from search.report.page import PICTURES
from search.report.pictures import (
    best_so_far,
    class_accuracies,
    confusion,
    cost_front,
    importances,
    learning_curves,
    parallel_coordinates,
    retrainings,
    slices,
    timeline,
)
from search.report.winner import Answers
from search.study.record import TrialStatus
from search.study.study import RunStudy


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    run = make_run(tmp_path_factory.mktemp("runs") / "run", lambda study: add_trials(study, 30))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.8}, num_seeds=2)
    return report_data(reread(run))


def test_every_picture_of_a_finished_run_is_drawn_once(data: ReportData) -> None:
    pictures = [make(data) for makers in PICTURES.values() for make in makers]
    names = [plot.name for picture in pictures if picture is not None for plot in picture.plots]
    assert None not in pictures
    assert len(set(names)) == len(names)


def test_an_empty_run_has_no_picture_but_the_reason(tmp_path: Path) -> None:
    data = report_data(make_run(tmp_path / "run", lambda study: None))
    pictures = [make(data) for makers in PICTURES.values() for make in makers]
    [reason] = [picture for picture in pictures if picture is not None]
    assert reason.plots == ()
    assert "0 of 0 trials score above chance" in reason.sentence


def test_learning_curves_have_a_line_for_each_trial(data: ReportData) -> None:
    picture = learning_curves.picture(data)
    assert picture is not None
    figure = picture.plots[0].figure
    lines = [trace for trace in figure["data"] if "lines" in trace["mode"]]
    assert sum(trace["y"].count(None) for trace in lines) == 30
    assert [len(trace["x"]) for trace in lines] == [len(trace["customdata"]) for trace in lines]
    [winner] = [trace for trace in lines if trace["name"] == "the winner"]
    assert set(winner["customdata"]) == {data.winner_number}
    [stops] = [trace for trace in figure["data"] if trace["name"] == "stopped here"]
    assert stops["customdata"] == [trial.number for trial, _ in data.stops]
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [1, 3]


def test_the_best_so_far_is_drawn_in_its_unit() -> None:
    curve = BestSoFar(costs=[60.0, 180.0], scores=[0.5, 0.6])
    figure = best_so_far.draw(curve, METRICS["accuracy"], unit="minutes of training", scale=60)
    assert (figure["data"][0]["x"], figure["data"][0]["y"]) == ([1, 3], [0.5, 0.6])
    assert figure["layout"]["xaxis"]["title"]["text"] == "minutes of training"


def test_the_largest_importance_is_on_top() -> None:
    shares = {f"key{index}": (20 - index) / 210 for index in range(20)}
    trace = importances.draw(shares)["data"][0]
    assert (trace["y"][-1], trace["text"][-1]) == ("key0", "10 %")
    assert len(trace["x"]) == importances.NUM_BARS


def test_slices_show_the_score_over_the_value(data: ReportData) -> None:
    picture = slices.picture(data)
    assert picture is not None
    assert len(picture.plots) == slices.NUM_SLICES
    key = data.keys_by_importance[0]
    trace = picture.plots[0].figure["data"][0]
    assert trace["x"] == [trial.config[key] for trial in data.equal_epoch.trials]
    assert trace["y"] == data.equal_epoch.scores


def test_a_log_slice_has_its_geometric_mean_in_the_middle(data: ReportData) -> None:
    lr = SPACE.parameters["muon_lr"]
    axis = slices.draw(slices.Slice("muon_lr", lr, [], [], METRICS["accuracy"]))["layout"]["xaxis"]
    assert lr.low is not None
    assert lr.high is not None
    assert axis["type"] == "log"
    assert axis["tickvals"] == [lr.low, pytest.approx((lr.low * lr.high) ** 0.5), lr.high]


def test_every_trial_has_one_line_through_all_axes(data: ReportData) -> None:
    picture = parallel_coordinates.picture(data)
    assert picture is not None
    figure = picture.plots[0].figure
    num_axes = 1 + parallel_coordinates.NUM_AXES
    assert sum(len(trace["x"]) for trace in figure["data"]) == len(data.equal_epoch.trials) * (num_axes + 1)
    assert [trace["name"] for trace in figure["data"]] == ["the others", "the best", "the winner"]
    places = [place for trace in figure["data"] for place in trace["y"] if place is not None]
    assert (min(places), max(places)) == (0, 1)


def test_the_front_holds_the_points_that_nothing_beats_in_both() -> None:
    assert cost_front.pareto_front([3, 1, 2, 2, 4], [0.9, 0.5, 0.4, 0.7, 0.8]) == [1, 3, 0]
    assert cost_front.pareto_front([], []) == []


def test_the_front_is_of_full_length_trials(data: ReportData) -> None:
    picture = cost_front.against_size(data)
    assert picture is not None
    by_name = {trace["name"]: trace for trace in picture.plots[0].figure["data"]}
    completed = [trial for trial in data.trials if trial.status is TrialStatus.COMPLETED]
    assert by_name["full length"]["customdata"] == [trial.number for trial in completed]
    best = max(completed, key=lambda trial: trial.last_score or 0)
    assert by_name["front"]["x"][-1] == best.profile["num_params"]
    assert by_name["front"]["y"] == sorted(by_name["front"]["y"])


def test_trials_that_run_at_the_same_time_are_in_different_lanes() -> None:
    study = RunStudy.in_memory()
    for start in (0.0, 5.0, 100.0):
        number = add_trial(study, SEED_CONFIG.flat())
        record_epoch(study, number, 1, 0.5, recorded_at=1e9 + start + 19, worker="host:1")
    spans = timeline.worker_spans(study.trials())
    assert [(span.lane, span.start_s, span.end_s) for span in spans] == [(0, 0, 19), (1, 5, 24), (0, 100, 119)]


def test_a_trial_that_comes_back_has_two_stays() -> None:
    study = RunStudy.in_memory()
    first, second = (add_trial(study, SPACE.draw(random.Random(seed))) for seed in range(2))
    for number, epoch, end in ((first, 1, 20.0), (second, 1, 40.0), (first, 2, 60.0)):
        record_epoch(study, number, epoch, 0.5, recorded_at=1e9 + end, worker="host:1")
    spans = timeline.worker_spans(study.trials())
    assert [(span.trial_number, span.lane, span.end_s) for span in spans] == [(0, 0, 19), (1, 0, 39), (0, 0, 59)]


ANSWERS = Answers(class_names=("a", "<b>", "c"), confusion=np.array([[8, 2, 0], [1, 1, 0], [0, 0, 0]]), mistakes=[])


def test_the_confusion_is_coloured_by_its_share_of_the_row() -> None:
    trace = confusion.draw(ANSWERS)["data"][0]
    assert trace["z"] == [[0.8, 0.2, 0], [0.5, 0.5, 0], [0, 0, 0]]
    assert trace["text"] == [[8, 2, 0], [1, 1, 0], [0, 0, 0]]
    assert trace["x"] == ["a", "&lt;b&gt;", "c"]


def test_the_weakest_class_is_on_top_and_empty_ones_are_left_out() -> None:
    trace = class_accuracies.draw(ANSWERS)["data"][0]
    assert (trace["y"], trace["x"]) == (["a", "&lt;b&gt;"], [0.8, 0.5])


def test_every_retraining_has_a_line(data: ReportData) -> None:
    picture = retrainings.picture(data)
    assert picture is not None
    traces = picture.plots[0].figure["data"]
    assert [trace["name"] for trace in traces] == ["seed, seed 2", "seed", "winner, seed 2", "winner"]
    assert traces[-1]["y"] == [2.0 / epoch for epoch in range(1, 10)]
