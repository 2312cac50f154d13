"""A config trained from scratch on all training images, then tested: the only reader of the test images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.checkpoint import delete_checkpoints, newest_checkpoint, save_checkpoint
from model.config import TrainConfig
from model.data import TrainingData, channel_statistics, load_test_data
from model.engine import Engine
from model.evaluation import evaluate
from model.seeds import derive_seed
from model.training import EpochMetrics, Training, train_epochs
from search.arrays import SearchArrays, shared_images
from search.checkpoint_pace import CheckpointPace
from search.predictions import predictions_path, write_predictions
from search.settings import SearchSettings
from search.study import RunStudy
from search.weights import write_weights


@dataclass(frozen=True, kw_only=True)
class RetrainTask:
    """One retraining to do."""

    config_name: str
    """winner or seed."""
    config: TrainConfig
    trial_number: int | None
    profile: Mapping[str, Any]
    weights_file: Path | None = None
    """Where the trained weights go; None keeps none."""

    @property
    def key(self) -> str:
        """Its name in the record."""
        return f"retrain:{self.config_name}:0"

    @property
    def file_stem(self) -> str:
        """Its name in the run's folder."""
        return self.key.replace(":", "-")


def retrain(
    task: RetrainTask,
    *,
    settings: SearchSettings,
    data: TrainingData,
    engine: Engine,
    study: RunStudy,
    on_epoch: Callable[[RetrainTask, EpochMetrics], None],
) -> dict[str, Any]:
    """Trains the task's config for `max_epochs` on training and validation images together, and tests the last epoch.

    Goes on from its newest checkpoint if it was cut off; what the record has of the same trial is not done again.
    Returns and records the row of `Run.retrains`, and with it the metrics of every epoch.
    """
    done = study.notes().get(task.key)
    if done is not None and done["trial_number"] == task.trial_number:
        return dict(done)
    if task.weights_file is not None:
        # An extended run may have another winner, whose config must not meet the weights of the one before.
        task.weights_file.unlink(missing_ok=True)
    seed = derive_seed(settings.seed, task.key)
    arrays = all_images(data)
    images = shared_images(arrays, torch.device(engine.device))
    training = Training(task.config, images, max_epochs=settings.max_epochs, seed=seed, engine=engine)
    checkpoints = settings.run_dir / "checkpoints" / f"{task.file_stem}-trial-{task.trial_number}"
    history = _train(training, checkpoints, task, on_epoch)
    predictions_file = predictions_path(settings.run_dir, task.key)
    row = {
        "config_name": task.config_name,
        "trial_number": task.trial_number,
        "retrain_seed": seed,
        "epochs_trained": training.epoch,
        **_test(training, arrays, settings=settings, data=data, predictions_file=predictions_file),
        **task.profile,
        "seconds": sum(metrics["seconds"] for metrics in history),
        "epochs": history,
    }
    if task.weights_file is not None:
        write_weights(task.weights_file, training.network, mean=arrays.mean, std=arrays.std)
    study.set_note(task.key, row)
    delete_checkpoints(checkpoints)
    return row


def all_images(data: TrainingData) -> SearchArrays:
    """Every training image in the training split, none for validation."""
    everything = np.arange(len(data.examples))
    mean, std = channel_statistics(data.examples.images, everything)
    return SearchArrays(
        images=data.examples.images,
        labels=data.examples.labels,
        train_indices=everything,
        val_indices=everything[:0],
        mean=mean,
        std=std,
        num_classes=len(data.class_names),
        split_hash=data.fingerprint,
    )


def _train(
    training: Training, folder: Path, task: RetrainTask, on_epoch: Callable[[RetrainTask, EpochMetrics], None]
) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = []
    checkpoint = newest_checkpoint(folder)
    if checkpoint is not None:
        tensors, meta = checkpoint
        training.load_state(tensors, meta["training"])
        history = meta["history"]
    pace = CheckpointPace()
    for metrics in train_epochs(training):
        history.append(asdict(metrics))
        if pace.is_due():
            with pace.saving():
                tensors, state = training.state()
                save_checkpoint(folder, metrics.epoch, tensors, {"training": state, "history": history})
        on_epoch(task, metrics)
    return history


def _test(
    training: Training, arrays: SearchArrays, *, settings: SearchSettings, data: TrainingData, predictions_file: Path
) -> dict[str, float]:
    """Test accuracy (fraction) of the last epoch, single view and flip TTA; keeps the single view's answers."""
    side = data.examples.images.shape[1]
    test = load_test_data(data.name, image_size=side, seed=settings.seed, data_dir=settings.data_dir)
    device = torch.device(training.engine.device)
    images, labels = torch.from_numpy(test.images).to(device), torch.from_numpy(test.labels).to(device)
    views = {
        suffix: evaluate(
            training.network,
            images,
            labels,
            None,
            mean=arrays.mean,
            std=arrays.std,
            engine=training.engine,
            flip_tta=flip_tta,
        )
        for suffix, flip_tta in (("", False), ("_tta", True))
    }
    write_predictions(predictions_file, test, views[""].probabilities.numpy())
    return {
        "test_accuracy": views[""].accuracy,
        "test_accuracy_tta": views["_tta"].accuracy,
        "test_loss": views[""].loss,
    }
