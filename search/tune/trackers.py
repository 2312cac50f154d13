"""Sends trials to TensorBoard, MLflow and Weights & Biases through Ray's own callbacks.

They cannot disturb the run: each works in its own thread, and its first error ends it with a warning. In Ray's loop, an
error would end the search and a hanging server would block it.
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

from model.metrics import METRICS
from model.training import EpochMetrics
from search.settings import SearchSettings
from search.study.record import TrialRecord, TrialStatus
from search.study.study import RunStudy

PATIENCE_S = 60.0
"""Seconds that the end of the search waits for a tracker to catch up."""
_METRICS = tuple(field.name for field in fields(EpochMetrics) if field.name != "val_score")
_MLFLOW_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""Time-outs for a server that is down; MLflow's defaults are many minutes. The user's own settings take precedence."""


class TrialListener(Protocol):
    """The part of Ray's LoggerCallback that is used here."""

    def setup(self) -> None: ...
    def log_trial_start(self, trial: Any) -> None: ...
    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None: ...
    def log_trial_end(self, trial: Any, failed: bool = False) -> None: ...
    def on_experiment_end(self, trials: list[Any]) -> None: ...


@dataclass(eq=False, kw_only=True)
class TrackedTrial:
    """The part of a Ray trial that Ray's callbacks read, with our names."""

    number: int
    config: dict[str, Any]
    local_path: str
    experiment_dir_name: str
    epochs_told: int = 0

    @property
    def trial_id(self) -> str:
        return f"{self.experiment_dir_name}-trial-{self.number:04d}"

    @property
    def evaluated_params(self) -> dict[str, Any]:
        return self.config

    def init_local_path(self) -> None:
        """Creates the folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return f"trial {self.number}"


class Tracker:
    """Runs one of Ray's callbacks in its own thread, with events in the order in which they happen."""

    def __init__(self, name: str, make: Callable[[], TrialListener], warn: Callable[[str], None]) -> None:
        self._name = name
        self._warn = warn
        self._calls: queue.SimpleQueue[Callable[[TrialListener], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=(make,), name=name, daemon=True)
        self._thread.start()

    def tell(self, call: Callable[[TrialListener], None]) -> None:
        """Queues a call of the callback."""
        self._calls.put(call)

    def close(self) -> None:
        """Waits for the queue to empty, at most `PATIENCE_S`."""
        self._calls.put(None)
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self._warn(f"{self._name} did not catch up within {PATIENCE_S:.0f} s; the run's record has what it lacks")

    def _work(self, make: Callable[[], TrialListener]) -> None:
        try:
            callback = make()
            callback.setup()
            while (call := self._calls.get()) is not None:
                call(callback)
            callback.on_experiment_end(trials=[])
        except BaseException as error:  # some libraries end the process with SystemExit where they cannot go on
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._warn(f"{self._name} stopped working, the run goes on without it: {reason}")


class Tracking:
    """All trackers of a run. `report` and `end` return at once."""

    def __init__(self, trackers: Sequence[Tracker], study: RunStudy, folder: Path, settings: SearchSettings) -> None:
        self._trackers = trackers
        self._study = study
        self._folder = folder
        self._run_name = settings.run_name
        self._metric = METRICS[settings.metric]
        self._trials: dict[int, TrackedTrial] = {}

    def report(self, number: int, metrics: Mapping[str, Any]) -> None:
        """A trial finished an epoch; one that it trains again is left out. Its first report also starts it."""
        if not self._trackers:
            return
        if number not in self._trials:
            self._start(number)
        trial = self._trials[number]
        if metrics["epoch"] <= trial.epochs_told:
            return
        trial.epochs_told = metrics["epoch"]
        result = {name: metrics[name] for name in _METRICS if metrics.get(name) is not None}
        result[f"val_{self._metric.name}"] = self._metric.value(metrics["val_score"])
        result["training_iteration"] = metrics["epoch"]  # what Ray's callbacks take for the step
        self._tell(lambda callback: callback.log_trial_result(metrics["epoch"], trial, result))

    def end(self, record: TrialRecord) -> None:
        """A trial ended or was cut off."""
        trial = self._trials.pop(record.number, None)
        if trial is not None:
            is_failed = record.status not in (TrialStatus.COMPLETED, TrialStatus.STOPPED)
            self._tell(partial(_end, trial=trial, is_failed=is_failed))

    def close(self) -> None:
        """The search is over. Trials without an end were cut off. Waits for the trackers, not for ever."""
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
    """Runs the requested trackers for the time of the search. Weights & Biases needs a Ray cluster."""
    run_dir = settings.run_dir.absolute()
    trackers = [Tracker(name, make, warn) for name, make in _asked(settings, run_dir)]
    told = Tracking(trackers, study, run_dir / "tensorboard", settings)
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
