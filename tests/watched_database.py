"""A study's database for tests that kill a search before any of its commits."""

from __future__ import annotations

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
        study.storage.remove_session()
        _engine_of(study).dispose()


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


def _engine_of(study: RunStudy) -> sa.Engine:
    """The engine behind the storage, which Optuna keeps to itself."""
    storage: Any = study.storage
    engine: sa.Engine = storage._backend.engine
    return engine
