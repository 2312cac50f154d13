"""Trials on Ray: starts a private cluster, lets Tune place the study's trials on it, and takes it down again."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.exceptions import RayError
from ray.tune import Callback
from ray.tune.error import TuneError
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from model.checkpoint import delete_checkpoints
from model.training import SharedImages
from search.errors import RunFailed
from search.machine.frozen_processes import frozen_are_killed
from search.machine.slots import Slots
from search.machine.temporary_folder import private_folder
from search.schedulers.trial_clock import TrialClock
from search.tune.process_guard import signals_stay_ours, words_go_to
from search.tune.ray_state import StateIsInStudy
from search.tune.trial_scheduler import StudyScheduler
from search.worker.images import SearchArrays, shared_images
from search.worker.trainable import Report, TrialPlan, train_trial

_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray's own memory monitor ends the whole search when it kills one worker; the kernel's kill is an ordinary failure.
    "RAY_memory_monitor_refresh_ms": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
    # A reused worker must have unwound its last trial before the next; one that takes longer would fail the next trial.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "600",
    # The study is the record; Ray's snapshots of the experiment would only cost time.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
}
_MAX_STARTS = 3
_NODE_PATIENCE_S = 30.0


class _NodeDied(BaseException):
    """Not an Exception, for which Tune would first try to speak to the trials that went with the node."""


@contextlib.contextmanager
def ray_cluster(slots: Slots, log_file: Path) -> Iterator[Path]:
    """A new cluster of this machine alone, in a private temporary folder that is removed with it.

    Yields a folder for Tune's own files.
    """
    os.environ.update(_SETTINGS)
    # Ray's ports listen on all interfaces: only processes that inherit this token may speak to the cluster.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with private_folder() as folder, words_go_to(log_file):
        try:
            _start_ray(slots, folder)
            with frozen_are_killed(_node_pids()):
                yield folder
        except _NodeDied as death:
            # Ray's shutdown without its node ends this process on the spot; left to the end of the process, it may.
            raise RunFailed(str(death)) from None
        except BaseException:
            ray.shutdown()
            raise
        ray.shutdown()


def _start_ray(slots: Slots, folder: Path) -> None:
    """Starts the cluster; on a machine too busy for Ray's patience of 30 s, again."""
    for attempt in range(1, _MAX_STARTS + 1):
        try:
            with signals_stay_ours():
                ray.init(
                    address="local",
                    num_cpus=slots.num_concurrent * slots.cpus_per_trial,
                    num_gpus=slots.gpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.WARNING,
                    configure_logging=False,
                    # Ray opens this folder to everyone; the one around it lets nobody else through.
                    _temp_dir=str(folder / str(attempt)),
                )
            return
        except Exception as error:  # Ray raises plain Exceptions here
            ray.shutdown()
            if attempt == _MAX_STARTS:
                raise RunFailed(f"Ray did not start: {str(error).splitlines()[0]}") from error


def _node_pids() -> list[int]:
    """The processes without which Ray is no more: a call to one that is frozen never returns."""
    processes = ray._private.worker._global_node.all_processes  # type: ignore[attr-defined]
    return [started.process.pid for kind in ("raylet", "gcs_server") for started in processes[kind]]


def run_trials(
    searcher: Searcher,
    scheduler: StudyScheduler,
    *,
    num_trials: int | None,
    arrays: SearchArrays,
    plan: TrialPlan,
    slots: Slots,
    max_failures: int,
    clock: TrialClock,
    scratch: Path,
    check: Callable[[], None],
    on_report: Callable[[int, Mapping[str, Any]], None],
    on_end: Callable[[int], None],
    train: Callable[[Mapping[str, Any], SharedImages, TrialPlan, Report], None] = train_trial,
) -> None:
    """Runs so many trials side by side, each a call of `train` in a worker; returns when all have ended.

    `num_trials` None takes what the searcher proposes until it has finished; a trial that waits at a rung may then come
    more than once, and its checkpoints are kept meanwhile.
    Needs a `ray_cluster`, which gives `scratch`. `check` is called several times a second and ends everything by
    raising; `on_report` (trial number, metrics) and `on_end` (trial number) must never raise. All three are called in
    the loop that steers the trials and must be quick. RunFailed if Ray itself fails.
    """
    trainable = tune.with_resources(
        tune.with_parameters(_run_trial, arrays=arrays, plan=plan, train=train),
        {"cpu": slots.cpus_per_trial, "gpu": slots.gpus_per_trial},
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1 if num_trials is None else num_trials,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(scratch),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=max_failures),
            callbacks=[
                _RunCallback(plan, scheduler, check, on_report, on_end),
                _TimeoutCallback(clock, scheduler),
                _ClusterCallback(slots),
            ],
        ),
    )
    try:
        tuner.fit()
    except TuneError as error:
        # What our own code raised while it handled a report, Tune wraps in its own error, as text.
        if isinstance(own := error.__context__, Exception):
            raise own from own.__cause__  # as it was: a full disk is told by its cause
        raise
    except RayError as error:
        raise RunFailed(f"Ray failed: {str(error).splitlines()[0]}") from error


def _run_trial(
    assignment: Mapping[str, Any],
    *,
    arrays: SearchArrays,
    plan: TrialPlan,
    train: Callable[[Mapping[str, Any], SharedImages, TrialPlan, Report], None],
) -> None:
    worker = f"{os.uname().nodename}:{os.getpid()}"
    images = _device_images(_Identity(arrays), plan.engine.device)
    train(assignment, images, plan, lambda metrics: tune.report({**metrics, "worker": worker}))


class _Identity:
    """The run's arrays as a cache key: one object per worker process, equal for every trial of the run."""

    def __init__(self, arrays: SearchArrays) -> None:
        self.arrays = arrays

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.arrays.split_hash == other.arrays.split_hash

    def __hash__(self) -> int:
        return hash(self.arrays.split_hash)


@lru_cache(maxsize=1)
def _device_images(key: _Identity, device: str) -> SharedImages:
    """The images on the worker's device, moved there by the worker's first trial and kept for the next."""
    return shared_images(key.arrays, torch.device(device))


class _RunCallback(StateIsInStudy, Callback):
    def __init__(
        self,
        plan: TrialPlan,
        scheduler: StudyScheduler,
        check: Callable[[], None],
        on_report: Callable[[int, Mapping[str, Any]], None],
        on_end: Callable[[int], None],
    ) -> None:
        self._plan = plan
        self._scheduler = scheduler
        self._check = check
        self._on_report = on_report
        self._on_end = on_end

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._check()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if "val_accuracy" in result:
            self._on_report(trial.config["trial_number"], result)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._end(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._end(trial)

    def _end(self, trial: Trial) -> None:
        number = trial.config["trial_number"]
        if self._scheduler.is_over(number):
            delete_checkpoints(self._plan.checkpoint_dir(number))
        self._on_end(number)


class _TimeoutCallback(StateIsInStudy, Callback):
    """Kills the worker of a trial that makes no progress, for which Ray would wait for ever."""

    def __init__(self, clock: TrialClock, scheduler: StudyScheduler) -> None:
        self._clock = clock
        self._scheduler = scheduler

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        for trial in trials:
            if trial.status == Trial.RUNNING and self._clock.is_overdue(trial.config["trial_number"]):
                self._kill(trial)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._clock.progress(trial.config["trial_number"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._clock.progress(trial.config["trial_number"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._clock.end(trial.config["trial_number"])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._clock.end(trial.config["trial_number"])

    def _kill(self, trial: Trial) -> None:
        number = trial.config["trial_number"]
        self._clock.end(number)
        self._scheduler.will_be_killed(
            number, f"no epoch ended within {self._clock.timeout_s:.0f} s (--trial-timeout), so it was killed"
        )
        # What hung once would hang again: this death is the last, however many starts are left.
        trial.max_failures = 0
        if trial.temporary_state.ray_actor is not None:
            ray.kill(trial.temporary_state.ray_actor)


class _ClusterCallback(StateIsInStudy, Callback):
    """Notices that Ray's processes have died, or that no node is left on which Tune would ever start a trial."""

    def __init__(self, slots: Slots) -> None:
        self._needed = {"CPU": slots.cpus_per_trial, "GPU": slots.gpus_per_trial}
        self._last_look = self._last_seen = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        # The next word to a process that is gone would end this one without a word of ours.
        dead = {kind for kind, _process in ray._private.worker._global_node.dead_processes()}  # type: ignore[attr-defined]
        if dead & {"raylet", "gcs_server"}:
            raise _NodeDied("Ray's node died, and all trials with it")
        now = time.monotonic()
        if now - self._last_look < _NODE_PATIENCE_S / 10:
            return
        self._last_look = now
        if any(self._has_room(node) for node in ray.nodes()):  # type: ignore[no-untyped-call]
            self._last_seen = now
        elif now - self._last_seen > _NODE_PATIENCE_S:
            raise _NodeDied(f"no node of Ray's on which a trial fits has answered for {_NODE_PATIENCE_S:.0f} s")

    def _has_room(self, node: Mapping[str, Any]) -> bool:
        """Whether a trial fits on a node, be it in use or not. A node that froze is no longer alive after a minute."""
        return node["Alive"] and all(node["Resources"].get(name, 0) >= need for name, need in self._needed.items())
