"""Runs of every metric: what is said of them, whichever way is better."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from pathlib import Path

import pytest
from fabricated_run import CLASS_NAMES, add_finals, add_retrains, add_trials, finalist_numbers, make_run, reread
from sklearn.metrics import log_loss

from model.metrics import METRICS
from model.survey import ImageSurvey
from search.analysis.compare import compare_runs
from search.analysis.model_card import card_text
from search.analysis.results import Run
from search.analysis.summary import summary_text
from search.report.comparison_page import comparison_page
from search.report.data import report_data
from search.report.page import PICTURES, report_page
from search.report.pictures import compared_curves
from search.retrain.predictions import predictions_path, read_predictions
from search.study.ranking import rank_trials

COUNTS = dict(zip(CLASS_NAMES, (250, 50, 50, 50), strict=True))


def run_of(folder: Path, metric: str, *, accuracy: float = 0.9) -> Run:
    """A finished run with finals, whose test images are of unequal classes."""
    offset = METRICS[metric].best - 1
    run = make_run(folder, lambda study: add_trials(study, 12, offset=offset), metric=metric, retrain_top=2)
    first, second = finalist_numbers(run)
    add_finals(run, {first: (0.5 + offset,), second: (0.62 + offset,)})
    add_retrains(run, accuracies={"winner": accuracy, "seed": 0.6})
    survey = ImageSurvey(train=COUNTS, test=COUNTS, contrast=0.3)
    data = run.document.data.model_copy(update={"survey": survey})
    return Run(run.run_dir, run.document.model_copy(update={"data": data}), run.study)


@pytest.mark.parametrize("name", METRICS)
def test_summary_page_and_card_name_the_metric_with_the_accuracy_and_the_floor(tmp_path: Path, name: str) -> None:
    run, metric = run_of(tmp_path / "run", name), METRICS[name]
    texts = [summary_text(run), html.unescape(report_page(report_data(run))).replace("\u00a0", " ")]
    texts.append(card_text(run, "model.onnx", licence="Licence: MIT"))
    for text in texts:
        assert f"The search's network has a test {metric.title} of " in text
        assert "better than the seed config" in text
        assert "guessing" in text
        assert ("always the classes' shares" if name == "log_loss" else f"always {CLASS_NAMES[0]}") in text
    winner = run.result.winner
    assert winner is not None
    assert winner.accuracy is not None
    assert (f"accuracy {100 * winner.accuracy:.2f} %" in texts[0]) == (name != "accuracy")


def test_of_log_losses_the_smallest_wins_and_is_told_as_it_is(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "log_loss")
    ranked = [record for record in rank_trials(run.records) if record.status == "completed"]
    losses = run.trials.set_index("trial_number").last_val_log_loss
    assert losses[ranked[0].number] == losses[[record.number for record in ranked]].min() > 0
    answers = read_predictions(predictions_path(run.run_dir, "retrain:winner:0"))
    winner, [gain] = run.result.winner, run.result.gains
    assert answers is not None
    assert winner is not None
    assert winner.images_interval is not None
    loss = log_loss(answers.labels, answers.probabilities)
    assert -winner.test.mean == pytest.approx(loss, rel=1e-5)
    assert winner.images_interval[0] < winner.test.mean < winner.images_interval[1] < 0
    assert gain.difference.value > 0
    assert f"a test log loss of {loss:.4f} (accuracy " in run.result.verdict
    low, high = (-end for end in reversed(winner.images_interval))
    assert f"| {loss:.4f} | {low:.4f} to {high:.4f} |" in summary_text(run)
    assert "always the classes' shares" in summary_text(run)


@pytest.mark.parametrize("name", METRICS)
def test_pictures_have_the_metric_on_their_axes_and_its_own_values(tmp_path: Path, name: str) -> None:
    data = report_data(run_of(tmp_path / "run", name))
    pictures = [picture for makers in PICTURES.values() for make in makers if (picture := make(data)) is not None]
    figures = {plot.name: plot.figure for picture in pictures for plot in picture.plots}
    json.dumps(figures, allow_nan=False)
    for plot in ("curves", "by-epochs", "params"):
        assert METRICS[name].title in figures[plot]["layout"]["yaxis"]["title"]["text"]
        values = [value for trace in figures[plot]["data"] for value in trace["y"] if value is not None]
        assert min(values) >= 0
    best = figures["by-epochs"]["data"][0]["y"]
    assert best == sorted(best, reverse=name == "log_loss")


def test_runs_of_one_metric_are_compared_by_it(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / letter, "auc", accuracy=accuracy) for letter, accuracy in (("a", 0.7), ("b", 0.95))]
    comparison = compare_runs(*runs)
    assert comparison.verdict.startswith("The network of b is 0.")
    assert "better than that of a by test AUC (95 % interval 0." in comparison.verdict
    rows = {row.name: row.values for row in comparison.sections[0].rows}
    assert all(value.startswith("AUC 0.") for value in rows["test result"])
    assert all(value.endswith(" %") for value in rows["test accuracy"])
    picture = compared_curves.picture(comparison)
    assert picture is not None
    assert picture.plots[0].figure["layout"]["yaxis"]["title"]["text"] == "best AUC"


def test_runs_of_two_metrics_are_compared_by_accuracy(tmp_path: Path) -> None:
    comparison = compare_runs(run_of(tmp_path / "a", "accuracy"), run_of(tmp_path / "b", "log_loss"))
    assert "same test accuracy" in comparison.verdict
    assert "ranked by different metrics, accuracy and log loss" in comparison.verdict
    assert comparison.curves == (None, None)
    assert "Best so far" not in comparison_page(comparison)


def test_a_baseline_with_the_smaller_log_loss_was_not_beaten(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "log_loss", accuracy=0.3)
    verdict = reread(run).result.verdict
    assert verdict.startswith("The search did not beat the seed config: its network has a test log loss of ")
    assert re.search(r", \d\.\d{4} worse\.$", verdict)


def test_a_perfect_network_has_no_interval_by_the_formula(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "balanced_accuracy", accuracy=1.0)
    winner = run.result.winner
    assert winner is not None
    assert dataclasses.astuple(winner.test)[0] == 1.0
    assert winner.images_interval is None
    assert "| 100.00 % | - |" in summary_text(run)
