"""Starts the runs that are due, notices how they end, and keeps what the service says of each up to date."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from search.errors import UserError
from search.service import children
from search.service.cluster import Cluster
from search.service.fewer_devices import as_held, kept
from search.service.notifier import Notifier
from search.service.queue import Devices, decayed, in_order, next_to_start, that_fit
from search.service.store import RunEntry, RunState, Store
from search.service.submission import Folders
from search.service.summaries import Summaries
from search.setup.run_lock import is_locked

TICK_S = 1.0
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
        place: Devices | Cluster,
        *,
        on_change: Callable[[], None],
        notifier: Notifier,
        patience_s: tuple[float, ...] = PATIENCE_S,
    ) -> None:
        super().__init__(name="supervisor", daemon=True)
        """`place`: where runs train, the devices of this machine or a cluster."""
        self.store, self.folders, self._notifier = store, folders, notifier
        self.cluster = place if isinstance(place, Cluster) else None
        self._own_devices = place if isinstance(place, Devices) else None
        self.summaries = Summaries(store, folders, on_change=on_change)
        self.last_tick = time.monotonic()
        self._patience_s = patience_s
        self._end, self._wake = threading.Event(), threading.Event()
        self._used_until = 0.0
        for entry in store.active_runs():
            is_lost = entry.state is RunState.RUNNING and entry.pid is None
            if is_lost and (found := children.find(folders.exit_code(entry.name))):
                store.change(entry.name, **found)

    def run(self) -> None:
        """Until `stop`. An error, such as a full disk, is logged once and tried again."""
        said = ""
        self._used_until = time.monotonic()
        while not self._end.is_set():
            try:
                self.tick()
            except Exception as error:
                said, before = f"{type(error).__name__}: {error}", said
                if said != before:
                    _LOG.error("%s", said)
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
                    self._notifier.queue_empty(entry)
        self._start_due()
        self.summaries.look(entry.name for entry in running)

    @property
    def devices(self) -> Devices:
        """All for runs; a cluster's nodes come and go."""
        if self.cluster is not None:
            return self.cluster.total
        assert self._own_devices is not None
        return self._own_devices

    def free(self) -> Devices:
        """Devices that no run holds."""
        unheld = self.devices.without(
            entry.devices for entry in self.store.active_runs() if entry.state is RunState.RUNNING
        )
        return unheld if self.cluster is None else self.cluster.fitting(unheld)

    def usage(self) -> dict[str, float]:
        """Device seconds of each owner that still count."""
        now = time.time()
        return {owner: decayed(device_s, now - at) for owner, (device_s, at) in self.store.usage().items()}

    def queue(self) -> list[RunEntry]:
        """The waiting runs in the order in which they start."""
        waiting = [entry for entry in self.store.active_runs() if entry.state is RunState.WAITING]
        return in_order(waiting, self.usage())

    def is_running(self, name: str) -> bool:
        """Whether a process works on a run, be it the service's or not."""
        entry = self.store.run(name)
        if entry is not None and entry.state is RunState.RUNNING:
            return True
        return is_locked(self.folders.run(name))

    def give_back(self, entry: RunEntry, num_gpus: int, cores: int) -> None:
        """Leaves a running run so many of its GPUs and CPU cores.

        A cluster takes the rest from its trials by itself. On this machine a process cannot change its GPUs: the run's
        ends, and the next goes on at once, from its checkpoints, with what the run keeps.
        """
        self.store.change(entry.name, num_gpus=num_gpus, cores=cores)
        devices = kept(replace(entry, num_gpus=num_gpus, cores=cores))
        if devices is None or entry.pid is None:
            return
        if self.cluster is None:
            children.interrupt(entry.pid)
        else:
            self.store.change(entry.name, devices=as_held(devices))

    def forget(self, name: str) -> None:
        """Removes a run that has ended, or waits, with all its files."""
        shutil.rmtree(self.folders.run(name), ignore_errors=True)
        for path in (self.folders.log(name), self.folders.exit_code(name), self.folders.space(name)):
            path.unlink(missing_ok=True)
        self.store.remove(name)
        self.summaries.forget(name)

    def _start_due(self) -> None:
        if self.cluster is not None and self.queue():
            try:
                self.cluster.look()
            except UserError as error:
                _LOG.error("%s", error)
        while due := next_to_start(that_fit(self.queue(), self.devices), self.free(), time.time()):
            self._start(*due)

    def _start(self, entry: RunEntry, devices: Devices) -> None:
        run_dir, log = self.folders.run(entry.name), self.folders.log(entry.name)
        is_new = not (run_dir / "run.toml").exists()
        words = list(entry.arguments) if is_new else ["--resume", str(run_dir)]
        if entry.num_trials is not None:
            words.append(f"--trials={entry.num_trials}")  # the last one counts
        if self.cluster is not None:
            words += self.cluster.words(entry, is_new=is_new)
        self.folders.exit_code(entry.name).unlink(missing_ok=True)
        # Written first: a service that dies between the two finds the process, or starts it again.
        held: dict[str, Any] = {"devices": as_held(devices), "pid": None, "started": time.time(), "ended": None}
        if not self.store.change(entry.name, only_if=entry.state, state=RunState.RUNNING, **held):
            return  # it was taken from the queue
        pid, start = children.start(
            words,
            devices if self.cluster is None else None,
            log=log,
            exit_file=self.folders.exit_code(entry.name),
            environment=self._notifier.environment(entry),
        )
        self.store.change(entry.name, pid=pid, process_start=start)
        self.summaries.changed(entry.name)

    def _settle(self, entry: RunEntry) -> None:
        """A run's process has ended."""
        code = children.exit_code(self.folders.exit_code(entry.name))
        if code == _INTERRUPTED and (devices := kept(entry)) is not None:
            self._start(entry, devices)
            return
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
        self.summaries.refresh(entry.name, is_live=False)
        self.store.change(entry.name, **values)
        if values["state"] is RunState.FAILED:
            self._notifier.failed(entry, line)
        self.summaries.changed(entry.name)

    def _count_usage(self, running: list[RunEntry]) -> None:
        """Adds the device time since the last tick: GPUs, or the share of the cores on a machine without any."""
        now = time.monotonic()
        elapsed_s, self._used_until = now - self._used_until, now
        added: dict[str, float] = {}
        for entry in running:
            # A cluster may have lost all its nodes.
            share = len(entry.devices.get("cores", ())) / max(1, len(self.devices.cores))
            added[entry.owner] = added.get(entry.owner, 0.0) + elapsed_s * (entry.num_gpus or share)
        if added:
            usage, at = self.usage(), time.time()
            self.store.set_usage({owner: (usage.get(owner, 0.0) + used, at) for owner, used in added.items()})
