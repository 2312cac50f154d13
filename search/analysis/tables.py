"""The tables of a run: one row per trial, per epoch and per retraining, with the same columns and types for any run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from model.metrics import Metric
from search.study.record import RungDecision, TrialRecord, TrialStatus
from search.study.retrain_record import RetrainRecord

# METRIC stands for the name of the run's metric, in all columns.
TRIAL_COLUMNS = {
    "trial_number": "int64",
    "status": "string",
    "origin": "string",
    "within_limits": "boolean",
    "epochs_trained": "int64",
    "last_val_METRIC": "float64",
    "last_val_accuracy": "float64",
    "best_val_METRIC": "float64",
    "best_epoch": "Int64",
    "stop_rung_epoch": "Int64",
    "stop_score": "float64",
    "stop_cutoff": "float64",
    "stop_margin": "float64",
    "error": "string",
    "num_params": "Int64",
    "multiply_adds": "Int64",
    "receptive_field": "Int64",
    "images_per_s": "float64",
    "seconds": "float64",
    "trial_seed": "Int64",
    "started": "datetime64[us]",
    "ended": "datetime64[us]",
}
EPOCH_COLUMNS = {
    "trial_number": "int64",
    "epoch": "int64",
    "val_METRIC": "float64",
    "val_METRIC_error": "float64",
    "val_accuracy": "float64",
    "val_loss": "float64",
    "train_loss": "float64",
    "lr": "float64",
    "seconds": "float64",
    "images_per_s": "float64",
    "recorded_at": "float64",
    "worker": "string",
}
RETRAIN_COLUMNS = {
    "config_name": "string",
    "trial_number": "Int64",
    "retrain_seed": "int64",
    "includes_val": "boolean",
    "epochs_trained": "int64",
    "val_METRIC": "float64",
    "val_accuracy": "float64",
    "test_METRIC": "float64",
    "test_METRIC_tta": "float64",
    "test_accuracy": "float64",
    "test_accuracy_tta": "float64",
    "test_balanced_accuracy": "float64",
    "test_loss": "float64",
    "num_params": "Int64",
    "multiply_adds": "Int64",
    "receptive_field": "Int64",
    "seconds": "float64",
    "error": "string",
}


def trials_frame(records: Sequence[TrialRecord], metric: Metric, config_keys: Sequence[str]) -> pd.DataFrame:
    """The trials table; see `Run.trials`."""
    columns = {key: config_column(key, metric) for key in config_keys}
    rows = [
        {**{columns[key]: record.config.get(key) for key in config_keys}, **_trial_row(record, metric)}
        for record in records
    ]
    frame = _frame(rows, TRIAL_COLUMNS, metric, list(columns.values()))
    return frame.sort_values("trial_number", ignore_index=True)


def config_column(key: str, metric: Metric) -> str:
    """The column of a config's key: its own name, unless an own network's key is called as another column is."""
    return f"config_{key}" if key in {name.replace("METRIC", metric.name) for name in TRIAL_COLUMNS} else key


def epochs_frame(records: Sequence[TrialRecord], metric: Metric) -> pd.DataFrame:
    """The epochs table; see `Run.epochs`."""
    rows = []
    for record in records:
        for epoch, score in record.scores.items():
            metrics = record.epoch_metrics.get(epoch, {})
            own = {"val_METRIC": metric.value(score), "val_METRIC_error": metrics.get("val_error")}
            rows.append({**metrics, **own, "trial_number": record.number, "epoch": epoch})
    return _frame(rows, EPOCH_COLUMNS, metric)


def retrains_frame(records: Sequence[RetrainRecord], metric: Metric) -> pd.DataFrame:
    """The retrainings table; see `Run.retrains`."""
    names = {"val_score": "val_METRIC", "test_score": "test_METRIC", "test_score_tta": "test_METRIC_tta"}
    rows = [
        {**dataclasses.asdict(record), **{name: _value(metric, getattr(record, key)) for key, name in names.items()}}
        for record in records
    ]
    return _frame(rows, RETRAIN_COLUMNS, metric)


def _frame(
    rows: Sequence[Mapping[str, Any]], types: Mapping[str, str], metric: Metric, further: Sequence[str] = ()
) -> pd.DataFrame:
    """The rows as a table with the metric's name for METRIC. Where that makes two columns one, the metric's is kept."""
    named = {key.replace("METRIC", metric.name): kind for key, kind in types.items()}
    own = [{key.replace("METRIC", metric.name): value for key, value in row.items()} for row in rows]
    return pd.DataFrame(own, columns=[*named, *further]).astype(named)


def _value(metric: Metric, score: float | None) -> float | None:
    return None if score is None else metric.value(score)


def stop_of(record: TrialRecord) -> RungDecision | None:
    """The decision that stopped a trial; None for a trial that was not stopped."""
    return record.rungs[-1] if record.status is TrialStatus.STOPPED and record.rungs else None


def _trial_row(record: TrialRecord, metric: Metric) -> dict[str, Any]:
    row: dict[str, Any] = {
        "trial_number": record.number,
        "status": record.status.value,
        "origin": record.origin,
        "within_limits": record.is_within_limits,
        "epochs_trained": record.epochs_trained,
        "last_val_accuracy": record.last_accuracy,
        "last_val_METRIC": _value(metric, record.last_score),
        "best_epoch": record.best_epoch,
        "images_per_s": record.mean_images_per_s,
        "error": record.error,
        "trial_seed": record.seed,
        "started": record.started,
        "ended": record.ended,
        **{key: record.profile.get(key) for key in ("num_params", "multiply_adds", "receptive_field")},
    }
    if record.best_epoch is not None:
        row |= {"best_val_METRIC": metric.value(record.scores[record.best_epoch]), "seconds": record.seconds}
    if (stop := stop_of(record)) is not None:
        row |= {"stop_rung_epoch": stop.epoch, "stop_score": metric.value(stop.score)}
        row["stop_cutoff"] = _value(metric, stop.cutoff)
        row["stop_margin"] = None if stop.cutoff is None else stop.score - stop.cutoff
    return row
