"""A consistent copy of the SQLite record, made by SQLite while the record is in use."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from search.files import replaced_atomically

INTERVAL_S = 30.0


class DatabaseBackup:
    """Keeps study.backup.db next to study.db."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._last_taken: float | None = None

    def take_if_due(self) -> None:
        """Copies the database if the last copy is `INTERVAL_S` old."""
        now = time.monotonic()
        if self._last_taken is not None and now - self._last_taken < INTERVAL_S:
            return
        self._last_taken = now
        copy = self._database.with_suffix(".backup.db")
        with (
            replaced_atomically(copy) as unfinished,
            contextlib.closing(sqlite3.connect(self._database)) as source,
            contextlib.closing(sqlite3.connect(unfinished)) as target,
        ):
            source.backup(target)
