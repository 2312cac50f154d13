"""Processes that a search waits for, watched from beside it: one that is frozen would hold it up for ever."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

_INTERVAL_S = 5.0
_NUM_LOOKS = 6


@contextlib.contextmanager
def frozen_are_killed(
    pids: Collection[int], *, interval_s: float = _INTERVAL_S, num_looks: int = _NUM_LOOKS
) -> Iterator[None]:
    """Kills a child of this process that is stopped, as by SIGSTOP, at so many looks in a row: its death is noticed.

    Looks are counted, not time: when all were suspended together and go on, nobody was frozen. On Linux only.
    """
    is_over = threading.Event()

    def watch() -> None:
        num_stopped = dict.fromkeys(pids, 0)
        while not is_over.wait(interval_s):
            for pid in pids:
                num_stopped[pid] = num_stopped[pid] + 1 if _is_stopped_child(pid) else 0
                if num_stopped[pid] == num_looks:
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)

    watcher = threading.Thread(target=watch, name="freeze guard", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def _is_stopped_child(pid: int) -> bool:
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[:2]
    except OSError:
        return False
    return state == "T" and int(parent) == os.getpid()
