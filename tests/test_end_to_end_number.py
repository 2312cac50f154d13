"""The main job with finals and baselines through real Ray on tiny data, stopped by ASHA, ranked by the log loss."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from sklearn.metrics import log_loss
from test_end_to_end import finished_run

from search import load_run
from search.retrain.predictions import predictions_path, read_predictions


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(
        tmp_path_factory.mktemp("run"),
        *("--trials", 6, "--retrain-top", 2, "--retrain-seeds", 2, "--scheduler", "asha"),
        *("--metric", "log_loss", "--class-weights", "balanced"),
    )


def test_the_table_of_retrains_has_finals_winner_and_baseline(run_dir: Path) -> None:
    run = load_run(run_dir)
    retrains = run.retrains
    finals = retrains[~retrains.includes_val]
    assert (finals.config_name == "finalist").all()
    assert finals.val_log_loss.gt(0).all()
    assert finals.val_accuracy.between(0, 1).all()
    assert finals.test_accuracy.isna().all()
    tested = retrains[retrains.includes_val]
    winner = run.finals.winner
    assert winner is not None
    means = finals.groupby("trial_number").val_log_loss.mean()
    assert means[winner.record.number] == means.min()
    names = ["winner", "winner"] if winner.record.origin == "default" else ["winner"] * 2 + ["default"] * 2
    assert list(tested.config_name) == names
    assert tested.test_accuracy.between(0, 1).all()
    answers = read_predictions(predictions_path(run_dir, "retrain:winner:0"))
    assert answers is not None
    assert tested.test_log_loss.iloc[0] == pytest.approx(log_loss(answers.labels, answers.probabilities), rel=1e-5)
    assert retrains.retrain_seed.is_unique


def test_trials_are_stopped_for_their_log_loss(run_dir: Path) -> None:
    trials = load_run(run_dir).trials
    stopped = trials[trials.status == "stopped"]
    assert (stopped.stop_score >= stopped.stop_cutoff).all()
    assert (stopped.stop_margin <= 0).all()
    assert trials.last_val_accuracy.dropna().between(0, 1).all()


def test_page_and_summary_say_what_the_number_is_worth(run_dir: Path) -> None:
    summary, page = (run_dir / "summary.md").read_text(), (run_dir / "report.html").read_text()
    for text in (summary, page):
        assert "On fresh seeds" in text
        assert "test log loss" in text
    verdict = summary.splitlines()[2]
    assert verdict in html.unescape(page).replace("\u00a0", " ")
    screen = (run_dir.parent.parent / "stdout.txt").read_text()
    assert re.search(r"the winner is trial \d+: validation log loss \d\.\d{4} on fresh seeds", screen)
    assert re.search(r"winner, seed 1: test log loss \d\.\d{4} \(accuracy \d+\.\d\d %\) single view", screen)
    assert "by their validation log loss, single view: chance 2.3026" in screen
