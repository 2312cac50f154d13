"""A config trained from scratch and judged: on the validation images, or at the very end on the test images.

The only reader of the test images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from model.examples import Examples
from model.seeds import derive_seed
from model.training import DivergedError, EpochMetrics, Training, train_epochs
from search.retrain.predictions import predictions_path, write_predictions
from search.retrain.weights import write_weights
from search.settings import SearchSettings
from search.study.finals import FINALIST, finalist_key
from search.study.study import RunStudy
from search.worker.checkpoint_pace import CheckpointPace
from search.worker.images import SearchArrays, shared_images

_WORST = {"test_accuracy": 0.0, "test_accuracy_tta": 0.0, "test_loss": None}


@dataclass(frozen=True, kw_only=True)
class RetrainTask:
    """One retraining to do."""

    config_name: str
    """finalist, winner, seed or default."""
    config: TrainConfig
    trial_number: int
    profile: Mapping[str, Any]
    seed_index: int = 0
    """Which of its retrainings it is, from 0."""
    weights_file: Path | None = None
    """Where the trained weights go; None keeps none."""

    @property
    def key(self) -> str:
        """Its name in the record."""
        if self.config_name == FINALIST:
            return finalist_key(self.trial_number, self.seed_index)
        return f"retrain:{self.config_name}:{self.seed_index}"

    @property
    def file_stem(self) -> str:
        """Its name in the run's folder."""
        return self.key.replace(":", "-")


@dataclass(frozen=True, kw_only=True)
class Retrainer:
    """Trains tasks for `max_epochs` each. Goes on from a task's newest checkpoint if it was cut off, and does nothing
    again that the record has of the same trial. A training that diverges has accuracy 0 and an error in its row.
    """

    settings: SearchSettings
    data: TrainingData
    engine: Engine
    study: RunStudy
    on_epoch: Callable[[RetrainTask, EpochMetrics], None]

    def finished_row(self, task: RetrainTask) -> dict[str, Any] | None:
        """What the record has of the task."""
        row = self.study.notes().get(task.key)
        return dict(row) if row is not None and row["trial_number"] == task.trial_number else None

    def validate(self, task: RetrainTask, arrays: SearchArrays) -> dict[str, Any]:
        """Trains on the training split of `arrays` and judges the last epoch on its validation split; records that."""
        done = self.finished_row(task)
        if done is not None:
            return done
        training, history = self._start(task, arrays)
        try:
            self._train(training, history, task)
        except DivergedError as error:
            return self._record(task, history, {"val_accuracy": 0.0, "error": str(error)})
        return self._record(task, history, {"val_accuracy": history[-1]["val_accuracy"]})

    def train(self, task: RetrainTask) -> None:
        """Trains on training and validation images together; the last epoch stays in a checkpoint for `test`."""
        if self.finished_row(task) is not None:
            return
        if task.weights_file is not None:
            # An extended run may have another winner, whose config must not meet the weights of the one before.
            task.weights_file.unlink(missing_ok=True)
        training, history = self._start(task, all_images(self.data))
        try:
            self._train(training, history, task)
        except DivergedError as error:
            self._record(task, history, {**_WORST, "error": str(error)})

    def test(self, tasks: Sequence[RetrainTask]) -> Iterator[dict[str, Any]]:
        """Opens the test images and yields the row of each task, all of which have been trained by now."""
        trained = [task for task in tasks if self.finished_row(task) is None]
        examples = self._load_test_images() if trained else None
        for task in tasks:
            done = self.finished_row(task)
            if done is not None:
                yield done
            else:
                assert examples is not None
                yield self._test(task, examples)

    def _load_test_images(self) -> Examples:
        data, side = self.data, self.data.examples.images.shape[1]
        return load_test_data(data.name, image_size=side, seed=self.settings.seed, data_dir=self.settings.data_dir)

    def _test(self, task: RetrainTask, examples: Examples) -> dict[str, Any]:
        arrays = all_images(self.data)
        training, history = self._start(task, arrays)
        self._train(training, history, task)  # nothing is left to do, unless its checkpoint was lost meanwhile
        scores, probabilities = _test_scores(training, arrays, examples)
        write_predictions(predictions_path(self.settings.run_dir, task.key), examples, probabilities)
        if task.weights_file is not None:
            write_weights(task.weights_file, training.network, mean=arrays.mean, std=arrays.std)
        return self._record(task, history, scores)

    def _start(self, task: RetrainTask, arrays: SearchArrays) -> tuple[Training, list[dict[str, Any]]]:
        """The task's training, at its newest checkpoint if there is one, and the metrics of the epochs before it."""
        images = shared_images(arrays, torch.device(self.engine.device))
        training = Training(
            task.config, images, max_epochs=self.settings.max_epochs, seed=self._seed(task), engine=self.engine
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

    def _record(self, task: RetrainTask, history: list[dict[str, Any]], scores: Mapping[str, Any]) -> dict[str, Any]:
        """Writes and returns the row of `Run.retrains`, and with it the metrics of every epoch."""
        row = {
            "config_name": task.config_name,
            "trial_number": task.trial_number,
            "retrain_seed": self._seed(task),
            "includes_val": task.config_name != FINALIST,
            "epochs_trained": len(history),
            **scores,
            **task.profile,
            "seconds": sum(metrics["seconds"] for metrics in history),
            "epochs": history,
        }
        self.study.set_note(task.key, row)
        delete_checkpoints(self._checkpoints(task))
        return row

    def _seed(self, task: RetrainTask) -> int:
        return derive_seed(self.settings.seed, task.key)

    def _checkpoints(self, task: RetrainTask) -> Path:
        return self.settings.run_dir / "checkpoints" / f"{task.file_stem}-trial-{task.trial_number}"


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


def _test_scores(training: Training, arrays: SearchArrays, test: Examples) -> tuple[dict[str, float], np.ndarray]:
    """Test accuracy (fraction), single view and flip TTA, and loss; the single view's probabilities (N, K)."""
    device = torch.device(training.engine.device)
    images, labels = torch.from_numpy(test.images).to(device), torch.from_numpy(test.labels).to(device)
    single, tta = (
        evaluate(
            training.network,
            images,
            labels,
            None,
            mean=arrays.mean,
            std=arrays.std,
            engine=training.engine,
            flip_tta=flip_tta,
        )
        for flip_tta in (False, True)
    )
    scores = {"test_accuracy": single.accuracy, "test_accuracy_tta": tta.accuracy, "test_loss": single.loss}
    return scores, single.probabilities.numpy()
