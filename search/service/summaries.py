"""What the service says of every run in the results folder, kept up to date as cheaply as it can be."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from search.analysis.results import Run
from search.errors import OtherFormatError
from search.service.reading import is_of_held, signature, summarize, unreadable
from search.service.store import Store
from search.service.submission import Folders

SCAN_INTERVAL_S = 10.0
"""The folder may have runs that the service did not start."""
SCAN_SHARE_S = 0.5
"""The most of a round that goes into reading runs that have ended."""
READ_SHARE = 0.05
"""The largest share of the time that goes into reading live runs: it takes a core from them."""


class Summaries:
    """Read by one thread; others may look at `of` and `versions`."""

    def __init__(self, store: Store, folders: Folders, *, on_change: Callable[[], None]) -> None:
        self.of: dict[str, dict[str, Any]] = {}
        """By a run's name. Other threads go through a copy, because it grows meanwhile."""
        self.versions: dict[str, int] = {}
        """Counts the changes of each run."""
        self._store, self._folders, self._on_change = store, folders, on_change
        self._signatures: dict[str, str] = {}
        self._next_scan = self._next_read = 0.0
        self._read_at: dict[str, float] = {}
        self._again_at: dict[str, float] = {}
        """When to try again to read a run that could not be read."""
        for name, kept_signature, body in store.summaries():
            self._signatures[name], self.of[name] = kept_signature, body

    def changed(self, name: str) -> None:
        """Tells whoever watches."""
        self.versions[name] = self.versions.get(name, 0) + 1
        self._on_change()

    def was_held(self, name: str) -> bool:
        """Whether a process worked on a run when it was last read."""
        return is_of_held(self._signatures.get(name, ""))

    def forget(self, name: str) -> None:
        """The run is removed."""
        for known in (self.of, self._signatures):
            known.pop(name, None)
        self.changed(name)

    def look(self, running: Iterable[str]) -> None:
        """Reads what changed, as far as the time allows: live runs, and now and then all others."""
        live = set(running)
        self._refresh_live(live)
        if time.monotonic() >= self._next_scan:
            self._scan(live)

    def _scan(self, live: set[str]) -> None:
        deadline = time.monotonic() + SCAN_SHARE_S
        found = {path.name for path in self._folders.results.iterdir() if not path.name.startswith(".")}
        for name in set(self.of) - found - live:
            self._store.execute("DELETE FROM summaries WHERE name = ?", name)
            self.forget(name)
        for name in sorted(found - live):
            self.refresh(name, is_live=False)
            if time.monotonic() >= deadline:
                return
        self._next_scan = time.monotonic() + SCAN_INTERVAL_S

    def _refresh_live(self, live: set[str]) -> None:
        """In turn, as often as a small share of the time allows."""
        for name in sorted(live, key=lambda one: self._read_at.get(one, 0.0)):
            start = time.monotonic()
            if start < self._next_read:
                return
            self._read_at[name] = start
            self.refresh(name, is_live=True)
            self._next_read = start + (time.monotonic() - start) / READ_SHARE

    def refresh(self, name: str, *, is_live: bool) -> None:
        """Reads a run again if it wrote something, or could not be read before."""
        run_dir, start = self._folders.run(name), time.monotonic()
        now = signature(run_dir)
        if now in ("", self._signatures.get(name)) or start < self._again_at.get(name, 0.0):
            return
        try:
            summary: Mapping[str, Any] = summarize(Run.load(run_dir))
        except Exception as error:  # whatever is in the folder, the others must be shown
            if is_live:  # it is being written
                return
            summary = unreadable(error)
            if not isinstance(error, OtherFormatError):  # it may be held by another program, or its server be away
                now, took_s = "", time.monotonic() - start
                self._again_at[name] = start + took_s + max(SCAN_INTERVAL_S, took_s / READ_SHARE)
                if self.of.get(name) == summary:
                    return
        self._signatures[name], self.of[name] = now, dict(summary)
        if not is_live:
            with contextlib.suppress(OSError):
                self._store.set_summary(name, now, summary)
        self.changed(name)
