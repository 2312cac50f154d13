"""Trackers that people look at already - TensorBoard, MLflow, Weights & Biases - fed through Ray's own callbacks.

They see the run and have no part in it: each works in a thread of its own, and its first error ends it with a warning.
Ray would let an error of a callback end the search, and a server that hangs hold it up.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from model.training import EpochMetrics
from search.settings import SearchSettings
from search.study.record import TrialRecord, TrialStatus
from search.study.study import RunStudy

PATIENCE_S = 60.0
"""How long the end of the search waits for a tracker to catch up."""
_METRICS = tuple(field.name for field in fields(EpochMetrics))
_MLFLOW_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""For a server that is down; MLflow's own patience is many minutes. What the user has set stays."""


class TrialListener(Protocol):
    """The part of Ray's LoggerCallback that is called here."""

    def setup(self) -> None: ...
    def log_trial_start(self, trial: Any) -> None: ...
    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None: ...
    def log_trial_end(self, trial: Any, failed: bool = False) -> None: ...
    def on_experiment_end(self, trials: list[Any]) -> None: ...


@dataclass(eq=False, kw_only=True)
class TrackedTrial:
    """As much of a Ray trial as Ray's callbacks look at, with our names in it."""

    number: int
    config: dict[str, Any]
    local_path: str
    experiment_dir_name: str

    @property
    def trial_id(self) -> str:
        return f"{self.experiment_dir_name}-trial-{self.number:04d}"

    @property
    def evaluated_params(self) -> dict[str, Any]:
        return self.config

    def init_local_path(self) -> None:
        """Makes the folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return f"trial {self.number}"


class Tracker:
    """One of Ray's callbacks in a thread of its own, told what happens in the order in which it happens."""

    def __init__(self, name: str, make: Callable[[], TrialListener], warn: Callable[[str], None]) -> None:
        self._name = name
        self._warn = warn
        self._calls: queue.SimpleQueue[Callable[[TrialListener], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=(make,), name=name, daemon=True)
        self._thread.start()

    def tell(self, call: Callable[[TrialListener], None]) -> None:
        """Something to do with the callback, later."""
        self._calls.put(call)

    def close(self) -> None:
        """Waits until it has done what it was told, not for ever."""
        self._calls.put(None)
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self._warn(f"{self._name} did not catch up within {PATIENCE_S:.0f} s; what it lacks is in the run's record")

    def _work(self, make: Callable[[], TrialListener]) -> None:
        try:
            callback = make()
            callback.setup()
            while (call := self._calls.get()) is not None:
                call(callback)
            callback.on_experiment_end(trials=[])
        except BaseException as error:  # some libraries end the process with SystemExit where they cannot go on
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._warn(f"{self._name} is not told any more, the run goes on without it: {reason}")


class Tracking:
    """All trackers of a run. `report` and `end` return at once."""

    def __init__(self, trackers: Sequence[Tracker], study: RunStudy, folder: Path, run_name: str) -> None:
        self._trackers = trackers
        self._study = study
        self._folder = folder
        self._run_name = run_name
        self._trials: dict[int, TrackedTrial] = {}

    def report(self, number: int, metrics: Mapping[str, Any]) -> None:
        """A trial finished an epoch; with its first, it begins."""
        if not self._trackers:
            return
        if number not in self._trials:
            self._start(number)
        trial = self._trials[number]
        result = {name: metrics[name] for name in _METRICS if metrics.get(name) is not None}
        result["training_iteration"] = metrics["epoch"]  # what Ray's callbacks take for the step
        self._tell(lambda callback: callback.log_trial_result(metrics["epoch"], trial, result))

    def end(self, record: TrialRecord) -> None:
        """A trial ended, or was cut off."""
        trial = self._trials.pop(record.number, None)
        if trial is not None:
            is_failed = record.status not in (TrialStatus.COMPLETED, TrialStatus.STOPPED)
            self._tell(partial(_end, trial=trial, is_failed=is_failed))

    def close(self) -> None:
        """The search is over; waits a while for the trackers. Trials without an end were cut off."""
        for trial in self._trials.values():
            self._tell(partial(_end, trial=trial, is_failed=True))
        for tracker in self._trackers:
            tracker.close()

    def _start(self, number: int) -> None:
        trial = TrackedTrial(
            number=number,
            config={"trial_number": number, **self._study.trial(number).config},
            local_path=str(self._folder / f"trial-{number:04d}"),
            experiment_dir_name=self._run_name,
        )
        self._trials[number] = trial

        def start(callback: TrialListener) -> None:
            trial.init_local_path()
            callback.log_trial_start(trial)

        self._tell(start)

    def _tell(self, call: Callable[[TrialListener], None]) -> None:
        for tracker in self._trackers:
            tracker.tell(call)


def _end(callback: TrialListener, *, trial: TrackedTrial, is_failed: bool) -> None:
    callback.log_trial_end(trial, failed=is_failed)


@contextlib.contextmanager
def tracking(settings: SearchSettings, study: RunStudy, warn: Callable[[str], None]) -> Iterator[Tracking]:
    """The trackers that were asked for, from the start of the trials to their end. W&B's needs a Ray cluster."""
    run_dir = settings.run_dir.absolute()
    trackers = [Tracker(name, make, warn) for name, make in _asked(settings, run_dir)]
    told = Tracking(trackers, study, run_dir / "tensorboard", settings.run_name)
    try:
        yield told
    finally:
        told.close()


def _asked(settings: SearchSettings, run_dir: Path) -> Iterator[tuple[str, Callable[[], TrialListener]]]:
    if settings.tensorboard:
        yield "TensorBoard", _tensorboard
    if settings.mlflow is not None:
        yield f"MLflow at {settings.mlflow}", lambda: _mlflow(str(settings.mlflow), settings.run_name)
    if settings.wandb is not None:
        yield "Weights & Biases", lambda: _wandb(str(settings.wandb), run_dir)


def _tensorboard() -> TrialListener:
    from ray.tune.logger import TBXLoggerCallback

    callback: TrialListener = TBXLoggerCallback()  # type: ignore[no-untyped-call]
    return callback


def _mlflow(uri: str, run_name: str) -> TrialListener:
    for name, value in _MLFLOW_PATIENCE.items():
        os.environ.setdefault(name, value)
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return MLflowLoggerCallback(tracking_uri=uri, experiment_name=run_name)


def _wandb(project: str, run_dir: Path) -> TrialListener:
    from ray.air.integrations.wandb import WandbLoggerCallback

    return WandbLoggerCallback(project=project, upload_timeout=int(PATIENCE_S), dir=str(run_dir), resume="allow")
