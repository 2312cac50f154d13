"""Kills child processes that are frozen: a search would wait for them for ever."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection, Iterator

import psutil

_INTERVAL_S = 5.0
_NUM_LOOKS = 6


@contextlib.contextmanager
def kill_frozen_processes(
    pids: Collection[int], *, interval_s: float = _INTERVAL_S, num_looks: int = _NUM_LOOKS
) -> Iterator[None]:
    """Within the block, kills a child of this process that is stopped, as by SIGSTOP, at `num_looks` looks in a row.

    Counts looks instead of time: after everything was suspended together and resumed, nothing is frozen.
    """
    is_over = threading.Event()

    def watch() -> None:
        num_stopped = dict.fromkeys(pids, 0)
        while not is_over.wait(interval_s):
            for pid in pids:
                num_stopped[pid] = num_stopped[pid] + 1 if _is_stopped_child(pid) else 0
                if num_stopped[pid] == num_looks:
                    with contextlib.suppress(psutil.Error):
                        psutil.Process(pid).kill()

    watcher = threading.Thread(target=watch, name="kill frozen processes", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def _is_stopped_child(pid: int) -> bool:
    """The pid of a dead child may belong to another program, so the parent is checked each time."""
    try:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_STOPPED and process.ppid() == os.getpid()
    except psutil.Error:
        return False
