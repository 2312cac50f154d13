"""Trains one config from scratch and evaluates it: on the validation images or, at the very end, on the test images.

The only module that reads the test images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.checkpoint import delete_checkpoints, newest_checkpoint, save_checkpoint
from model.config import TrainConfig
from model.data import TrainingData, channel_statistics
from model.engine import Engine
from model.evaluation import evaluate
from model.examples import Examples
from model.seeds import derive_seed
from model.split_images import ImageArrays, on_device
from model.test_data import load_test_data
from model.training import DivergedError, EpochMetrics, Training, train_epochs
from search.retrain.predictions import predictions_path, write_predictions
from search.retrain.weights import write_weights
from search.settings import SearchSettings
from search.study.retrain_record import FINALIST, RetrainRecord, retrain_key
from search.study.study import RunStudy
from search.worker.checkpoint_pace import CheckpointPace


@dataclass(frozen=True, kw_only=True)
class RetrainTask:
    """One retraining to do."""

    config_name: str
    """finalist, winner, seed or default."""
    config: TrainConfig
    trial_number: int
    profile: Mapping[str, Any]
    seed_index: int = 0
    """Counts the retrainings of one config, from 0."""
    weights_file: Path | None = None
    """Where the trained weights go; None keeps none."""

    @property
    def key(self) -> str:
        """Its name in the record."""
        return retrain_key(self.config_name, self.trial_number, self.seed_index)

    @property
    def file_stem(self) -> str:
        """Its name in the run's folder."""
        return self.key.replace(":", "-")


@dataclass(frozen=True, kw_only=True)
class Retrainer:
    """Trains tasks for `max_epochs` each. A task that was cut off continues from its newest checkpoint; a task whose
    result is in the record is not repeated. A training that diverges is recorded with accuracy 0 and an error.
    """

    settings: SearchSettings
    data: TrainingData
    engine: Engine
    study: RunStudy
    on_epoch: Callable[[RetrainTask, EpochMetrics], None]

    def finished(self, task: RetrainTask) -> RetrainRecord | None:
        """The task's result in the record, if it is of the same trial."""
        records = (one for one in self.study.retrains() if one.key == task.key)
        return next((one for one in records if one.trial_number == task.trial_number), None)

    def validate(self, task: RetrainTask, images: ImageArrays) -> RetrainRecord:
        """Trains on the training split of `images`; records the last epoch's accuracy on its validation split."""
        done = self.finished(task)
        if done is not None:
            return done
        training, history = self._start(task, images)
        try:
            self._train(training, history, task)
        except DivergedError as error:
            return self._record(task, history, val_accuracy=0.0, error=str(error))
        return self._record(task, history, val_accuracy=history[-1]["val_accuracy"])

    def train(self, task: RetrainTask) -> None:
        """Trains on training and validation images together; the last epoch stays in a checkpoint for `test`."""
        if self.finished(task) is not None:
            return
        if task.weights_file is not None:
            # An extended run may have another winner; its config must not meet the earlier winner's weights.
            task.weights_file.unlink(missing_ok=True)
        training, history = self._start(task, all_images(self.data))
        try:
            self._train(training, history, task)
        except DivergedError as error:
            zeros = dict.fromkeys(("test_accuracy", "test_accuracy_tta", "test_balanced_accuracy"), 0.0)
            self._record(task, history, **zeros, error=str(error))

    def test(self, tasks: Sequence[RetrainTask]) -> Iterator[RetrainRecord]:
        """Opens the test images and yields the result of each task. All tasks must have been trained."""
        is_any_left = any(self.finished(task) is None for task in tasks)
        examples = self._load_test_images() if is_any_left else None
        for task in tasks:
            done = self.finished(task)
            if done is not None:
                yield done
            else:
                assert examples is not None
                yield self._test(task, examples)

    def _load_test_images(self) -> Examples:
        return load_test_data(
            self.data.name,
            image_size=self.data.examples.images.shape[1],
            seed=self.settings.seed,
            data_dir=self.settings.data_dir,
            skip_unreadable=self.settings.skip_unreadable,
        )

    def _test(self, task: RetrainTask, examples: Examples) -> RetrainRecord:
        images = all_images(self.data)
        training, history = self._start(task, images)
        self._train(training, history, task)  # does nothing, unless the checkpoint was lost meanwhile
        scores, probabilities = _test_scores(training, images, examples)
        write_predictions(predictions_path(self.settings.run_dir, task.key), examples, probabilities)
        if task.weights_file is not None:
            write_weights(task.weights_file, training.network, mean=images.mean, std=images.std)
        return self._record(task, history, **scores)

    def _start(self, task: RetrainTask, images: ImageArrays) -> tuple[Training, list[dict[str, Any]]]:
        """The task's training, at its newest checkpoint if there is one, and the metrics of its epochs so far."""
        placed = on_device(images, torch.device(self.engine.device))
        training = Training(
            task.config, placed, max_epochs=self.settings.max_epochs, seed=self._seed(task), engine=self.engine
        )
        checkpoint = newest_checkpoint(self._checkpoints(task))
        if checkpoint is None:
            return training, []
        tensors, meta = checkpoint
        training.load_state(tensors, meta["training"])
        return training, meta["history"]

    def _train(self, training: Training, history: list[dict[str, Any]], task: RetrainTask) -> None:
        pace = CheckpointPace()
        for metrics in train_epochs(training):
            history.append(asdict(metrics))
            if pace.is_due() or metrics.epoch == training.max_epochs:
                with pace.saving():
                    tensors, state = training.state()
                    save_checkpoint(
                        self._checkpoints(task), metrics.epoch, tensors, {"training": state, "history": history}
                    )
            self.on_epoch(task, metrics)

    def _record(self, task: RetrainTask, history: list[dict[str, Any]], **scores: Any) -> RetrainRecord:
        record = RetrainRecord(
            config_name=task.config_name,
            trial_number=task.trial_number,
            seed_index=task.seed_index,
            retrain_seed=self._seed(task),
            includes_val=task.config_name != FINALIST,
            epochs_trained=len(history),
            num_params=task.profile["num_params"],
            multiply_adds=task.profile["multiply_adds"],
            receptive_field=task.profile["receptive_field"],
            seconds=sum(metrics["seconds"] for metrics in history),
            train_losses=tuple(metrics["train_loss"] for metrics in history),
            **scores,
        )
        self.study.record_retrain(record)
        delete_checkpoints(self._checkpoints(task))
        return record

    def _seed(self, task: RetrainTask) -> int:
        return derive_seed(self.settings.seed, task.key)

    def _checkpoints(self, task: RetrainTask) -> Path:
        return self.settings.run_dir / "checkpoints" / f"{task.file_stem}-trial-{task.trial_number}"


def all_images(data: TrainingData) -> ImageArrays:
    """Every training image in the training split, none for validation."""
    everything = np.arange(len(data.examples))
    mean, std = channel_statistics(data.examples.images, everything)
    return ImageArrays(
        images=data.examples.images,
        labels=data.examples.labels,
        train_indices=everything,
        val_indices=everything[:0],
        mean=mean,
        std=std,
        num_classes=len(data.class_names),
        split_hash=data.fingerprint,
    )


def _test_scores(training: Training, trained_on: ImageArrays, test: Examples) -> tuple[dict[str, float], np.ndarray]:
    """Test accuracy (fraction), single view and flip TTA, and loss; the single view's probabilities (N, K)."""
    device = torch.device(training.engine.device)
    images, labels = torch.from_numpy(test.images).to(device), torch.from_numpy(test.labels).to(device)
    evaluate_test = partial(
        evaluate,
        training.network,
        images,
        labels,
        None,
        mean=trained_on.mean,
        std=trained_on.std,
        engine=training.engine,
    )
    single, tta = evaluate_test(flip_tta=False), evaluate_test(flip_tta=True)
    scores = {
        "test_accuracy": single.accuracy,
        "test_accuracy_tta": tta.accuracy,
        "test_balanced_accuracy": _balanced_accuracy(test.labels, single.probabilities.argmax(dim=1).cpu().numpy()),
        "test_loss": single.loss,
    }
    return scores, single.probabilities.numpy()


def _balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over the classes of their accuracy."""
    return float(np.mean([(predicted[labels == label] == label).mean() for label in np.unique(labels)]))
