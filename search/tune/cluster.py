"""A private Ray cluster of this machine, for the time of a search."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import ray

from search.errors import RunFailed
from search.machine.frozen_processes import kill_frozen_processes
from search.machine.slots import Slots
from search.machine.temporary_folder import private_folder
from search.tune.process_guard import keep_signal_handlers, redirect_output

RAY_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray's own memory monitor ends the whole search when it kills one worker; a kill by the kernel is an ordinary
    # failure of one trial.
    "RAY_memory_monitor_refresh_ms": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The searcher keeps within the slots; on a cluster, those that wait for a node show an autoscaler what is missing.
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",
    # A reused worker must have left its last trial before the next; one that takes longer would fail the next trial.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "600",
    # The study is the record; Ray's snapshots of the experiment would only cost time.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
}
"""Environment variables that Ray reads when it starts."""
_WORKER_MODULE = "search.tune.tuner"
_MAX_STARTS = 3


class NodeDied(BaseException):
    """Ray's node is gone. Not an `Exception`: on those, Tune would first try to speak to the trials that went too."""


@contextlib.contextmanager
def ray_cluster(slots: Slots, log_file: Path) -> Iterator[Path]:
    """Starts a cluster in a private temporary folder, and removes both at the end. Keeps one that was joined before.

    Yields a folder for Tune's own files. RunFailed if Ray does not start or its node dies.
    """
    if ray.is_initialized():
        with private_folder() as folder:
            yield folder
        return
    os.environ.update(RAY_SETTINGS)
    # Ray starts a worker for each core. They import what a trial needs at once, not when the first trial comes; where
    # most of them stay idle, that would cost more memory than it saves time.
    is_used = slots.cpus_per_trial <= 2 and not slots.gpus
    os.environ.update(RAY_preload_python_modules=_WORKER_MODULE if is_used else "")
    # Ray would give workers a niceness of 15, with which one busy neighbour takes nearly all of a core from them.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Ray's ports listen on all interfaces; only processes that inherit this token may use the cluster.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with private_folder() as folder, redirect_output(log_file):
        try:
            _start_ray(slots, folder)
            with kill_frozen_processes(_node_pids()):
                yield folder
        except NodeDied as death:
            # Without its node, Ray's shutdown ends this process on the spot, so it is left to the process's end.
            raise RunFailed(str(death)) from None
        except BaseException:
            ray.shutdown()
            raise
        ray.shutdown()


def dead_node_processes() -> set[str]:
    """The kinds of Ray's processes that have died: raylet, gcs_server and others."""
    return {kind for kind, _process in ray._private.worker._global_node.dead_processes()}  # type: ignore[attr-defined]


def _start_ray(slots: Slots, folder: Path) -> None:
    """Starts the cluster. On a machine too busy for Ray's time-out of 30 s, tries again."""
    for attempt in range(1, _MAX_STARTS + 1):
        try:
            with keep_signal_handlers():
                ray.init(
                    address="local",
                    num_cpus=slots.num_concurrent * slots.cpus_per_trial,
                    num_gpus=slots.gpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.WARNING,
                    configure_logging=False,
                    # Ray opens this folder to everyone; the folder around it keeps others out.
                    _temp_dir=str(folder / str(attempt)),
                )
            return
        except Exception as error:  # Ray raises plain Exceptions here
            ray.shutdown()
            if attempt == _MAX_STARTS:
                raise RunFailed(f"Ray did not start: {str(error).splitlines()[0]}") from error


def _node_pids() -> list[int]:
    """The processes Ray cannot do without. A call to one that is frozen never returns."""
    processes = ray._private.worker._global_node.all_processes  # type: ignore[attr-defined]
    return [started.process.pid for kind in ("raylet", "gcs_server") for started in processes[kind]]
