"""The list of runs: what state each is in, its scores and its age."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fabricated_run import SPACE, add_retrains, add_trial, record_epoch, reread
from run_documents import make_document

import tune_main
from search.analysis.results import Run
from search.analysis.run_list import list_lines, list_runs
from search.setup.run_lock import run_lock
from search.study.record import TrialStatus
from search.study.study import open_study
from search.text import percent

SCORES = (0.3, 0.4)
NOW = datetime(2026, 11, 26, 9, 8, 38, tzinfo=UTC)


def add_run(results_dir: Path, name: str, *, num_trials: int, created: str = "2026-11-23T08:08:38+00:00") -> None:
    """A run with a database, as `list` finds it on disk."""
    folder = results_dir / name
    folder.mkdir(parents=True)
    (folder / "space.toml").write_text(SPACE.to_toml())
    document = make_document(name, class_names=("a", "b", "c", "d"), results_dir=results_dir, num_trials=5)
    (folder / "run.toml").write_text(document.model_copy(update={"created": created}).to_toml())
    study = open_study(document.settings)
    for score in SCORES[:num_trials]:
        number = add_trial(study, SPACE.draw(random.Random(0)))
        record_epoch(study, number, 1, score, recorded_at=0.0, worker="w")
        study.finish(number, TrialStatus.STOPPED)


def test_each_run_has_its_state_scores_and_age(tmp_path: Path) -> None:
    add_run(tmp_path, "old", num_trials=2)
    add_run(tmp_path, "young", num_trials=1, created="2026-11-26T09:05:18+00:00")
    (tmp_path / "no run").mkdir()
    (tmp_path / "a file").write_text("")
    done = Run.load(tmp_path / "old")
    add_retrains(done, accuracies={"winner": 0.9})
    winner = reread(done).result.winner
    assert winner is not None
    with run_lock(tmp_path / "young"):
        young, old = list_runs(tmp_path)
    assert (young.name, young.state, young.trials, young.test) == ("young", "running", "1 of 5", "-")
    assert (old.name, old.state, old.trials) == ("old", "finished", "2 of 5")
    assert old.test == percent(winner.test.mean)
    assert old.best == percent(max(SCORES))
    heading, first, second = list_lines([young, old], now=NOW)
    assert first.endswith("3 min 20 s ago")
    assert second.endswith("3 d ago")
    assert heading.index("started") == first.index("3 min") == second.index("3 d")
    assert [one.state for one in list_runs(tmp_path)] == ["unfinished", "finished"], "nobody holds the lock any longer"


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_run(tmp_path, "good", num_trials=1)
    for name, text in (("damaged", "[settings\n"), ("future", "record_version = 99\n"), ("past", "[record]\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.toml").write_text(text)
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "run.toml").write_text(make_document("lost", results_dir=tmp_path).to_toml())
    assert tune_main.main(["list", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count("unreadable") == 2
    assert "good" in out
    assert "damaged/run.toml is damaged" in out
    (line,) = [line for line in out.splitlines() if "future" in line]
    assert "format of another version" in line
    assert "past" in line
    assert out.count("past") == 1
    assert "study.db is damaged (it is missing)" in out


def test_no_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune_main.main(["list", str(tmp_path / "none")]) == 2
    assert "none is not a folder. Give the folder that holds the runs." in capsys.readouterr().err
