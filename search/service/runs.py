"""What callers may do with runs, whichever way they ask: HTTP or page."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from search.analysis.results import Run
from search.files import write_atomically
from search.run_options import RUN_NAME_PATTERN
from search.service import children
from search.service.access import Caller
from search.service.bodies import RunView
from search.service.queue import MAX_PRIORITY, shortage
from search.service.reading import of_now
from search.service.store import RunEntry, RunState, Store
from search.service.submission import Folders, arguments, settings_of, space_problems
from search.service.supervisor import Supervisor
from search.settings import SearchSettings
from search.setup.preflight import new_run_problems

NUM_LOG_LINES = 15
ARTIFACTS = (
    "report.html", "summary.md", "trials.csv", "trials.parquet", "epochs.parquet", "retrains.csv", "space.toml",
    "best_config.toml", "model.safetensors", "model.onnx", "model.pt2",
)  # fmt: skip
"""Files of a run that viewers may fetch. run.toml is not among them: a run from elsewhere may keep a password there."""
_ENTRY_FIELDS = (
    "name", "owner", "created", "started", "ended", "priority", "num_gpus", "cores", "num_deaths", "last_line",
)  # fmt: skip
"""What a view takes over as it is."""


class Refused(Exception):
    """A request that cannot be granted, with its HTTP status."""

    def __init__(self, status: int, message: str, *, field: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        where = {"field": field, "line": line}
        self.status = status
        self.errors: list[dict[str, Any]] = [
            {"message": text, **{key: value for key, value in where.items() if value is not None}}
            for text in message.splitlines()
        ]


class Runs:
    """All runs of the results folder."""

    def __init__(self, store: Store, folders: Folders, supervisor: Supervisor) -> None:
        self.store, self.folders, self.supervisor = store, folders, supervisor
        self._submitting = threading.Lock()

    def submit(self, request: Any, caller: Caller, key: str | None) -> tuple[RunView, bool]:
        """The new run's view and True, or the earlier one's and False if the caller used the idempotency key before."""
        body = request.model_dump(exclude_unset=True, exclude_none=True)
        body_hash = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        with self._submitting:
            if key is not None and (earlier := self.store.run_of_key(caller.name, key)) is not None:
                if earlier.body_hash != body_hash:
                    raise Refused(409, "this idempotency key was used for another run. Use a new one.")
                return self.view(earlier.name), False
            settings = self._checked_settings(request, caller)
            entry = RunEntry(
                name=settings.run_name, owner=caller.name, request=body, arguments=tuple(arguments(settings)),
                num_gpus=settings.gpus, cores=self._cores(request), priority=request.priority, idempotency_key=key,
                body_hash=body_hash,
            )  # fmt: skip
            self.folders.log(entry.name).touch()  # from now on the name is taken
            if request.space:
                write_atomically(self.folders.space(entry.name), request.space)
            self.store.add(entry)
        self.supervisor.wake()
        self.supervisor.summaries.changed(entry.name)
        return self.view(entry.name), True

    def _checked_settings(self, request: Any, caller: Caller) -> SearchSettings:
        """The settings of a new run; Refused or UserError if they cannot be."""
        if request.priority > 0 and not caller.may("admin"):
            raise Refused(403, "only an admin may give a priority above 0.", field="priority")
        settings = settings_of(request, self.folders)
        if wrong := space_problems(request.space, settings):
            refusal = Refused(422, "")
            refusal.errors = [{"message": text, "field": "space", "line": line} for line, text in wrong]
            raise refusal
        if self.store.run(settings.run_name) is not None or settings.run_dir.exists():
            raise Refused(409, f"there is a run {settings.run_name} already. Give another name.", field="run_name")
        # The space was just checked; its file is written once nothing else is wrong.
        if problems := new_run_problems(settings.changed(space=None)):
            raise Refused(422, "\n".join(problems))
        return settings

    def _cores(self, request: Any) -> int:
        """The CPU cores that a new run gets. Refused if this machine has too few of them, or of GPUs."""
        devices = self.supervisor.devices
        num_gpus, num_cores = len(devices.gpus), len(devices.cores)
        if request.gpus > num_gpus:
            raise Refused(422, f"there are {num_gpus} GPUs for runs here; got {request.gpus}.", field="gpus")
        share = max(1, num_cores * request.gpus // num_gpus) if request.gpus else num_cores
        cores = int(request.cores or share)
        if cores > num_cores:
            raise Refused(422, f"there are {num_cores} CPU cores for runs here; got {cores}.", field="cores")
        return cores

    def _names(self, entries: Mapping[str, RunEntry]) -> list[str]:
        """All runs, the newest first."""
        created = {name: one.get("created", 0.0) for name, one in self.supervisor.summaries.of.copy().items()}
        created |= {name: entry.created for name, entry in entries.items()}
        return sorted(created, key=lambda name: (-created[name], name))

    def view(self, name: str, positions: Mapping[str, int] | None = None) -> RunView:
        """A run as the API gives it. Refused if there is none."""
        entry, summary = self.store.run(name), self.supervisor.summaries.of.get(name)
        if entry is None and summary is None:
            raise Refused(404, "there is no such run.")
        return self._view(name, entry, summary or {}, self.positions() if positions is None else positions)

    def states(self, *, state: str | None = None, owner: str | None = None, text: str = "") -> dict[str, str]:
        """The states of all runs that match, by name, the newest first."""
        entries, summaries = {entry.name: entry for entry in self.store.runs()}, self.supervisor.summaries.of
        found = {}
        for name in self._names(entries):
            entry, summary = entries.get(name), summaries.get(name, {})
            owned_by = summary.get("owner", "") if entry is None else entry.owner
            if owner in (None, owned_by) and text.lower() in name.lower():
                found[name] = self._state(name, entry, summary)
        return {name: its_state for name, its_state in found.items() if state in (None, its_state)}

    def views(self, names: Iterable[str]) -> list[RunView]:
        """Runs as the API gives them; without those that were removed meanwhile."""
        entries, positions = {entry.name: entry for entry in self.store.runs()}, self.positions()
        summaries = self.supervisor.summaries.of.copy()
        return [
            self._view(name, entries.get(name), summaries.get(name, {}), positions)
            for name in names
            if name in entries or name in summaries
        ]

    def has_result(self, name: str) -> bool:
        """Whether a run's winner was tested; one that is given more trials keeps that result until the next."""
        return self.supervisor.summaries.of.get(name, {}).get("test_result") is not None

    def positions(self) -> dict[str, int]:
        """The place of each waiting run in the queue, from 1."""
        return {entry.name: place for place, entry in enumerate(self.supervisor.queue(), 1)}

    def _view(
        self, name: str, entry: RunEntry | None, summary: Mapping[str, Any], positions: Mapping[str, int]
    ) -> RunView:
        state = self._state(name, entry, summary)
        if entry is None:
            return RunView(**{**summary, "name": name, "state": state, **of_now(summary, state, None)})
        request = entry.request
        kept = {
            **{key: getattr(entry, key) for key in _ENTRY_FIELDS},
            "devices": entry.devices or {"gpus": (), "cores": ()},
            "queue_position": positions.get(name),
            "shortage": shortage(entry, self.supervisor.devices) if entry.state is RunState.WAITING else "",
            "dataset": request.get("dataset") or summary.get("dataset", "digits"),
            "num_trials": entry.num_trials or summary.get("num_trials") or request.get("num_trials", 20),
        }
        started = entry.started if entry.ended is None else None  # not that of a run that a shell has extended
        return RunView(**{**summary, **kept, "state": state, **of_now(summary, state, started)})

    def _state(self, name: str, entry: RunEntry | None, summary: Mapping[str, Any]) -> str:
        if entry is not None and entry.state in (RunState.WAITING, RunState.RUNNING):
            return str(entry.state)
        # A run that has ended may be extended from a shell. To ask for the lock of each takes a list too long.
        is_over = entry is not None or summary.get("test_result") is not None
        if (not is_over or self.supervisor.summaries.was_held(name)) and self.supervisor.is_running(name):
            return "running"
        if entry is not None:
            return str(entry.state)
        return "finished" if is_over else str(summary.get("state", "unfinished"))

    def prioritize(self, name: str, priority: int, caller: Caller) -> RunView:
        """Sets the priority of a run, for its next turn; only admins may."""
        if not caller.may("admin"):
            raise Refused(403, "only an admin may reorder the queue.")
        self.view(name)
        self.store.change(name, priority=priority)
        self.supervisor.wake()
        self.supervisor.summaries.changed(name)
        return self.view(name)

    def move(self, name: str, places: int, caller: Caller) -> None:
        """Gives a waiting run the priority that moves it so many places back in the queue, if it has so many."""
        queue = self.supervisor.queue()
        place = next((at for at, entry in enumerate(queue) if entry.name == name), None)
        if place is None:
            raise Refused(409, "the run does not wait any longer.")
        priority = queue[place].priority
        if places and 0 <= place + places < len(queue):
            priority = queue[place + places].priority + (-1 if places > 0 else 1)
        self.prioritize(name, max(-MAX_PRIORITY, min(MAX_PRIORITY, priority)), caller)

    def delete(self, name: str, caller: Caller) -> None:
        """Removes a run that has ended, or waits, with all its files."""
        self.check_owner(self.view(name), caller)
        entry = self.store.run(name)
        is_waiting = entry is not None and entry.state is RunState.WAITING
        # Taken from the queue first: removing the files takes a while, and it must not start meanwhile.
        if self.supervisor.is_running(name) or (is_waiting and not self._take_from_queue(name)):
            raise Refused(409, "the run goes on. Cancel it first.")
        self.supervisor.forget(name)

    def _take_from_queue(self, name: str) -> bool:
        return self.store.change(name, only_if=RunState.WAITING, state=RunState.CANCELLED)

    def load(self, name: str) -> Run:
        """The run in its folder. Refused if there is none."""
        if not RUN_NAME_PATTERN.fullmatch(name) or not (self.folders.run(name) / "run.toml").is_file():
            raise Refused(404, f"there is no run {name}, or it has not begun yet.")
        return Run.load(self.folders.run(name))

    def log(self, name: str) -> list[str]:
        """The last lines that a run's process printed."""
        return children.log_lines(self.folders.log(name), NUM_LOG_LINES) if RUN_NAME_PATTERN.fullmatch(name) else []

    def artifacts(self, name: str) -> Iterable[str]:
        """The files of a run that can be fetched now."""
        folder = self.folders.run(name)
        return [one for one in ARTIFACTS if (folder / one).is_file() and not (folder / one).is_symlink()]

    def check_owner(self, view: RunView, caller: Caller) -> None:
        """Refused unless a caller may steer and remove the run."""
        if not caller.may_steer(view.owner):
            owner = view.owner or "somebody who did not use the service"
            raise Refused(403, f"the run is {owner}'s. Only the owner or an admin may do this.")
