"""A temporary folder that only its owner can enter, and that the next run clears away if this one is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from search.setup.preflight import short_temp_dir

_PREFIX = "cl-"
_LOCK = "owner.lock"
_MIN_AGE_S = 60.0


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Makes a folder of mode 0700 with a short path, and removes it with everything in it."""
    parent = short_temp_dir() or Path(tempfile.gettempdir())
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        with (folder / _LOCK).open("w") as lock:
            # Goes with this process, however it ends; programs that it starts do not inherit it.
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Removes what killed runs of this user left; a folder just being made is left alone."""
    for lock_file in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError):
            status = lock_file.stat()
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _MIN_AGE_S:
                continue
            with lock_file.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock_file.parent, ignore_errors=True)
    # A process of Ray's that outlives its run for a moment may make its folder again, with nothing in it.
    for session in parent.glob(f"{_PREFIX}*/[0-9]/session_*"):
        folders = (session, *session.parents[:2])
        if not (folders[-1] / _LOCK).exists():
            with contextlib.suppress(OSError):
                for folder in folders:
                    folder.rmdir()
