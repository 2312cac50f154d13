"""Passes wishes on to a run that goes on, starts one again that has ended, or takes one from the queue."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from search.service import children
from search.service.access import Caller
from search.service.bodies import RunView
from search.service.fewer_devices import fits, needed
from search.service.runs import Refused, Runs
from search.service.store import RunEntry, RunState
from search.setup.control import control
from search.setup.run_lock import is_locked
from search.study.wishes import Wish


def steer(runs: Runs, name: str, wish: Wish, caller: Caller) -> RunView:
    """Does what a caller asks of a run, or lets it do so. Refused or UserError if it cannot be done."""
    entry, view = runs.store.run(name), runs.view(name)
    runs.check_owner(view, caller)
    if entry is not None and entry.state is RunState.WAITING:
        _steer_waiting(runs, entry, wish)
    elif runs.supervisor.is_running(name):
        _steer_running(runs, name, entry, wish, caller)
    else:
        _start_again(runs, name, entry, wish, caller)
    runs.supervisor.wake()
    runs.supervisor.summaries.changed(name)
    return runs.view(name)


def _steer_waiting(runs: Runs, entry: RunEntry, wish: Wish) -> None:
    if wish.action != "cancel":
        raise Refused(409, "the run waits for its turn. It can only be cancelled.")
    has_result = runs.has_result(entry.name)
    ending: dict[str, Any] = {
        # It waited for its first turn, or for more trials than it has.
        "state": RunState.FINISHED if has_result else RunState.CANCELLED,
        "ended": time.time(),
        "num_trials": None,
        "last_line": "" if has_result else "cancelled while it waited",
    }
    if not runs.store.change(entry.name, only_if=RunState.WAITING, **ending):
        raise Refused(409, "the run has just started. Cancel it again.")


def _steer_running(runs: Runs, name: str, entry: RunEntry | None, wish: Wish, caller: Caller) -> None:
    run_dir = runs.folders.run(name)
    # Until a run that is resumed has locked its folder, its record takes only what an unfinished run takes up later.
    is_for_later = not runs.has_result(name) and wish.action not in ("pause", "cancel")
    if (run_dir / "run.toml").exists() and (is_locked(run_dir) or is_for_later):
        enough = None if entry is None else _enough_devices(runs, entry, wish)
        control(run_dir, wish, by=caller.name)
        if wish.num_trials is not None:
            runs.store.change(name, num_trials=None)  # from now on the run's own record says how many
        if entry is not None and enough is not None:
            runs.supervisor.give_back(entry, *enough)
    elif wish.action == "cancel" and entry is not None and entry.pid is not None:
        children.interrupt(entry.pid)
    else:
        raise Refused(409, "the run has only just started. Try again in some seconds, or cancel it.")


def _enough_devices(runs: Runs, entry: RunEntry, wish: Wish) -> tuple[int, int] | None:
    """The GPUs and CPU cores that a run needs from now on; None if the wish does not change them."""
    if wish.action == "cancel":
        # Its process may be about to end only to go on with fewer devices. Now it shall not go on.
        return len(entry.devices.get("gpus", ())), len(entry.devices.get("cores", ()))
    slots = runs.load(entry.name).document.slots
    if wish.num_slots is None or wish.num_slots > slots.num_concurrent:  # the run itself refuses that
        return None
    if not fits(entry, slots, wish.num_slots):
        room = max((count for count in range(1, wish.num_slots) if fits(entry, slots, count)), default=1)
        raise Refused(409, f"the run has devices for {room} side by side. Give that many or fewer.", field="num_slots")
    return needed(entry, slots, wish.num_slots)


def _start_again(runs: Runs, name: str, entry: RunEntry | None, wish: Wish, caller: Caller) -> None:
    is_finished, summary = runs.view(name).state == "finished", runs.supervisor.summaries.of.get(name, {})
    is_other = wish.action not in (None, "continue") or wish.num_slots is not None or wish.time_budget_s is not None
    if is_other or (is_finished and wish.num_trials is None):
        choice = "only be given more trials" if is_finished else "only be continued or given more trials"
        raise Refused(409, f"the run has ended, so {wish.words!r} is not possible. It can {choice}.")
    started = int(summary.get("num_started", 0))
    if wish.num_trials is not None and wish.num_trials < started:
        raise Refused(422, f"this run has {started} trials already. Give that many or more.", field="num_trials")
    steering = summary.get("steering") or ""
    # A search that was stopped before any trial had a score has nothing else to go on with.
    is_empty = steering.startswith("search stopped") and summary.get("best_validation") is None
    if not runs.has_result(name) and (steering.startswith("paused") or is_empty):
        control(runs.folders.run(name), Wish(action="continue"), by=caller.name)
    if entry is None:
        num_gpus, cores = runs.load(name).settings.gpus, len(runs.supervisor.devices.cores)
        new = RunEntry(name=name, owner=caller.name, request={}, arguments=(), num_gpus=num_gpus, cores=cores)
        runs.store.add(replace(new, num_trials=wish.num_trials, asked_by=caller.name))
        return
    changes = {} if wish.num_trials is None else {"num_trials": wish.num_trials, "asked_by": caller.name}
    again: dict[str, Any] = {"state": RunState.WAITING, "num_deaths": 0, "not_before": 0.0, "last_line": "", **changes}
    if not runs.store.change(name, only_if=entry.state, **again):
        raise Refused(409, "somebody else has just started or removed the run. Look at it again.")
