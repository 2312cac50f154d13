"""Server-sent events: whoever watches is told that something changed, and reads the newest state. Nothing queues up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from search.service.runs import Refused

MAX_WATCHERS = 500
MIN_INTERVAL_S = 1.0
"""Between two events to one watcher."""
KEEP_ALIVE_S = 20.0
"""Proxies close a connection on which nothing happens."""


class Events:
    """The watchers of a service."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.num_watchers = 0
        self._is_over = False
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Something changed; from any thread."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._wake)

    def end(self) -> None:
        """Ends all streams; from the loop's thread."""
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def check(self) -> None:
        """Refused if there are too many watchers."""
        if self.num_watchers >= MAX_WATCHERS:
            raise Refused(503, "too many pages are watching. Close some.")

    async def stream(self, version: Callable[[], object], read: Callable[[], Any]) -> AsyncIterator[str]:
        """An event with what `read` returns now, and another whenever `version` has changed since."""
        self.num_watchers += 1
        try:
            seen: object = None
            while not self._is_over:
                changed, now = self._changed, version()
                if now != seen:
                    seen = now
                    try:
                        answer = await run_in_threadpool(read)
                    except Refused:  # the run was removed
                        return
                    yield f"data: {json.dumps(answer)}\n\n"
                    await asyncio.sleep(MIN_INTERVAL_S)
                    continue
                try:
                    await asyncio.wait_for(changed.wait(), KEEP_ALIVE_S)
                except TimeoutError:
                    yield ": still there\n\n"
        finally:
            self.num_watchers -= 1
