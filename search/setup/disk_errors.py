"""What went wrong with the world during a run, in one line: the disk is full, the record is damaged."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError

from search.errors import RunFailed
from search.files import DISK_ERRORS
from search.settings import SearchSettings
from search.setup.preflight import MIN_TEMP_BYTES, bytes_needed, short_temp_dir
from search.study.integrity import database_advice
from search.text import size_text

_DISK_TEXTS = ("disk is full", "disk I/O error", "readonly database", "unable to open database file")
_DAMAGE_TEXTS = ("malformed", "not a database")


@contextlib.contextmanager
def trouble_named(settings: SearchSettings) -> Iterator[None]:
    """Turns what the world did into RunFailed; anything else is a fault of this program and passes as it is."""
    try:
        yield
    except (OSError, StorageInternalError, DBAPIError, sqlite3.Error) as error:
        text = explain(error, settings)
        if text is None:
            raise
        raise RunFailed(text) from error


def explain(error: Exception, settings: SearchSettings) -> str | None:
    """The one line; None for an error that is not the disk's or the database's."""
    if isinstance(error, OSError):
        return _with_room(error.strerror or str(error), settings) if error.errno in DISK_ERRORS else None
    reason = str(error.__cause__ or error).splitlines()[0]
    if settings.storage is not None:
        return f"--storage {settings.storage}: {reason}"
    if any(text in reason for text in _DAMAGE_TEXTS):
        return database_advice(settings.run_dir, reason)
    return _with_room(reason, settings) if any(text in reason for text in _DISK_TEXTS) else None


def _with_room(reason: str, settings: SearchSettings) -> str:
    temp = short_temp_dir()
    if temp is not None and shutil.disk_usage(temp).free < MIN_TEMP_BYTES:
        return (
            f"{reason}. The temporary folder {temp} has {shutil.disk_usage(temp).free:,} bytes left; Ray needs "
            f"{MIN_TEMP_BYTES:,}. Make room or set TMPDIR to another, then resume."
        )
    free, needed = shutil.disk_usage(settings.run_dir).free, bytes_needed(settings)
    return (
        f"{reason}. {settings.run_dir} has {free:,} bytes left; the run may need {needed:,} ({size_text(needed)}). "
        "Make room, then resume."
    )
