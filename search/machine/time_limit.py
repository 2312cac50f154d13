"""A time limit for a block that holds for imports, loading and measuring in this process as well."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class OutOfTime(BaseException):
    """Not an Exception, so no error handler can swallow it."""


@contextlib.contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Raises OutOfTime in the block after `limit_s` seconds. Main thread only."""
    earlier = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


def _ring(number: int, frame: FrameType | None) -> None:
    raise OutOfTime
