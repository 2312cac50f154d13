"""What the service must not forget, in one SQLite file: who asked for which run, the queue, tokens, GPU hours.

What a run found is not in it: that is in the run's own record.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, request TEXT NOT NULL, arguments TEXT NOT NULL,
    num_gpus INTEGER NOT NULL, cores INTEGER NOT NULL, priority INTEGER NOT NULL, created REAL NOT NULL,
    state TEXT NOT NULL, num_deaths INTEGER NOT NULL, not_before REAL NOT NULL, num_trials INTEGER,
    devices TEXT NOT NULL, pid INTEGER, process_start REAL, started REAL, ended REAL, last_line TEXT NOT NULL,
    idempotency_key TEXT, body_hash TEXT NOT NULL, asked_by TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX IF NOT EXISTS by_key ON runs (owner, idempotency_key);
CREATE TABLE IF NOT EXISTS tokens (name TEXT PRIMARY KEY, role TEXT NOT NULL, hash TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS logins (
    hash TEXT PRIMARY KEY, name TEXT NOT NULL REFERENCES tokens ON DELETE CASCADE, ends REAL NOT NULL);
CREATE TABLE IF NOT EXISTS usage (owner TEXT PRIMARY KEY, device_s REAL NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS summaries (name TEXT PRIMARY KEY, signature TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS datasets (name TEXT PRIMARY KEY, owner TEXT NOT NULL, survey TEXT NOT NULL);
"""


BUSY_TIMEOUT_S = 1.0
"""How long a write waits for other programs; requests wait with it."""


class RunState(StrEnum):
    """Where a run stands for the service."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    """Ended on request; it can be resumed."""
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """A run that somebody asked the service for. Times are Unix times."""

    name: str
    owner: str
    request: Mapping[str, Any]
    """What was asked for, by field."""
    arguments: Sequence[str]
    """The command line that starts it."""
    num_gpus: int
    """GPUs that it gets."""
    cores: int
    """CPU cores that it gets."""
    priority: int = 0
    created: float = field(default_factory=time.time)
    state: RunState = RunState.WAITING
    num_deaths: int = 0
    """Ends in a row that nobody asked for."""
    not_before: float = 0.0
    """It waits until then after a death."""
    num_trials: int | None = None
    """What the next start extends the run to."""
    devices: Mapping[str, Any] = field(default_factory=dict)
    """`gpus` and `cores` that it holds, by name."""
    pid: int | None = None
    process_start: float | None = None
    started: float | None = None
    ended: float | None = None
    asked_by: str = ""
    """Who asked for the trials of the next start, if it was not the owner."""
    last_line: str = ""
    """Why it ended, or the last that its process said."""
    idempotency_key: str | None = None
    body_hash: str = ""


_FIELDS = tuple(one.name for one in fields(RunEntry))
_JSON_FIELDS = ("request", "arguments", "devices")


class Store:
    """The file, open for one process with any number of threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        self._database.row_factory = sqlite3.Row
        with self._lock:
            # Whoever else writes into the file holds no reader up.
            self._database.execute("PRAGMA journal_mode = WAL")
            # The queue must survive a power cut.
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA foreign_keys = ON")
            self._database.executescript(_SCHEMA)
            columns = {row["name"] for row in self._database.execute("PRAGMA table_info(runs)")}
            if "asked_by" not in columns:  # the file of an earlier version
                self._database.execute("ALTER TABLE runs ADD COLUMN asked_by TEXT NOT NULL DEFAULT ''")

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._database.close()

    def execute(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """One statement in its own transaction."""
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def runs(self) -> list[RunEntry]:
        """All entries, the oldest first."""
        return [_entry(row) for row in self.execute("SELECT * FROM runs ORDER BY created")]

    def active_runs(self) -> list[RunEntry]:
        """The entries of runs that wait or go on; there are few of them."""
        return [_entry(row) for row in self.execute("SELECT * FROM runs WHERE state IN ('waiting', 'running')")]

    def run(self, name: str) -> RunEntry | None:
        """One entry; None for a run that the service was not asked for."""
        rows = self.execute("SELECT * FROM runs WHERE name = ?", name)
        return _entry(rows[0]) if rows else None

    def run_of_key(self, owner: str, key: str) -> RunEntry | None:
        """The run that an owner submitted with an idempotency key."""
        rows = self.execute("SELECT * FROM runs WHERE owner = ? AND idempotency_key = ?", owner, key)
        return _entry(rows[0]) if rows else None

    def add(self, entry: RunEntry) -> None:
        """Writes a new entry; sqlite3.IntegrityError if its name or key is taken."""
        row = {**asdict(entry), **{name: json.dumps(getattr(entry, name)) for name in _JSON_FIELDS}}
        places = ", ".join("?" * len(_FIELDS))
        self.execute(f"INSERT INTO runs ({', '.join(_FIELDS)}) VALUES ({places})", *(row[name] for name in _FIELDS))

    def change(self, name: str, *, only_if: RunState | None = None, **values: Any) -> bool:
        """Replaces some fields of an entry. Returns whether there was one, in the state `only_if` if that is given."""
        texts = {key: json.dumps(value) if key in _JSON_FIELDS else value for key, value in values.items()}
        assert set(texts) <= set(_FIELDS)
        assignments, states = ", ".join(f"{key} = ?" for key in texts), [only_if] if only_if else list(RunState)
        statement = f"UPDATE runs SET {assignments} WHERE name = ? AND state IN ({', '.join('?' * len(states))})"
        return bool(self.execute(f"{statement} RETURNING name", *texts.values(), name, *states))

    def remove(self, name: str) -> None:
        """Forgets a run."""
        with self._lock:
            for table in ("runs", "summaries"):
                self.execute(f"DELETE FROM {table} WHERE name = ?", name)

    def usage(self) -> dict[str, tuple[float, float]]:
        """Device seconds of each owner, and the Unix time at which they were worth that."""
        return {row["owner"]: (row["device_s"], row["at"]) for row in self.execute("SELECT * FROM usage")}

    def set_usage(self, usage: Mapping[str, tuple[float, float]]) -> None:
        """Replaces what `usage` returns."""
        with self._lock:
            for owner, (device_s, at) in usage.items():
                self.execute("INSERT OR REPLACE INTO usage VALUES (?, ?, ?)", owner, device_s, at)

    def summaries(self) -> Iterable[tuple[str, str, dict[str, Any]]]:
        """Name, signature of the files it was made from, and summary of every run."""
        for row in self.execute("SELECT * FROM summaries"):
            yield row["name"], row["signature"], json.loads(row["body"])

    def set_summary(self, name: str, signature: str, body: Mapping[str, Any]) -> None:
        """Keeps the summary of a run that has ended."""
        self.execute("INSERT OR REPLACE INTO summaries VALUES (?, ?, ?)", name, signature, json.dumps(body))


def _entry(row: sqlite3.Row) -> RunEntry:
    values = {name: json.loads(row[name]) if name in _JSON_FIELDS else row[name] for name in _FIELDS}
    return RunEntry(**{**values, "state": RunState(values["state"])})
