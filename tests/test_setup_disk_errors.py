"""Errors of the disk and the database, each as one line that says what to do."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import optuna
import pytest
from sqlalchemy.exc import InvalidRequestError, OperationalError

from search.errors import RunFailed
from search.settings import SearchSettings
from search.setup import disk_errors as disk_errors_module
from search.setup.disk_errors import disk_errors


def while_handling(handled: Exception, error: Exception) -> Exception:
    """The second error as it looks when it came up in an `except` block of the first."""
    error.__context__ = handled
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device. .* the run may need [0-9,]+ "),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
        (OperationalError("INSERT", {}, Exception("database or disk is full")), "disk is full.*Make room, then resume"),
        (sqlite3.OperationalError("database or disk is full"), "disk is full.*Make room, then resume"),
        (optuna.exceptions.StorageInternalError("disk I/O error"), "disk I/O error"),
        (OperationalError("SELECT", {}, Exception("database disk image is malformed")), "study.db is damaged"),
        (while_handling(sqlite3.OperationalError("disk is full"), InvalidRequestError("rollback")), "disk is full"),
        (while_handling(OSError(errno.ENOSPC, "No space left"), RuntimeError("stop")), "No space left"),
    ],
)
def test_an_error_of_the_disk_is_one_line(error: Exception, expected: str, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    with (
        pytest.raises(RunFailed, match=expected) as caught,
        disk_errors(SearchSettings(run_name="r", results_dir=tmp_path)),
    ):
        raise error
    assert "\n" not in str(caught.value)


def test_a_full_temporary_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r").mkdir()
    monkeypatch.setattr(disk_errors_module, "MIN_TEMP_BYTES", 10**18)
    message = (
        r"No space left\. The temporary folder /.+ bytes free; Ray needs 1,000,.+ or set TMPDIR to another folder, then"
    )
    with (
        pytest.raises(RunFailed, match=message),
        disk_errors(SearchSettings(run_name="r", results_dir=tmp_path)),
    ):
        raise OSError(errno.ENOSPC, "No space left")


def test_the_line_of_an_error_that_is_explained_already_stays(tmp_path: Path) -> None:
    with (
        pytest.raises(RunFailed, match="Ray failed"),
        disk_errors(SearchSettings(run_name="r", results_dir=tmp_path)),
    ):
        raise while_handling(OSError(errno.ENOSPC, "No space left"), RunFailed("Ray failed"))


def test_other_errors_pass(tmp_path: Path) -> None:
    with (
        pytest.raises(PermissionError, match="no"),
        disk_errors(SearchSettings(run_name="r", results_dir=tmp_path)),
    ):
        raise PermissionError(errno.EACCES, "no")
