"""One process at a time works on a run; the lock ends with the process, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from search.errors import UserError


@contextlib.contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Holds a run's folder for this process; UserError names the process that holds it already."""
    path = run_dir / "run.lock"
    if not run_dir.is_dir():
        # FileLock would create it.
        raise UserError(f"{run_dir} is not a folder. Give a folder under results/.")
    try:
        # Not at once: a look of `is_locked` holds it for a moment.
        lock = FileLock(path, timeout=0.2, fallback_to_soft=False).acquire()
    except Timeout:
        raise UserError(f"{run_dir} is in use by {_holder(path)}. Wait for it to end or stop it.") from None
    except OSError as error:
        raise UserError(f"{run_dir} is not writable ({error.strerror}). Check its permissions.") from None
    with lock:
        # The name is a courtesy; a full disk must not keep anyone from resuming the run.
        with contextlib.suppress(OSError):
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield


def is_locked(run_dir: Path) -> bool:
    """Whether a process holds a run's folder now; False if that cannot be told."""
    with contextlib.suppress(OSError), (run_dir / "run.lock").open("rb") as file:
        try:
            # Shared, and for an instant: several may ask at once.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def finish_advice(run_dir: Path) -> str:
    """What to do about what a run does not have yet."""
    return "The run goes on: wait for its end." if is_locked(run_dir) else "Resume the run."


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8").strip() or "another process"
    return "another process"
