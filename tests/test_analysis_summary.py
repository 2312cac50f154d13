"""The summary of a run, and the tables beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fabricated_run import SPACE, add_retrains, add_trials, make_run, reread

from search.analysis.model_card import card_text
from search.analysis.results import Run
from search.analysis.summary import summary_text, write_results
from search.report.data import report_data
from search.report.page import report_page
from search.study.record import NewTrial
from search.study.study import RunStudy


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.6})
    return reread(run)


def test_the_verdict_comes_first_and_every_config_has_a_row(run: Run) -> None:
    lines = summary_text(run).splitlines()
    assert (lines[0], lines[2]) == ("# run", run.result.verdict)
    winner = run.result.winner
    assert winner is not None
    [row] = [line for line in lines if line.startswith("| winner |")]
    assert row.count("|") == lines[lines.index(row) - 1].count("|")
    assert f"{100 * winner.test.mean:.2f} %" in row
    assert "47.9 M" in row
    assert f"| `lr` | {run.best_config.flat()['lr']} |" in lines


def test_packing_is_told_as_a_gain(run: Run) -> None:
    measured = {"packing": [{"images_per_s": 100.0}, {"images_per_s": 250.0}, {"images_per_s": 240.0}]}
    document = run.document.model_copy(update={"measurements": measured})
    assert "2 trials side by side, which together train 2.50x" in summary_text(Run(run.run_dir, document, run.study))
    assert "together" not in summary_text(run)


def test_the_forecast_is_judged_until_the_run_is_extended(run: Run) -> None:
    num_epochs = sum(record.epochs_spent for record in run.records)
    forecast = {"num_trials": run.settings.num_trials, "epochs": 30.0, "wall_s": 60.0, "low_s": 40.0, "high_s": 90.0}

    def judged(num_trials: int, actual_epochs: int) -> bool:
        table = {**forecast, "actual_wall_s": 66.0, "actual_epochs": actual_epochs}
        settings = run.settings.changed(num_trials=num_trials)
        document = run.document.model_copy(update={"forecast": table, "settings": settings})
        return f"there were {actual_epochs}." in summary_text(Run(run.run_dir, document, run.study))

    assert judged(run.settings.num_trials, num_epochs)
    assert not judged(run.settings.num_trials + 3, num_epochs), "extended, and cut off before another trial"
    assert not judged(run.settings.num_trials, num_epochs - 9), "stopped early, and its missing trials trained later"


def test_the_command_is_followed_by_what_it_does_not_say(run: Run) -> None:
    """A run with the command of its start, which may name a file that only its machine has."""

    def texts(num_trials: int, **changed: Any) -> tuple[str, ...]:
        settings = run.settings.changed(num_trials=num_trials, **changed)
        document = run.document.model_copy(update={"forecast": {"num_trials": 5}, "settings": settings})
        shown = Run(run.run_dir, document, run.study)
        return summary_text(shown), report_page(report_data(shown)), card_text(shown, "net.onnx", licence="")

    for text in texts(5):
        assert "--trials" not in text
        assert "space.toml" not in text
    for text in texts(8, space=Path("elsewhere/form.toml")):
        assert "8 trials (--trials 8)" in text
        assert "--space space.toml" in text


def test_a_winner_over_the_limits_is_a_warning(tmp_path: Path) -> None:
    def fill(study: RunStudy) -> None:
        number = study.add_trial(NewTrial(config=SPACE.default_config() or {}, seed=0, violations={"num_params": 5.0}))
        study.record_epoch(number, epoch=1, score=0.5, metrics={})

    assert "no trial within the limits has a score" in summary_text(make_run(tmp_path / "run", fill))


def test_tables_and_summary_are_written(run: Run) -> None:
    write_results(run)
    pd.testing.assert_frame_equal(pd.read_parquet(run.run_dir / "trials.parquet"), run.trials)
    pd.testing.assert_frame_equal(pd.read_parquet(run.run_dir / "epochs.parquet"), run.epochs)
    assert list(pd.read_csv(run.run_dir / "retrains.csv")["config_name"]) == ["winner", "seed"]
    assert (run.run_dir / "summary.md").read_text() == summary_text(run)
    assert summary_text(run).endswith("convladder 0.1.0\n")
