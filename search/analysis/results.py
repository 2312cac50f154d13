"""What a run left, as DataFrames read from its record: `load_run("results/NAME").trials`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.classifier import Classifier
from model.config import CONFIG_KEYS, TrainConfig
from model.network import Network
from search.analysis.inference import load_classifier, load_network, predict
from search.analysis.verdict import Result, run_result
from search.errors import SpaceError, UserError
from search.settings import SearchSettings
from search.setup.document import RunDocument, damaged, read_document, read_space_text
from search.space.space import SearchSpace
from search.study.finals import Finals, RetrainPlan, finals_of
from search.study.integrity import record_problems
from search.study.record import TrialRecord, TrialStatus
from search.study.retrain_record import RetrainRecord
from search.study.study import RunStudy

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
    "test_loss": "float64",
    "num_params": "Int64",
    "multiply_adds": "Int64",
    "receptive_field": "Int64",
    "seconds": "float64",
    "error": "string",
}


def load_run(run_dir: str | Path) -> Run:
    """The run in a folder, finished or not. UserError if the folder holds none."""
    folder = Path(run_dir)
    return Run(folder, read_document(folder))


@dataclass(frozen=True)
class Run:
    """A run's folder and the record behind it."""

    run_dir: Path
    document: RunDocument
    """run.toml: settings, versions, hardware, data."""

    @property
    def settings(self) -> SearchSettings:
        """The run's settings, as it began or was last resumed."""
        return self.document.settings

    @cached_property
    def study(self) -> RunStudy:
        """The record. UserError if it is missing, which opening it would not tell, or damaged."""
        if problems := record_problems(self.run_dir, self.settings):
            raise UserError("\n".join(problems))
        # The folder may have been moved or renamed since.
        url = self.settings.storage or f"sqlite:///{(self.run_dir / 'study.db').absolute()}"
        return RunStudy.in_database(url, self.settings.run_name)

    @cached_property
    def space(self) -> SearchSpace:
        """What was searched. UserError if the run's copy of it is damaged."""
        try:
            return SearchSpace.from_toml(read_space_text(self.run_dir))
        except SpaceError as error:
            raise damaged(self.run_dir / "space.toml", str(error).splitlines()[0]) from None

    @cached_property
    def records(self) -> list[TrialRecord]:
        """Every trial as plain values."""
        return self.study.trials()

    @property
    def trials(self) -> pd.DataFrame:
        """A row for every trial, rejected ones included, by trial_number.

        status: completed, stopped, failed, diverged, interrupted or rejected. Accuracies are validation accuracies,
        fractions 0..1, single view. stop_*: the rung (epoch) where the trial was stopped, its score there, the cutoff
        it missed and by how much. error: one line. multiply_adds: of one image, forward. receptive_field: pixels.
        images_per_s: training images a second, mean over epochs. seconds: training and validation, all epochs.
        Then a column for each key of the config.
        """
        return trials_frame(self.records)

    @property
    def epochs(self) -> pd.DataFrame:
        """A row for every epoch of every trial. Losses are mean cross-entropies; recorded_at is a Unix time."""
        return epochs_frame(self.records)

    @property
    def retrains(self) -> pd.DataFrame:
        """A row for every retraining from scratch, by config and seed. The only test accuracies of a run.

        config_name: winner, seed and default (the baselines), or finalist: one of the best configs on a fresh seed, the
        validation images held out (`includes_val` false), to choose the winner by `val_accuracy`. Test accuracies are
        fractions 0..1 of the last epoch, single view (`test_accuracy`) and averaged with the mirrored image
        (`test_accuracy_tta`). error: one line, of a training that diverged; its accuracies are 0.
        """
        return retrains_frame(self.study.retrains())

    @cached_property
    def finals(self) -> Finals:
        """The best configs on fresh seeds, and which of them won."""
        return finals_of(self.records, self.study.retrains(), RetrainPlan.of(self.settings))

    @cached_property
    def result(self) -> Result:
        """Test accuracies over seeds, the winner's gains over the baselines, and what came of the run in a sentence."""
        return run_result(self.run_dir, self.records, self.study.retrains(), self.finals)

    @property
    def best_config(self) -> TrainConfig:
        """The winner's config. UserError while no trial has a score."""
        winner = self.finals.winner
        if winner is None:
            raise UserError(f"{self.run_dir} has no trial with a score yet, so no best config. Resume the run.")
        return TrainConfig.from_flat(dict(winner.record.config))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of class k at position k."""
        return self.document.data.class_names

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that the network takes."""
        return self.document.data.image_size

    def load_network(self) -> Network:
        """The retrained winner on the CPU, ready to evaluate. UserError before the retrain has ended.

        Normalised images (N, 3, H, W) to logits (N, K); `load_classifier` normalises by itself.
        """
        return load_network(self.run_dir, self.document)

    def load_classifier(self) -> Classifier:
        """The retrained winner on the CPU: uint8 (N, image_size, image_size, 3) RGB to probabilities (N, K)."""
        return load_classifier(self.run_dir, self.document)

    def predict(self, images: Sequence[str | Path] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities (N, K) of N image files, or of uint8 images (N, H, W, 3) RGB of any one size.

        Column k is `class_names[k]`. Images are decoded and resized as those of the training were. UserError before
        the retrain has ended, DataError for a file that is not there or no image.
        """
        return predict(self.load_classifier(), images, image_size=self.image_size)


def trials_frame(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """The trials table; see `Run.trials`."""
    rows = [_trial_row(record) for record in records]
    frame = pd.DataFrame(rows, columns=[*TRIAL_COLUMNS, *CONFIG_KEYS]).astype(TRIAL_COLUMNS)
    return frame.sort_values("trial_number", ignore_index=True)


def epochs_frame(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """The epochs table; see `Run.epochs`."""
    rows = [
        {**record.epoch_metrics.get(epoch, {}), "trial_number": record.number, "epoch": epoch, "val_accuracy": score}
        for record in records
        for epoch, score in record.val_accuracies.items()
    ]
    return pd.DataFrame(rows, columns=list(EPOCH_COLUMNS)).astype(EPOCH_COLUMNS)


def retrains_frame(records: Sequence[RetrainRecord]) -> pd.DataFrame:
    """The retrainings table; see `Run.retrains`."""
    rows = [dataclasses.asdict(record) for record in records]
    return pd.DataFrame(rows, columns=list(RETRAIN_COLUMNS)).astype(RETRAIN_COLUMNS)


def _trial_row(record: TrialRecord) -> dict[str, Any]:
    row: dict[str, Any] = {
        "trial_number": record.number,
        "status": record.status.value,
        "origin": record.origin,
        "within_limits": record.is_within_limits,
        "epochs_trained": record.epochs_trained,
        "error": record.error,
        "trial_seed": record.seed,
        "started": record.started,
        "ended": record.ended,
        **{key: record.profile.get(key) for key in ("num_params", "multiply_adds", "receptive_field")},
        **{key: record.config.get(key) for key in CONFIG_KEYS},
    }
    if record.val_accuracies:
        best_epoch = max(record.val_accuracies, key=lambda epoch: record.val_accuracies[epoch])
        speeds = [metrics["images_per_s"] for metrics in record.epoch_metrics.values() if "images_per_s" in metrics]
        row |= {
            "last_val_accuracy": record.val_accuracies[record.epochs_trained],
            "best_val_accuracy": record.val_accuracies[best_epoch],
            "best_epoch": best_epoch,
            "images_per_s": sum(speeds) / len(speeds) if speeds else None,
            "seconds": sum(metrics.get("seconds", 0.0) for metrics in record.epoch_metrics.values()),
        }
    if record.status is TrialStatus.STOPPED and record.rungs:
        stop = record.rungs[-1]
        row |= {"stop_rung_epoch": stop.epoch, "stop_score": stop.score, "stop_cutoff": stop.cutoff}
        row["stop_margin"] = None if stop.cutoff is None else stop.score - stop.cutoff
    return row
