"""A temporary folder for Ray: short, private to its user, and cleared by the next run if this one is killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

MAX_TEMP_LENGTH = 28
"""Ray's sockets are files below its temporary folder, and Linux limits a socket's path to 107 characters."""
_PREFIX = "cl-"
_LOCK = "owner.lock"
_MIN_AGE_S = 60.0


def short_temp_dir() -> Path | None:
    """A temporary folder whose path leaves room for Ray's sockets; None if there is none."""
    candidates = [Path(tempfile.gettempdir()), Path("/tmp")]
    return next((path for path in candidates if len(str(path)) <= MAX_TEMP_LENGTH and os.access(path, os.W_OK)), None)


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Creates a folder of mode 0700 with a short path, and removes it with everything in it."""
    parent = short_temp_dir() or Path(tempfile.gettempdir())
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        # The lock ends with this process; programs that it starts do not inherit it.
        with FileLock(folder / _LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Removes what killed runs of this user left; leaves folders alone that are just being created."""
    for lock_file in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError, Timeout):
            status = lock_file.stat()
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _MIN_AGE_S:
                continue
            with FileLock(lock_file, timeout=0):
                shutil.rmtree(lock_file.parent, ignore_errors=True)
    # A process of Ray's may outlive its run for a moment and create its folder again, empty.
    for session in parent.glob(f"{_PREFIX}*/[0-9]/session_*"):
        folders = (session, *session.parents[:2])
        if not (folders[-1] / _LOCK).exists():
            with contextlib.suppress(OSError):
                for folder in folders:
                    folder.rmdir()
