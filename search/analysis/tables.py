"""The tables of a run: one row per trial, per epoch and per retraining, with the same columns and types for any run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

from search.study.record import RungDecision, TrialRecord, TrialStatus
from search.study.retrain_record import RetrainRecord

TRIAL_COLUMNS = {
    "trial_number": "int64",
    "status": "string",
    "origin": "string",
    "within_limits": "boolean",
    "epochs_trained": "int64",
    "last_val_accuracy": "float64",
    "best_val_accuracy": "float64",
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
    "val_accuracy": "float64",
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


def trials_frame(records: Sequence[TrialRecord], config_keys: Sequence[str]) -> pd.DataFrame:
    """The trials table; see `Run.trials`."""
    rows = [{**dict.fromkeys(config_keys), **record.config, **_trial_row(record)} for record in records]
    frame = pd.DataFrame(rows, columns=[*TRIAL_COLUMNS, *config_keys]).astype(TRIAL_COLUMNS)
    return frame.sort_values("trial_number", ignore_index=True)


def epochs_frame(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """The epochs table; see `Run.epochs`."""
    rows = [
        {**record.epoch_metrics.get(epoch, {}), "trial_number": record.number, "epoch": epoch, "val_accuracy": score}
        for record in records
        for epoch, score in record.scores.items()
    ]
    return pd.DataFrame(rows, columns=list(EPOCH_COLUMNS)).astype(EPOCH_COLUMNS)


def retrains_frame(records: Sequence[RetrainRecord]) -> pd.DataFrame:
    """The retrainings table; see `Run.retrains`."""
    rows = [{**dataclasses.asdict(record), "val_accuracy": record.val_score} for record in records]
    return pd.DataFrame(rows, columns=list(RETRAIN_COLUMNS)).astype(RETRAIN_COLUMNS)


def stop_of(record: TrialRecord) -> RungDecision | None:
    """The decision that stopped a trial; None for a trial that was not stopped."""
    return record.rungs[-1] if record.status is TrialStatus.STOPPED and record.rungs else None


def _trial_row(record: TrialRecord) -> dict[str, Any]:
    row: dict[str, Any] = {
        "trial_number": record.number,
        "status": record.status.value,
        "origin": record.origin,
        "within_limits": record.is_within_limits,
        "epochs_trained": record.epochs_trained,
        "last_val_accuracy": record.last_score,
        "best_epoch": record.best_epoch,
        "images_per_s": record.mean_images_per_s,
        "error": record.error,
        "trial_seed": record.seed,
        "started": record.started,
        "ended": record.ended,
        **{key: record.profile.get(key) for key in ("num_params", "multiply_adds", "receptive_field")},
    }
    if record.best_epoch is not None:
        row |= {"best_val_accuracy": record.scores[record.best_epoch], "seconds": record.seconds}
    if (stop := stop_of(record)) is not None:
        row |= {"stop_rung_epoch": stop.epoch, "stop_score": stop.score, "stop_cutoff": stop.cutoff}
        row["stop_margin"] = None if stop.cutoff is None else stop.score - stop.cutoff
    return row
