"""One process at a time works on a run; the lock goes with the process, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from search.errors import UserError


@contextlib.contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Holds a run's folder for this process; UserError names who else holds it."""
    try:
        file = (run_dir / "run.lock").open("a+")
    except OSError as error:
        raise UserError(f"{run_dir} cannot be written to ({error.strerror}). Check its permissions.") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise UserError(f"{run_dir} is in use by {holder}. Wait for it to end or stop it.") from None
        # A full disk must not keep anyone from taking up the run: the name is a courtesy, the lock is the kernel's.
        with contextlib.suppress(OSError):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
        yield
