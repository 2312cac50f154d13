"""A study's database for tests that kill a search before any of its commits."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from search.study.study import RunStudy


def torn_states(before: bytes, after: bytes) -> Iterator[bytes]:
    """Both ways to mix two states of a database at each page that differs."""
    size = 4096
    starts = range(0, len(after), size)
    different = [start for start in starts if before[start : start + size] != after[start : start + size]]
    for cut in different[1:]:
        yield after[:cut] + before[cut:]
        yield before[:cut] + after[cut:]


def _hurry(connection: Any, _record: Any) -> None:
    """A killed process loses nothing that it handed to the system; only a power cut would."""
    connection.execute("PRAGMA synchronous = OFF")


@contextmanager
def in_database(path: Path) -> Iterator[RunStudy]:
    """A run's study in the SQLite file `path`, closed at the end."""
    sa.event.listen(sa.Engine, "connect", _hurry)
    study = RunStudy.in_database(f"sqlite:///{path}", "run")
    try:
        yield study
    finally:
        sa.event.remove(sa.Engine, "connect", _hurry)
        assert study.database is not None
        study.database.close()


def before_each_commit(study: RunStudy, call: Callable[[], None]) -> None:
    """Calls just before every transaction that writes to a trial is committed."""
    engine = _engine_of(study)
    has_written = False

    @sa.event.listens_for(engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        nonlocal has_written
        has_written = has_written or statement.startswith(("INSERT", "UPDATE", "DELETE"))

    @sa.event.listens_for(engine, "commit")
    def commit(connection: Any) -> None:
        nonlocal has_written
        if has_written:
            has_written = False
            call()


def lose_every_commit(study: RunStudy, *, is_made: bool, is_back: bool = True) -> list[str]:
    """As if a server were lost at each commit, before or after it `is_made`, and `is_back` when it is repeated.

    Returns the reasons of the waits.
    """
    database, engine, is_lost, reasons = study.database, _engine_of(study), False, list[str]()
    assert database is not None
    database.transactions._is_server = True
    database.transactions.on_wait = lambda reason: reasons.append(str(reason))
    commit = engine.dialect.do_commit

    def lose(connection: Any) -> None:
        nonlocal is_lost
        is_lost = not (is_lost and is_back)
        if not is_lost or is_made:
            commit(connection)
        if is_lost:
            raise sqlite3.OperationalError("the server is gone")

    engine.dialect.do_commit = lose  # type: ignore[assignment, method-assign]
    return reasons


def _engine_of(study: RunStudy) -> sa.Engine:
    """The engine behind the storage, which keeps it to itself."""
    assert study.database is not None
    return study.database._storage.engine
