"""Trains one trial or retraining, from its newest checkpoint to its last epoch.

Independent of Ray: it answers through `report`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.checkpoint import delete_checkpoints, newest_checkpoint, save_checkpoint
from model.config import TrainConfig
from model.device_errors import is_device_lost, is_out_of_memory, telling_line
from model.engine import Engine
from model.split_images import ImageTensors
from model.training import DivergedError, Training, train_epochs
from search.files import DISK_ERRORS
from search.study.record import OUT_OF_MEMORY, TrialId
from search.worker.checkpoint_pace import CheckpointPace
from search.worker.step_counts import StepCounts


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """The part of a trial that is the same for all trials and retrainings of a run."""

    max_epochs: int
    rung_epochs: Collection[int]
    engine: Engine
    checkpoints_dir: Path
    """Absolute path; each trial and each retraining has its own folder inside."""
    steps: StepCounts | None = None
    """Where trials write their progress within an epoch; None where nobody reads it."""

    def checkpoint_dir(self, trial: TrialId) -> Path:
        """The folder of one trial's checkpoints."""
        return self.checkpoints_dir / (f"trial-{trial:04d}" if isinstance(trial, int) else trial.replace(":", "-"))


Report = Callable[[dict[str, Any]], None]


def trial_of(assignment: Mapping[str, Any]) -> TrialId:
    """Which trial or retraining an assignment is about."""
    trial: TrialId = assignment.get("retraining", assignment.get("trial_number"))
    return trial


def train_trial(assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan, report: Report) -> None:
    """Trains one trial or retraining. Reports once an epoch, and once more if it cannot go on.

    `assignment` is the searcher's suggestion; without `training_epochs`, it is a full training. A report holds the
    fields of EpochMetrics and `training_epochs`; or `ended` ("diverged" or "failed") and `error`; or `disk_error` (an
    errno) and `error`, which is not the trial's fault. A failure is reported rather than raised: the same config would
    fail again, and a raised error looks like a dead worker, whose trial starts again. Only the error of a device that
    is lost to this process is raised, because every trial after it would fail here, too.
    """
    try:
        for metrics in _epochs(assignment, images, plan):
            report(metrics)
    except DivergedError as error:
        report({"ended": "diverged", "error": str(error)})
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            report({"disk_error": error.errno, "error": f"a checkpoint could not be written: {error.strerror}"})
        elif is_device_lost(plan.engine):
            raise
        else:
            report({"ended": "failed", "error": error_line(error)})


def error_line(error: Exception) -> str:
    """The error as one line."""
    return f"{OUT_OF_MEMORY if is_out_of_memory(error) else type(error).__name__}: {telling_line(error)}"


def _epochs(assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan) -> Iterator[dict[str, Any]]:
    """Yields the metrics of every epoch that the record may lack: those in the checkpoint, then new ones."""
    folder = plan.checkpoint_dir(trial_of(assignment))
    training, history = resumed_training(assignment, images, plan)
    yield from (metrics for metrics in history if metrics["epoch"] > assignment["epochs_recorded"])
    pace = CheckpointPace()
    for epoch_metrics in train_epochs(training):
        metrics = {**asdict(epoch_metrics), "training_epochs": training.max_epochs}
        history.append(metrics)
        # Saved before it is reported: a score in the record promises that its epoch need not be trained again.
        # The last epoch's is what a retrained network is tested from.
        if epoch_metrics.epoch in (*plan.rung_epochs, training.max_epochs) or pace.is_due():
            with pace.saving():
                tensors, state = training.state()
                save_checkpoint(folder, epoch_metrics.epoch, tensors, {"training": state, "history": history})
        yield metrics


def resumed_training(
    assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan
) -> tuple[Training, list[dict[str, Any]]]:
    """The assignment's training, at its newest checkpoint if there is one, and the metrics of its epochs so far."""
    trial = trial_of(assignment)
    folder = plan.checkpoint_dir(trial)

    def start() -> Training:
        config = TrainConfig.from_flat(dict(assignment["config"]))
        return Training(
            config,
            images,
            max_epochs=assignment.get("training_epochs", plan.max_epochs),
            seed=assignment["trial_seed"],
            engine=plan.engine,
            on_step=plan.steps.writer(trial) if plan.steps else None,
        )

    training = start()
    checkpoint = newest_checkpoint(folder)
    if checkpoint is None:
        return training, []
    tensors, meta = checkpoint
    try:
        training.load_state(tensors, meta["training"])
    except ValueError:
        # It is of the shorter training that a rung compared. Or a record restored from an older copy gave this number
        # to another config since, or an extended run has another winner.
        delete_checkpoints(folder)
        return start(), []
    return training, meta["history"]
