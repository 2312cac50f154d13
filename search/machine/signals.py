"""Requests to stop: the first signal ends the run in good order, the second at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

from search.errors import RunInterrupted

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Remembers the signal that asked to stop, and raises RunInterrupted for it unless that is deferred."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._is_deferred = False
        self._family: frozenset[tuple[int, str]] = frozenset()

    def __bool__(self) -> bool:
        return self.signal_number is not None

    @contextlib.contextmanager
    def installed(self) -> Iterator[StopRequest]:
        """Handles the stop signals until the block ends. Main thread only."""
        earlier = {number: signal.signal(number, self._handle) for number in STOP_SIGNALS}
        try:
            yield self
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Within the block a signal is only remembered: whoever runs there asks. It is raised at the block's end."""
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

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            _kill(self._family | _descendants())
            os._exit(128 + number)
        self.signal_number = number
        # One whose parent ends from now on is no descendant any more, and known by this alone.
        self._family = _descendants()
        if not self._is_deferred:
            self.check()


def _descendants() -> frozenset[tuple[int, str]]:
    """What this process started, and what that started: the id and starting time of each."""
    parents, times = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)], times[int(stat.parent.name)] = _parent_and_time(stat)
    family = [os.getpid()]
    for pid in family:
        family += [child for child, parent in parents.items() if parent == pid]
    return frozenset((pid, times[pid]) for pid in family[1:])


def _kill(family: Iterable[tuple[int, str]]) -> None:
    """Kills those that still live; Ray's agents would try for a minute to tell this process that it is gone."""
    for pid, started in family:
        with contextlib.suppress(OSError):
            # Its id may be another's by now.
            if _parent_and_time(Path(f"/proc/{pid}/stat"))[1] == started:
                os.kill(pid, signal.SIGKILL)


def _parent_and_time(stat: Path) -> tuple[int, str]:
    fields = stat.read_text().rpartition(") ")[2].split()
    return int(fields[1]), fields[19]
