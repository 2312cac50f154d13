"""Trains one trial or retraining, from the checkpoint it is given to its last epoch.

Independent of Ray: it answers through `report`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from model.checkpoint import Checkpoint
from model.config import TrainConfig
from model.device_errors import is_device_lost, is_out_of_memory, telling_line
from model.engine import Engine
from model.network_source import BUILT_IN, NetworkSource, builder_of
from model.objective import ACCURACY, Objective
from model.shipped_modules import user_place
from model.split_images import ImageTensors
from model.training import DivergedError, Training, train_epochs
from search.study.record import OUT_OF_MEMORY, TrialId
from search.worker.checkpoint_pace import CheckpointPace
from search.worker.step_counts import StepReports


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """The part of a trial that is the same for all trials and retrainings of a run."""

    max_epochs: int
    rung_epochs: Collection[int]
    engine: Engine
    objective: Objective = ACCURACY
    network: NetworkSource = BUILT_IN
    """Builds the networks; sent as source, since a worker may have no such file."""


Report = Callable[[dict[str, Any]], None]


def trial_of(assignment: Mapping[str, Any]) -> TrialId:
    """Which trial or retraining an assignment is about."""
    trial: TrialId = assignment.get("retraining", assignment.get("trial_number"))
    return trial


def train_trial(assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan, report: Report) -> None:
    """Trains one trial or retraining. Reports once an epoch, and once more if it cannot go on.

    `assignment` is the searcher's suggestion, with the trial's newest `checkpoint` if there is one; without
    `training_epochs`, it is a full training. A report holds the fields of EpochMetrics, `training_epochs`, and perhaps
    a `checkpoint` to keep before its score counts; or `ended` ("diverged" or "failed") and
    `error`; or `steps`, a StepCount. A failure is reported rather than raised: the same config would fail again, and a
    raised error looks like a dead worker, whose trial starts again. Only the error of a device that is lost to this
    process is raised, because every trial after it would fail here, too.
    """
    try:
        for metrics in _epochs(assignment, images, plan, StepReports(lambda count: report({"steps": count}))):
            report(metrics)
    except DivergedError as error:
        report({"ended": "diverged", "error": str(error)})
    except Exception as error:
        if is_device_lost(plan.engine):
            raise
        report({"ended": "failed", "error": error_line(error)})


def error_line(error: Exception) -> str:
    """The error as one line."""
    kind = OUT_OF_MEMORY if is_out_of_memory(error) else type(error).__name__
    return f"{kind}: {user_place(error)}{telling_line(error)}"


def _epochs(
    assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan, on_step: StepReports
) -> Iterator[dict[str, Any]]:
    """Yields the report of every epoch that the record may lack: those in the checkpoint, then new ones."""
    training, history = resumed_training(assignment, images, plan, on_step)
    yield from (metrics for metrics in history if metrics["epoch"] > assignment["epochs_recorded"])
    pace = CheckpointPace()
    for epoch_metrics in train_epochs(training):
        metrics = {**asdict(epoch_metrics), "training_epochs": training.max_epochs}
        history.append(metrics)
        # The last epoch's is what a retrained network is tested from.
        if epoch_metrics.epoch in (*plan.rung_epochs, training.max_epochs) or pace.is_due():
            with pace.saving():
                tensors, state = training.state()
                meta = {"training": state, "history": history}
                yield {**metrics, "checkpoint": Checkpoint.of(epoch_metrics.epoch, tensors, meta)}
        else:
            yield metrics


def resumed_training(
    assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan, on_step: StepReports | None = None
) -> tuple[Training, list[dict[str, Any]]]:
    """The assignment's training, at its checkpoint if it has one, and the metrics of its epochs so far."""

    def start() -> Training:
        config = TrainConfig.from_flat(dict(assignment["config"]))
        return Training(
            config,
            images,
            max_epochs=assignment.get("training_epochs", plan.max_epochs),
            seed=assignment["trial_seed"],
            engine=plan.engine,
            build=builder_of(plan.network),
            on_step=on_step,
            objective=plan.objective,
        )

    training = start()
    checkpoint: Checkpoint | None = assignment.get("checkpoint")
    if checkpoint is None:
        return training, []
    tensors, meta = checkpoint.load()
    try:
        training.load_state(tensors, meta["training"])
    except ValueError:
        # It is of the shorter training that a rung compared. Or a record restored from an older copy gave this number
        # to another config since, or an extended run has another winner.
        return start(), []
    return training, meta["history"]
