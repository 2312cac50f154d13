"""After all trainings: tests the winner and the baselines. The only module that reads the test images."""

from __future__ import annotations

import dataclasses
import signal
from functools import partial
from typing import Any

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray
from torch import nn

from model.config import TrainConfig
from model.data import TrainingData, channel_statistics
from model.engine import Engine
from model.evaluation import evaluate
from model.metrics import METRICS
from model.split_images import ImageArrays, on_device
from model.test_data import load_test_data
from model.training import train_epochs
from search.display.display import Display
from search.errors import RunFailed, RunInterrupted
from search.files import write_atomically
from search.machine.hardware import num_cpus
from search.retrain.predictions import predictions_path, write_predictions
from search.retrain.weights import write_weights
from search.schedulers.retrain_queue import ALL_IMAGES, SPLIT_OF_FINALISTS, RetrainQueue
from search.settings import SearchSettings
from search.setup.floor import floor_of
from search.setup.images import split_images
from search.setup.preparation import Preparation
from search.study.checkpoints import Checkpoints
from search.study.finals import Finals
from search.study.retrain_record import FINALIST, RetrainRecord, retrain_title
from search.study.study import EARLY_END_NOTE, RunStudy
from search.text import score_text
from search.worker.trainable import resumed_training


def retrain_splits(preparation: Preparation) -> dict[str, ImageArrays]:
    """What retrainings train on, by the names that `RetrainQueue` gives them."""
    # Finalists train on the whole training split, even if trials used a part of it.
    whole = preparation.settings.changed(search_examples=None)
    return {
        SPLIT_OF_FINALISTS: split_images(whole, preparation.data),
        ALL_IMAGES: all_images(preparation.data),
    }


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


def note_winner(settings: SearchSettings, study: RunStudy, display: Display, finals: Finals) -> None:
    """Writes down who won. What an earlier winner left, of a run that was extended since, goes."""
    winner, run_dir, metric = finals.winner, settings.run_dir, METRICS[settings.metric]
    assert winner is not None
    config = TrainConfig.from_flat(dict(winner.record.config))
    write_atomically(run_dir / "best_config.toml", tomli_w.dumps(config.flat()))
    study.set_note("winner", winner.record.number)
    retrained = [one.trial_number for one in study.retrains() if one.config_name == "winner"]
    if winner.record.number not in retrained:
        for path in (run_dir / "model.safetensors", *(run_dir / "test_predictions").glob("retrain-winner-*.parquet")):
            path.unlink(missing_ok=True)
    if winner.fresh is not None:
        display.message(
            f"the winner is trial {winner.record.number}: validation {metric.title} "
            f"{score_text(metric, winner.fresh.mean)} on fresh seeds, {score_text(metric, winner.search_score)} in the "
            "search"
        )


def evaluate_retrained(preparation: Preparation, queue: RetrainQueue, study: RunStudy, display: Display) -> None:
    """Opens the test images and records each network's scores on them. All trainings must have ended.

    RunInterrupted if people or the time budget ended the search before any trial had a score. RunFailed if one of them
    failed, or if no trial has a score: before the test images are opened unless only baselines failed, without which
    the winner has its test.
    """
    failed = [task for task in queue.tasks if task.key in queue.failures]
    if any(task.config_name in (FINALIST, "winner") for task in failed):
        raise _failure(queue)
    metric = METRICS[preparation.settings.metric]
    keys = [task.key for task in queue.tasks if task.config_name != FINALIST and task not in failed]
    if not keys:
        if study.notes().get(EARLY_END_NOTE) and not any(trial.error for trial in study.trials()):
            words = "no trial has a score yet, so there is nothing to retrain"
            display.message(f"{words}; `control --continue` goes on with the search")
            raise RunInterrupted(signal.SIGINT)  # on request, and more trials can follow
        raise RunFailed("no trial ended with a score, so there is nothing to retrain. See the errors in trials.csv.")
    untested = [key for key in keys if not queue.record(key).is_ended]
    tester = _Tester(preparation, queue) if untested else None
    for key in keys:
        if tester is not None and key in untested:
            study.record_retrain(tester.test(key))
            tester.checkpoints.delete(key)
        tested = queue.record(key)
        display.message(
            f"{retrain_title(key)}: test {metric.title} "
            f"{score_text(metric, tested.test_score, tested.test_accuracy)} single view, "
            f"{score_text(metric, tested.test_score_tta, tested.test_accuracy_tta)} with flip TTA"
        )
    if classes := preparation.survey.test:
        display.message(f"without looking at the images: {floor_of(classes, metric.name).note}")
    if failed:
        raise _failure(queue)


def _failure(queue: RetrainQueue) -> RunFailed:
    key, error = next(iter(queue.failures.items()))
    return RunFailed(f"the retraining of {retrain_title(key)} failed: {error}")


class _Tester:
    """The test images, and what evaluates a retrained network on them."""

    def __init__(self, preparation: Preparation, queue: RetrainQueue) -> None:
        settings, data, self._plan = preparation.settings, preparation.data, preparation.trial_plan()
        self.checkpoints = Checkpoints(settings.run_dir)
        self._run_dir = settings.run_dir
        self._queue = queue
        self._metric = METRICS[settings.metric]
        # The first seed's weights are kept that trained to the end. The best seed's would be chosen by test accuracy.
        winners = [task.key for task in queue.tasks if task.config_name == "winner"]
        self._kept = next((key for key in winners if queue.record(key).error is None), None)
        if self._plan.engine.device_type == "cuda" and not torch.cuda.is_available():  # as where a cluster has the GPUs
            self._plan = dataclasses.replace(self._plan, engine=Engine())
        # No trial runs any more, so all cores are free.
        self._engine = dataclasses.replace(self._plan.engine, num_threads=num_cpus())
        self._device = torch.device(self._engine.device)
        self._images = on_device(all_images(data), self._device)
        self._test = load_test_data(
            data.name,
            image_size=preparation.image_size,
            seed=settings.seed,
            data_dir=settings.data_dir,
            skip_unreadable=settings.skip_unreadable,
        )

    def test(self, key: str) -> RetrainRecord:
        """The complete record of a retraining. Also writes its predictions and, of one, the weights."""
        assignment = {**self._queue.assignment(key), "checkpoint": self.checkpoints.newest(key)}
        training, _ = resumed_training(assignment, self._images, self._plan)
        for _ in train_epochs(training):
            pass  # nothing is left to train, unless the last checkpoint was lost
        scores, probabilities = self._scores(training.network)
        write_predictions(predictions_path(self._run_dir, key), self._test, probabilities)
        if key == self._kept:
            weights_file = self._run_dir / "model.safetensors"
            write_weights(weights_file, training.network, mean=self._images.mean, std=self._images.std)
        return dataclasses.replace(self._queue.record(key), **scores)

    def _scores(self, network: nn.Module) -> tuple[dict[str, Any], NDArray[np.float32]]:
        """The scores as the record has them; the single view's probabilities (N, K)."""
        self._engine.apply()
        evaluate_test = partial(
            evaluate,
            network,
            torch.from_numpy(self._test.images).to(self._device),
            torch.from_numpy(self._test.labels).to(self._device),
            None,
            mean=self._images.mean,
            std=self._images.std,
            engine=self._engine,
        )
        single, tta = evaluate_test(flip_tta=False), evaluate_test(flip_tta=True)
        probabilities, labels = single.probabilities.numpy(), self._test.labels
        scores = {
            "test_score": self._metric.measure(labels, probabilities).score,
            "test_score_tta": self._metric.measure(labels, tta.probabilities.numpy()).score,
            "test_accuracy": single.accuracy,
            "test_accuracy_tta": tta.accuracy,
            "test_balanced_accuracy": METRICS["balanced_accuracy"].measure(labels, probabilities).score,
            "test_loss": single.loss,
        }
        return scores, probabilities
