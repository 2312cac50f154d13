"""Writes to a database: each one transaction, repeated while the database's server is away."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError

from search.errors import RunFailed

PATIENCE_S = 180.0
"""How long a run waits for a server that does not answer."""
_RETRY_S = 1.0
_LIBPQ = {
    "connect_timeout": 10,
    # Without these, a server that was unplugged looks like a slow one for hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
Step = Callable[[sa.Connection], object]
"""A part of a write. Repeated after the write was made, it raises IntegrityError or IsWritten, or changes nothing."""


class IsWritten(Exception):
    """A write that seemed lost had been made; only the server's answer was lost."""


class Transactions:
    """The writes of the only process that writes a study."""

    def __init__(self, engine: sa.Engine, *, is_server: bool, after_group: Callable[[], None]) -> None:
        """`is_server`: whether it is worth waiting for. `after_group` is called after each `one_write`."""
        self._engine = engine
        self._is_server = is_server
        self._after_group = after_group
        self._steps: list[Step] | None = None
        self.is_repeating = False
        """Whether the write under way may have been made already."""
        self.seconds_away = 0.0
        """How long the run has waited for the server."""
        self.on_wait: Callable[[str | None], None] = lambda _reason: None
        """Called every second while the server is away, the first time with the reason. May end the run by raising."""

    @contextlib.contextmanager
    def one_write(self) -> Iterator[None]:
        """Everything written in the block is one transaction, made at its end, also if it raises."""
        if self._steps is not None:
            yield
            return
        self._steps = []
        try:
            yield
        finally:
            steps, self._steps = self._steps, None
            if steps:
                self._commit(steps)
                self._after_group()

    def write(self, step: Step) -> None:
        """Makes a write of one step, or adds the step to the write under way. RunFailed after `PATIENCE_S`."""
        if self._steps is None:
            self._commit([step])
        else:
            self._steps.append(step)

    def _commit(self, steps: Sequence[Step]) -> None:
        start = time.monotonic()
        while True:
            try:
                with self._engine.begin() as connection:
                    for step in steps:
                        step(connection)
                break
            except (IntegrityError, IsWritten):
                if not self.is_repeating:
                    raise
                break
            except (OperationalError, InterfaceError) as error:
                if not self._is_server:
                    raise
                self._wait(database_reason(error), time.monotonic() - start)
                self.is_repeating = True
        if self.is_repeating:
            self.is_repeating = False
            self.seconds_away += time.monotonic() - start

    def _wait(self, reason: str, seconds: float) -> None:
        if seconds > PATIENCE_S:
            place = self._engine.url.render_as_string(hide_password=True)
            raise RunFailed(f"--storage {place}: no answer for {seconds:.0f} s ({reason}). Resume once it answers.")
        self.on_wait(None if self.is_repeating else reason)
        time.sleep(_RETRY_S)


def database_reason(error: BaseException) -> str:
    """What the database's driver says, in one line."""
    return " ".join(str(error.__cause__ or error).split("\n")[0].split())


def server_options(url: str) -> dict[str, Any]:
    """What SQLAlchemy's engine gets for a server: a run needs one connection, and finds out if it is dead."""
    has_libpq = sa.make_url(url).get_driver_name() in ("psycopg", "psycopg2")
    return {
        "pool_size": 1,
        "max_overflow": 1,
        "pool_pre_ping": True,
        "connect_args": _LIBPQ if has_libpq else {},
    }
