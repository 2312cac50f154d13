"""Requests to stop: the first signal ends the run cleanly, the second kills it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType

import psutil

from search.errors import RunInterrupted

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Remembers the signal that asked to stop, and raises RunInterrupted unless that is deferred."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._is_deferred = False
        self._family: frozenset[psutil.Process] = frozenset()

    def __bool__(self) -> bool:
        return self.signal_number is not None

    @contextlib.contextmanager
    def installed(self) -> Iterator[StopRequest]:
        """Handles the stop signals within the block.

        A signal that was ignored, as by nohup, stays ignored. Only the main thread can handle any.
        """
        is_main = threading.current_thread() is threading.main_thread()
        heeded = [number for number in STOP_SIGNALS if is_main and signal.getsignal(number) is not signal.SIG_IGN]
        earlier = {number: signal.signal(number, self._handle) for number in heeded}
        try:
            yield self
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Within the block a signal is only remembered, for the code there to check; the block's end raises it."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
        self.check()

    def check(self) -> None:
        """Raises RunInterrupted if a signal has come."""
        if self.signal_number is not None:
            raise RunInterrupted(self.signal_number)

    def request(self) -> None:
        """As if the first SIGINT came now."""
        if self.signal_number is None:
            self._handle(signal.SIGINT, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            _kill(self._family | _descendants())
            os._exit(128 + number)
        self.signal_number = number
        # A process whose parent ends from now on is not a descendant any more; only this set still knows it.
        self._family = _descendants()
        if not self._is_deferred:
            self.check()


def _descendants() -> frozenset[psutil.Process]:
    """The processes that this one started, and those that they started."""
    return frozenset(psutil.Process().children(recursive=True))


def _kill(family: Iterable[psutil.Process]) -> None:
    """Kills what is still alive; Ray's agents would try for a minute to reach this process."""
    for process in family:
        with contextlib.suppress(psutil.Error):
            # Not done by psutil if the pid belongs to another process by now.
            process.kill()
