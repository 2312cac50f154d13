"""A limit that holds whatever goes on: imports, loading and measuring in this process too."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class OutOfTime(BaseException):
    """Not an Exception: nothing that handles errors may swallow it."""


@contextlib.contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Raises OutOfTime in the block after so many seconds. Main thread only."""
    earlier = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


def _ring(number: int, frame: FrameType | None) -> None:
    raise OutOfTime
