"""Starts the runs that are due, notices how they end, and keeps what the service says of each up to date."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from search.analysis.results import load_run
from search.service import children
from search.service.queue import Devices, decayed, in_order, next_to_start
from search.service.reading import signature, summarize, unreadable
from search.service.store import RunEntry, RunState, Store
from search.service.submission import Folders
from search.service.word import Word
from search.setup.run_lock import is_locked

TICK_S = 1.0
SCAN_INTERVAL_S = 10.0
"""The folder may have runs that the service did not start."""
SCAN_SHARE_S = 0.5
"""The most of a tick that goes into reading runs that have ended."""
READ_SHARE = 0.05
"""The largest share of the time that goes into reading live runs: it takes a core from them."""
MAX_DEATHS = 3
PATIENCE_S = (5.0, 60.0, 300.0)
"""Waits before a run that died is resumed."""
_REFUSED, _INTERRUPTED = 2, 130
_LOG = logging.getLogger("search.service")


class Supervisor(threading.Thread):
    """One thread that does all of it once a second."""

    def __init__(
        self,
        store: Store,
        folders: Folders,
        devices: Devices,
        *,
        on_change: Callable[[], None],
        word: Word,
        patience_s: tuple[float, ...] = PATIENCE_S,
    ) -> None:
        super().__init__(name="supervisor", daemon=True)
        self.store, self.folders, self.devices, self._word = store, folders, devices, word
        self.summaries: dict[str, dict[str, Any]] = {}
        """Of every run in the results folder, by name."""
        self.versions: dict[str, int] = {}
        """Counts the changes of each run."""
        self.last_tick = time.monotonic()
        self._signatures: dict[str, str] = {}
        self._foreign: set[str] = set()
        self._on_change, self._patience_s = on_change, patience_s
        self._end, self._wake = threading.Event(), threading.Event()
        self._next_scan = self._next_read = self._used_until = 0.0
        self._read_at: dict[str, float] = {}
        for name, kept_signature, body in store.summaries():
            self._signatures[name], self.summaries[name] = kept_signature, body
        for entry in store.active_runs():
            is_lost = entry.state is RunState.RUNNING and entry.pid is None
            if is_lost and (found := children.find(folders.exit_code(entry.name))):
                store.change(entry.name, **found)

    def run(self) -> None:
        """Until `stop`. An error, such as a full disk, is logged and tried again."""
        self._used_until = time.monotonic()
        while not self._end.is_set():
            try:
                self.tick()
            except Exception as error:
                _LOG.error("%s: %s", type(error).__name__, error)
            self.last_tick = time.monotonic()
            self._wake.wait(TICK_S)
            self._wake.clear()

    def stop(self) -> None:
        """Ends the thread; runs go on."""
        self._end.set()
        self._wake.set()
        self.join()

    def wake(self) -> None:
        """Something is to be done at once."""
        self._wake.set()

    def tick(self) -> None:
        """Ends, starts and summaries that are due."""
        running = [entry for entry in self.store.active_runs() if entry.state is RunState.RUNNING]
        self._count_usage(running)
        for entry in running:
            if not children.is_alive(entry.pid, entry.process_start, self.folders.run(entry.name)):
                self._settle(entry)
                if not self.store.active_runs():
                    self._word.queue_empty(entry)
        while (due := self._due()) is not None:
            self._start(*due)
        self._refresh_live(running)
        if time.monotonic() >= self._next_scan:
            self._scan({entry.name for entry in running})

    def free(self) -> Devices:
        """Devices that no run holds."""
        return self.devices.without(
            entry.devices for entry in self.store.active_runs() if entry.state is RunState.RUNNING
        )

    def usage(self) -> dict[str, float]:
        """Device seconds of each owner that still count."""
        now = time.time()
        return {owner: decayed(device_s, now - at) for owner, (device_s, at) in self.store.usage().items()}

    def queue(self) -> list[RunEntry]:
        """The waiting runs in the order in which they start."""
        waiting = [entry for entry in self.store.active_runs() if entry.state is RunState.WAITING]
        return in_order(waiting, self.usage())

    def changed(self, name: str) -> None:
        """Tells whoever watches."""
        self.versions[name] = self.versions.get(name, 0) + 1
        self._on_change()

    def is_running(self, name: str) -> bool:
        """Whether a process works on a run, be it the service's or not."""
        entry = self.store.run(name)
        if entry is not None and entry.state is RunState.RUNNING:
            return True
        return is_locked(self.folders.run(name))

    def forget(self, name: str) -> None:
        """Removes a run that has ended, or waits, with all its files."""
        shutil.rmtree(self.folders.run(name), ignore_errors=True)
        for path in (self.folders.log(name), self.folders.exit_code(name), self.folders.space(name)):
            path.unlink(missing_ok=True)
        self.store.remove(name)
        for known in (self.summaries, self._signatures):
            known.pop(name, None)
        self.changed(name)

    def _due(self) -> tuple[RunEntry, Devices] | None:
        return next_to_start(self.queue(), self.free(), time.time())

    def _start(self, entry: RunEntry, devices: Devices) -> None:
        run_dir, log = self.folders.run(entry.name), self.folders.log(entry.name)
        if (run_dir / "run.toml").exists():
            words = ["--resume", str(run_dir)]
            words += [] if entry.num_trials is None else [f"--trials={entry.num_trials}"]
        else:
            words = list(entry.arguments)
        held = {"gpus": devices.gpus, "cores": devices.cores}
        self.folders.exit_code(entry.name).unlink(missing_ok=True)
        # Written first: a service that dies between the two finds the process, or starts it again.
        self.store.change(entry.name, state=RunState.RUNNING, devices=held, pid=None, started=time.time(), ended=None)
        pid, start = children.start(
            words,
            devices,
            log=log,
            exit_file=self.folders.exit_code(entry.name),
            environment=self._word.environment(entry),
        )
        self.store.change(entry.name, pid=pid, process_start=start)
        self.changed(entry.name)

    def _settle(self, entry: RunEntry) -> None:
        """A run's process has ended."""
        code = children.exit_code(self.folders.exit_code(entry.name))
        line = children.last_line(self.folders.log(entry.name))
        values: dict[str, Any] = {"devices": {}, "pid": None, "ended": time.time(), "last_line": line}
        if code == 0:
            values |= {"state": RunState.FINISHED, "num_deaths": 0, "num_trials": None, "last_line": ""}
        elif code == _INTERRUPTED:
            values |= {"state": RunState.CANCELLED}
        elif code == _REFUSED or entry.num_deaths >= MAX_DEATHS:
            values |= {"state": RunState.FAILED}
        else:
            patience = self._patience_s[min(entry.num_deaths, len(self._patience_s) - 1)]
            values |= {"state": RunState.WAITING, "num_deaths": entry.num_deaths + 1}
            values |= {"not_before": time.time() + patience}
        # Whoever sees that it has ended also sees with what.
        self._refresh(entry.name, is_live=False)
        self.store.change(entry.name, **values)
        if values["state"] is RunState.FAILED:
            self._word.failed(entry, line)
        self.changed(entry.name)

    def _count_usage(self, running: list[RunEntry]) -> None:
        """Adds the device time since the last tick: GPUs, or the share of the cores on a machine without any."""
        now = time.monotonic()
        elapsed_s, self._used_until = now - self._used_until, now
        added: dict[str, float] = {}
        for entry in running:
            share = len(entry.devices.get("cores", ())) / len(self.devices.cores)
            added[entry.owner] = added.get(entry.owner, 0.0) + elapsed_s * (entry.num_gpus or share)
        if added:
            usage, at = self.usage(), time.time()
            self.store.set_usage({owner: (usage.get(owner, 0.0) + used, at) for owner, used in added.items()})

    def _scan(self, running: set[str]) -> None:
        """Takes in what changed in runs that nobody watches, as far as the time allows."""
        deadline = time.monotonic() + SCAN_SHARE_S
        found = {path.name for path in self.folders.results.iterdir() if not path.name.startswith(".")}
        for name in set(self.summaries) - found - running:
            self.store.execute("DELETE FROM summaries WHERE name = ?", name)
            del self.summaries[name]
            self.changed(name)
        for name in sorted(found - running):
            self._refresh(name, is_live=False)
            if time.monotonic() >= deadline:
                return
        self._next_scan = time.monotonic() + SCAN_INTERVAL_S

    def _refresh_live(self, running: list[RunEntry]) -> None:
        """Reads the live runs in turn, as often as a small share of the time allows."""
        for entry in sorted(running, key=lambda one: self._read_at.get(one.name, 0.0)):
            start = time.monotonic()
            if start < self._next_read:
                return
            self._read_at[entry.name] = start
            self._refresh(entry.name, is_live=True)
            self._next_read = start + (time.monotonic() - start) / READ_SHARE

    def _refresh(self, name: str, *, is_live: bool) -> None:
        """Reads a run again if it wrote something."""
        run_dir = self.folders.run(name)
        now = signature(run_dir)
        if now in ("", self._signatures.get(name)):
            return
        try:
            summary: Mapping[str, Any] = summarize(load_run(run_dir))
        except Exception as error:  # whatever is in the folder, the others must be shown
            if is_live:  # it is being written
                return
            summary = unreadable(error)
        self._signatures[name], self.summaries[name] = now, dict(summary)
        if not is_live:
            with contextlib.suppress(OSError):
                self.store.set_summary(name, now, summary)
        self.changed(name)
