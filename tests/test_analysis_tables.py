"""The tables of a run: columns, types and a row for every status."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model.config import CONFIG_KEYS, SEED_CONFIG
from model.metrics import METRICS as ALL_METRICS
from search.analysis.tables import (
    EPOCH_COLUMNS,
    RETRAIN_COLUMNS,
    TRIAL_COLUMNS,
    epochs_frame,
    retrains_frame,
    stop_of,
    trials_frame,
)
from search.study.record import NewTrial, RungDecision, TrialStatus
from search.study.retrain_record import RetrainRecord
from search.study.study import RunStudy

METRICS = {"train_loss": 1.0, "val_loss": 2.0, "lr": 0.1, "seconds": 3.0, "images_per_s": 50.0, "worker": "host:1"}
RETRAINED = RetrainRecord(
    config_name="winner",
    trial_number=3,
    seed_index=0,
    retrain_seed=2**62 + 1,
    includes_val=True,
    epochs_trained=5,
    num_params=10,
    multiply_adds=20,
    receptive_field=30,
    seconds=1.0,
    test_score=0.5,
    test_accuracy=0.5,
)
ACCURACY = ALL_METRICS["accuracy"]
PROFILE = {"num_params": 1000, "multiply_adds": 2000, "receptive_field": 45}


def one_of_each(study: RunStudy) -> dict[str, int]:
    """A trial for every status, by its number."""
    new = NewTrial(config=SEED_CONFIG.flat(), seed=2**62 + 1, profile=PROFILE)
    numbers = {name: study.add_trial(new) for name in _ENDS}
    rejected = NewTrial(config=SEED_CONFIG.flat(), seed=1, violations={"num_params": 5.0})
    numbers["rejected"] = study.add_trial(rejected, is_rejected=True)
    for name, (scores, error) in _ENDS.items():
        for epoch, score in enumerate(scores, 1):
            study.record_epoch(numbers[name], epoch=epoch, score=score, metrics=METRICS)
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
    return trials_frame(study.trials(), ACCURACY, CONFIG_KEYS)


def named(columns: dict[str, str], metric: str = "accuracy") -> dict[str, str]:
    """The columns of a run with this metric."""
    return {name.replace("METRIC", metric): kind for name, kind in columns.items()}


def row(trials: pd.DataFrame, status: str) -> dict[str, Any]:
    chosen: list[dict[str, Any]] = trials[trials["status"] == status].to_dict("records")  # type: ignore[assignment]
    assert len(chosen) == 1
    return chosen[0]


def test_every_trial_has_a_row_with_its_status(trials: pd.DataFrame) -> None:
    assert list(trials["trial_number"]) == list(range(6))
    assert list(trials["status"]) == [*_ENDS, "rejected"]
    assert list(trials["within_limits"]) == [True] * 5 + [False]


def test_columns_and_types_are_the_same_for_any_run(study: RunStudy, trials: pd.DataFrame) -> None:
    empty = trials_frame([], ACCURACY, CONFIG_KEYS)
    assert list(empty.columns) == list(trials.columns) == [*named(TRIAL_COLUMNS), *CONFIG_KEYS]
    for frame in (
        empty,
        trials,
        *(trials_frame(part, ACCURACY, CONFIG_KEYS) for part in (study.trials()[5:], study.trials()[2:3])),
    ):
        assert {name: str(frame[name].dtype) for name in named(TRIAL_COLUMNS)} == named(TRIAL_COLUMNS)
    for frame, columns in (
        (epochs_frame([], ACCURACY), EPOCH_COLUMNS),
        (epochs_frame(study.trials(), ACCURACY), EPOCH_COLUMNS),
        (retrains_frame([], ACCURACY), RETRAIN_COLUMNS),
        (retrains_frame([RETRAINED], ACCURACY), RETRAIN_COLUMNS),
    ):
        assert {name: str(frame[name].dtype) for name in frame.columns} == named(columns)


def test_an_own_networks_key_takes_no_other_columns_name() -> None:
    study = RunStudy.in_memory()
    study.add_trial(NewTrial(config={"width": 8, "receptive_field": 5, "best_val_accuracy": 1}, seed=0))
    frame = trials_frame(study.trials(), ACCURACY, ["width", "receptive_field", "best_val_accuracy"])
    assert frame.columns.is_unique
    assert list(frame.columns[-3:]) == ["width", "config_receptive_field", "config_best_val_accuracy"]
    assert (frame["config_receptive_field"][0], frame["config_best_val_accuracy"][0]) == (5, 1)
    assert frame["receptive_field"].isna().all()


def test_a_completed_trial(trials: pd.DataFrame) -> None:
    completed = row(trials, "completed")
    expected = {"epochs_trained": 3, "last_val_accuracy": 0.5, "best_val_accuracy": 0.75, "best_epoch": 2}
    expected |= {"seconds": 9.0, "images_per_s": 50.0, "trial_seed": 2**62 + 1, **PROFILE, "lr": SEED_CONFIG.recipe.lr}
    assert {name: completed[name] for name in expected} == expected
    assert pd.isna(completed["error"])
    assert pd.isna(completed["stop_rung_epoch"])
    assert completed["ended"] >= completed["started"]


def test_a_stopped_trial_says_where_it_missed_what(trials: pd.DataFrame) -> None:
    stopped = row(trials, "stopped")
    stop = [stopped[name] for name in ("stop_rung_epoch", "stop_score", "stop_cutoff", "stop_margin")]
    assert stop == [2, 0.25, 0.75, -0.5]


def test_only_a_stopped_trial_has_a_stop(study: RunStudy) -> None:
    stops = [stop_of(record) for record in study.trials()]
    assert [stop.epoch if stop else None for stop in stops] == [None, 2, None, None, None, None]


def test_errors_are_in_the_table(trials: pd.DataFrame) -> None:
    assert row(trials, "failed")["error"] == "RuntimeError: no luck"
    assert row(trials, "diverged")["error"] == "diverged: the loss was not finite"
    assert pd.isna(row(trials, "failed")["last_val_accuracy"])
    assert pd.isna(row(trials, "interrupted")["ended"])


def test_the_epochs_table_has_a_row_for_every_epoch(study: RunStudy) -> None:
    epochs = epochs_frame(study.trials(), ACCURACY)
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


def test_retrains_have_their_columns_in_the_given_order() -> None:
    finalist = dataclasses.replace(RETRAINED, config_name="finalist", includes_val=False, val_score=0.4, error="nan")
    frame = retrains_frame([RETRAINED, finalist], ACCURACY)
    assert list(frame.columns) == list(named(RETRAIN_COLUMNS))
    assert list(frame["config_name"]) == ["winner", "finalist"]
    assert list(frame["retrain_seed"]) == [2**62 + 1] * 2
    assert list(frame["includes_val"]) == [True, False]
    assert list(frame["test_accuracy"]) == [0.5, 0.5]
    assert list(frame["val_accuracy"].isna()) == [True, False]
    assert list(frame["error"].isna()) == [True, False]


def test_columns_are_named_after_the_metric_and_hold_its_own_values(study: RunStudy) -> None:
    """Scores of the log loss are negative in the record; the accuracy stands beside."""
    log_loss = ALL_METRICS["log_loss"]
    records = [
        dataclasses.replace(
            record,
            scores={epoch: -score for epoch, score in record.scores.items()},
            epoch_metrics={epoch: {**METRICS, "val_accuracy": 0.9, "val_error": 0.01} for epoch in record.scores},
        )
        for record in study.trials()
    ]
    completed = row(trials_frame(records, log_loss, CONFIG_KEYS), "completed")
    values = [completed[f"{name}_val_log_loss"] for name in ("last", "best")]
    assert (*values, completed["best_epoch"], completed["last_val_accuracy"]) == (0.5, 0.25, 1, 0.9)
    epochs = epochs_frame(records, log_loss)
    assert list(epochs.columns)[2:5] == ["val_log_loss", "val_log_loss_error", "val_accuracy"]
    assert list(epochs.iloc[0, 2:5]) == [0.25, 0.01, 0.9]
    retrain = dataclasses.replace(RETRAINED, test_score=-0.7, test_score_tta=-0.6, test_balanced_accuracy=0.4)
    [tested] = retrains_frame([retrain], log_loss).to_dict("records")
    assert (tested["test_log_loss"], tested["test_log_loss_tta"], tested["test_accuracy"]) == (0.7, 0.6, 0.5)
    frame = retrains_frame([dataclasses.replace(retrain, test_score=0.4)], ALL_METRICS["balanced_accuracy"])
    assert frame.columns.is_unique
    assert list(frame["test_balanced_accuracy"]) == [0.4]
