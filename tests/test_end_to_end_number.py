"""The main job with finals and baselines through real Ray on tiny data, stopped by ASHA."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
from test_end_to_end import tune
from tiny_space import TINY

from search import load_run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.toml").write_text(TINY)
    done = tune(
        folder,
        *("--dataset", "digits", "--image-size", 16, "--space", "tiny.toml", "--name", "tiny", "--seed", 7),
        *("--trials", 6, "--epochs", 4, "--grace-period", 1, "--reduction-factor", 2, "--precision", "fp32"),
        *("--cpus-per-trial", 1, "--retrain-top", 2, "--retrain-seeds", 2, "--scheduler", "asha"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    return folder / "results" / "tiny"


def test_the_table_of_retrains_has_finals_winner_and_baseline(run_dir: Path) -> None:
    run = load_run(run_dir)
    retrains = run.retrains
    finals = retrains[~retrains.includes_val]
    assert (finals.config_name == "finalist").all()
    assert finals.val_accuracy.between(0, 1).all()
    assert finals.test_accuracy.isna().all()
    tested = retrains[retrains.includes_val]
    winner = run.finals.winner
    assert winner is not None
    means = finals.groupby("trial_number").val_accuracy.mean()
    assert means[winner.record.number] == means.max()
    names = ["winner", "winner"] if winner.record.origin == "default" else ["winner"] * 2 + ["default"] * 2
    assert list(tested.config_name) == names
    assert tested.test_accuracy.between(0, 1).all()
    assert retrains.retrain_seed.is_unique


def test_page_and_summary_say_what_the_number_is_worth(run_dir: Path) -> None:
    summary, page = (run_dir / "summary.md").read_text(), (run_dir / "report.html").read_text()
    for text in (summary, page):
        assert "On fresh seeds" in text
    verdict = summary.splitlines()[2]
    assert verdict in html.unescape(page).replace("\u00a0", " ")
    assert "the winner is trial" in (run_dir.parent.parent / "stdout.txt").read_text()
