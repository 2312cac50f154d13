"""Retrainings one after another in this process, as the workers of Ray do them side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from model.split_images import on_device
from search.retrain.stage import retrain_splits
from search.schedulers.retrain_queue import RetrainQueue
from search.setup.preparation import Preparation
from search.study.checkpoints import Checkpoints
from search.worker.trainable import train_trial


def train_serially(
    preparation: Preparation,
    queue: RetrainQueue,
    on_report: Callable[[str, dict[str, Any]], None] = lambda key, metrics: None,
) -> None:
    """Trains until nothing is due."""
    splits, plan = retrain_splits(preparation), preparation.trial_plan()
    checkpoints = Checkpoints(preparation.settings.run_dir)
    while (assignment := queue.suggest()) is not None:
        key = assignment["retraining"]

        def report(metrics: dict[str, Any], key: str = key) -> None:
            if (checkpoint := metrics.get("checkpoint")) is not None:
                checkpoints.write(key, checkpoint)
            if "steps" not in metrics:
                on_report(key, metrics)
                queue.report(key, metrics)

        assignment = {**assignment, "checkpoint": checkpoints.newest(key)}
        train_trial(assignment, on_device(splits[assignment["images"]], torch.device("cpu")), plan, report)
        queue.release(key)
        if queue.record(key).is_ended:
            checkpoints.delete(key)
