"""What a run left, as tables: columns, types and a row for every ending."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_documents import make_document

from model.config import CONFIG_KEYS, SEED_CONFIG, TrainConfig
from search.analysis.results import (
    EPOCH_COLUMNS,
    RETRAIN_COLUMNS,
    TRIAL_COLUMNS,
    Run,
    epochs_frame,
    load_run,
    retrains_frame,
    trials_frame,
)
from search.errors import UserError
from search.study.record import NewTrial, RungDecision, TrialStatus
from search.study.study import RunStudy

METRICS = {"train_loss": 1.0, "val_loss": 2.0, "lr": 0.1, "seconds": 3.0, "images_per_s": 50.0, "worker": "host:1"}
RETRAINED = {
    "config_name": "winner", "trial_number": 3, "retrain_seed": 2**62 + 1, "epochs_trained": 5, "test_accuracy": 0.5,
    "num_params": 10, "epochs": [{}],
}  # fmt: skip
PROFILE = {"num_params": 1000, "multiply_adds": 2000, "receptive_field": 45}


def one_of_each(study: RunStudy) -> dict[str, int]:
    """A trial for every status, by its number."""
    config = {"config": TrainConfig().flat(), "profile": PROFILE}
    numbers = {name: study.add_trial(NewTrial(seed=2**62 + 1, **config)) for name in _ENDS}
    rejected = NewTrial(config=TrainConfig().flat(), seed=1, violations={"num_params": 5.0})
    numbers["rejected"] = study.add_trial(rejected, is_rejected=True)
    for name, (scores, error) in _ENDS.items():
        for epoch, score in enumerate(scores, 1):
            study.record_epoch(numbers[name], epoch=epoch, val_accuracy=score, metrics=METRICS)
        if name == "stopped":
            rung = RungDecision(epoch=2, score=0.25, cutoff=0.75, num_scores=2, is_stopped=True)
            study.record_rung(
                numbers[name], RungDecision(epoch=1, score=0.3, cutoff=None, num_scores=1, is_stopped=False)
            )
            study.record_rung(numbers[name], rung)
        if name != "interrupted":
            value = scores[-1] if name == "completed" else None
            study.finish(numbers[name], TrialStatus(name), value=value, error=error)
    return numbers


_ENDS: dict[str, tuple[tuple[float, ...], str | None]] = {
    "completed": ((0.25, 0.75, 0.5), None),
    "stopped": ((0.3, 0.25), None),
    "failed": ((), "RuntimeError: no luck"),
    "diverged": ((0.5,), "diverged: the loss was not finite"),
    "interrupted": ((0.1,), None),
}


@pytest.fixture(scope="module")
def study() -> RunStudy:
    study = RunStudy.in_memory()
    one_of_each(study)
    return study


@pytest.fixture(scope="module")
def trials(study: RunStudy) -> pd.DataFrame:
    return trials_frame(study.trials())


def row(trials: pd.DataFrame, status: str) -> dict[str, Any]:
    chosen: list[dict[str, Any]] = trials[trials["status"] == status].to_dict("records")  # type: ignore[assignment]
    assert len(chosen) == 1
    return chosen[0]


def test_every_trial_has_a_row_and_every_status_is_told(trials: pd.DataFrame) -> None:
    assert list(trials["trial_number"]) == list(range(6))
    assert list(trials["status"]) == [*_ENDS, "rejected"]
    assert list(trials["within_limits"]) == [True] * 5 + [False]


def test_columns_and_types_are_the_same_for_any_run(study: RunStudy, trials: pd.DataFrame) -> None:
    empty = trials_frame([])
    assert list(empty.columns) == list(trials.columns) == [*TRIAL_COLUMNS, *CONFIG_KEYS]
    for frame in (empty, trials, trials_frame(study.trials()[5:]), trials_frame(study.trials()[2:3])):
        assert {name: str(frame[name].dtype) for name in TRIAL_COLUMNS} == TRIAL_COLUMNS
    for frame, columns in (
        (epochs_frame([]), EPOCH_COLUMNS),
        (epochs_frame(study.trials()), EPOCH_COLUMNS),
        (retrains_frame({}), RETRAIN_COLUMNS),
        (retrains_frame({"retrain:winner:0": RETRAINED, "winner": 3}), RETRAIN_COLUMNS),
    ):
        assert {name: str(frame[name].dtype) for name in frame.columns} == columns


def test_a_completed_trial(trials: pd.DataFrame) -> None:
    completed = row(trials, "completed")
    expected = {"epochs_trained": 3, "last_val_accuracy": 0.5, "best_val_accuracy": 0.75, "best_epoch": 2}
    expected |= {"seconds": 9.0, "images_per_s": 50.0, "trial_seed": 2**62 + 1, **PROFILE, "lr": 0.1}
    assert {name: completed[name] for name in expected} == expected
    assert pd.isna(completed["error"])
    assert pd.isna(completed["stop_rung_epoch"])
    assert completed["ended"] >= completed["started"]


def test_a_stopped_trial_says_where_it_missed_what(trials: pd.DataFrame) -> None:
    stopped = row(trials, "stopped")
    stop = [stopped[name] for name in ("stop_rung_epoch", "stop_score", "stop_cutoff", "stop_margin")]
    assert stop == [2, 0.25, 0.75, -0.5]


def test_errors_are_told(trials: pd.DataFrame) -> None:
    assert row(trials, "failed")["error"] == "RuntimeError: no luck"
    assert row(trials, "diverged")["error"] == "diverged: the loss was not finite"
    assert pd.isna(row(trials, "failed")["last_val_accuracy"])
    assert pd.isna(row(trials, "interrupted")["ended"])


def test_the_error_of_an_end_that_was_cut_off_is_not_told_of_the_next(study: RunStudy) -> None:
    again = RunStudy.in_memory()
    number = again.add_trial(NewTrial(config={}, seed=0))
    again.storage.set_trial_user_attr(0, "error", "the worker process died")
    assert again.trial(number).error is None
    again.finish(number, TrialStatus.COMPLETED, value=0.5)
    assert again.trial(number).error is None


def test_the_epochs_table_has_a_row_for_every_epoch(study: RunStudy) -> None:
    epochs = epochs_frame(study.trials())
    assert len(epochs) == 7
    assert list(epochs["trial_number"]) == [0, 0, 0, 1, 1, 3, 4]
    assert list(epochs["epoch"])[:3] == [1, 2, 3]
    assert list(epochs["val_accuracy"])[:3] == [0.25, 0.75, 0.5]
    assert set(epochs["worker"]) == {"host:1"}


def test_tables_survive_csv_and_parquet(trials: pd.DataFrame, tmp_path: Path) -> None:
    trials.to_csv(tmp_path / "trials.csv", index=False)
    trials.to_parquet(tmp_path / "trials.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "trials.parquet"), trials)
    read = pd.read_csv(tmp_path / "trials.csv")
    assert list(read.columns) == list(trials.columns)
    assert list(read["trial_seed"]) == list(trials["trial_seed"])


def test_retrains_keep_only_their_columns_and_the_old_ones_saw_all_images() -> None:
    frame = retrains_frame({"retrain:winner:0": RETRAINED, "winner": 3})
    assert list(frame.columns) == list(RETRAIN_COLUMNS)
    assert frame.loc[0, "retrain_seed"] == 2**62 + 1
    assert frame.loc[0, "includes_val"]
    assert pd.isna(frame.loc[0, "val_accuracy"])


def test_retrains_come_by_config_and_seed() -> None:
    keys = ["retrain:winner:10", "retrain:winner:2", "retrain:seed:0", "finalist:12:0", "finalist:3:1", "finalist:3:0"]
    keys += ["retrain:default:0"]
    notes = {
        key: {**RETRAINED, "config_name": key, "trial_number": number, "includes_val": key.startswith("retrain")}
        for number, key in enumerate(keys)
    }
    frame = retrains_frame(notes)
    assert list(frame["config_name"]) == [keys[index] for index in (1, 0, 2, 6, 5, 4, 3)]
    assert list(frame["includes_val"]) == [True] * 4 + [False] * 3


def test_an_audited_trial_says_where_it_was_to_be_stopped() -> None:
    study = RunStudy.in_memory()
    number = study.add_trial(NewTrial(config={}, seed=0))
    for epoch, score in enumerate((0.3, 0.6), 1):
        study.record_epoch(number, epoch=epoch, val_accuracy=score, metrics={})
    stop = RungDecision(epoch=1, score=0.3, cutoff=0.5, num_scores=4, is_stopped=True, is_audited=True)
    study.record_rung(number, stop)
    study.finish(number, TrialStatus.COMPLETED, value=0.6)
    [audited] = trials_frame(study.trials()).to_dict("records")
    assert (audited["status"], audited["audit_rung_epoch"]) == ("completed", 1)
    assert pd.isna(audited["stop_rung_epoch"])
    assert study.trial(number).rungs == (stop,)


def test_the_best_config_is_the_winners(tmp_path: Path) -> None:
    run = Run(tmp_path, make_document())
    study = RunStudy.in_memory()
    run.__dict__["study"] = study
    number = study.add_trial(NewTrial(config=SEED_CONFIG.flat(), seed=0))
    study.record_epoch(number, epoch=1, val_accuracy=0.5, metrics={})
    assert run.best_config == SEED_CONFIG


def test_a_run_without_scores_has_no_best_config(tmp_path: Path) -> None:
    run = Run(tmp_path, make_document())
    run.__dict__["study"] = RunStudy.in_memory()
    with pytest.raises(UserError, match=r"has no trial with a score yet, so no best config. Resume the run"):
        _ = run.best_config
    with pytest.raises(UserError, match=r"model.safetensors is not there: the winner has not been retrained. Resume"):
        run.load_network()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"holds no run: it has no readable run.toml. Give a folder under results/"):
            load_run(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file holds no run"):
        load_run(tmp_path / "file")
    (tmp_path / "run.toml").write_text("settings = [")
    with pytest.raises(UserError, match=r"run.toml is damaged \(.*\). Restore it from a copy"):
        load_run(tmp_path)
