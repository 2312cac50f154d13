"""A run read from its folder: its best config, and folders that hold no run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fabricated_run import add_trials, make_run, reread
from run_documents import make_document

from model.config import SEED_CONFIG
from search.analysis.results import Run
from search.errors import UserError
from search.study.record import NewTrial
from search.study.study import RunStudy


def test_the_best_config_is_the_winners(tmp_path: Path) -> None:
    study = RunStudy.in_memory()
    number = study.add_trial(NewTrial(config=SEED_CONFIG.flat(), seed=0))
    study.record_epoch(number, epoch=1, score=0.5, metrics={})
    assert Run(tmp_path, make_document(), study).best_config == SEED_CONFIG


def test_a_run_without_scores_has_no_best_config(tmp_path: Path) -> None:
    run = Run(tmp_path, make_document(), RunStudy.in_memory())
    with pytest.raises(UserError, match=r"has no trial with a score yet, so no best config. Resume the run"):
        _ = run.best_config
    with pytest.raises(UserError, match=r"model.safetensors does not exist: the winner has not been retrained. Resume"):
        run.load_network()


def test_a_run_is_read_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 2))
    assert len(run.records) == 2
    add_trials(run.study, 1)
    assert len(run.records) == 2
    assert len(reread(run).records) == 3


def test_the_record_in_the_folder_is_found_after_a_move(tmp_path: Path) -> None:
    make_run(tmp_path / "run", lambda study: None)
    add_trials(RunStudy.in_database(f"sqlite:///{tmp_path / 'run' / 'study.db'}", "run"), 1)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert [record.number for record in Run.load(tmp_path / "moved").records] == [0]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"holds no run: it has no readable run.toml. Give a folder under results/"):
            Run.load(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file holds no run"):
        Run.load(tmp_path / "file")
    (tmp_path / "run.toml").write_text("settings = [")
    with pytest.raises(UserError, match=r"run.toml is damaged \(.*\). Restore it from a copy"):
        Run.load(tmp_path)
