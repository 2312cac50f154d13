"""Errors of the disk and the database during a run, as one line: the disk is full, the record is damaged."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError

from search.errors import RunFailed, UserError
from search.files import DISK_ERRORS
from search.machine.temporary_folder import short_temp_dir
from search.settings import SearchSettings
from search.setup.disk_space import MIN_TEMP_BYTES, bytes_needed
from search.study.integrity import database_advice
from search.text import size_text

_DISK_TEXTS = ("disk is full", "disk I/O error", "readonly database", "unable to open database file")
_DAMAGE_TEXTS = ("malformed", "not a database")


@contextlib.contextmanager
def disk_errors(settings: SearchSettings) -> Iterator[None]:
    """Turns errors of the disk and the database into RunFailed; others are bugs of this program and pass.

    An error that came up while a disk error was handled counts as one, too: with no room left, a database cannot even
    roll back.
    """
    try:
        yield
    except (RunFailed, UserError):
        raise
    except Exception as error:
        text = next(filter(None, (_explain(one, settings) for one in _chain(error))), None)
        if text is None:
            raise
        raise RunFailed(text) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it, the newest first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _explain(error: BaseException, settings: SearchSettings) -> str | None:
    """The line; None for any other error."""
    if isinstance(error, OSError):
        return _with_space(error.strerror or str(error), settings) if error.errno in DISK_ERRORS else None
    if not isinstance(error, (StorageInternalError, DBAPIError, sqlite3.Error)):
        return None
    reason = str(error.__cause__ or error).splitlines()[0]
    if settings.storage is not None:
        return f"--storage {settings.storage}: {reason}"
    if any(text in reason for text in _DAMAGE_TEXTS):
        return database_advice(settings.run_dir, reason)
    return _with_space(reason, settings) if any(text in reason for text in _DISK_TEXTS) else None


def _with_space(reason: str, settings: SearchSettings) -> str:
    temp = short_temp_dir()
    if temp is not None and (free := shutil.disk_usage(temp).free) < MIN_TEMP_BYTES:
        return (
            f"{reason}. The temporary folder {temp} has {free:,} bytes free; Ray needs {MIN_TEMP_BYTES:,}. "
            "Make room or set TMPDIR to another folder, then resume."
        )
    free, needed = shutil.disk_usage(settings.run_dir).free, bytes_needed(settings)
    return (
        f"{reason}. {settings.run_dir} has {free:,} bytes free; the run may need {needed:,} ({size_text(needed)}). "
        "Make room, then resume."
    )
