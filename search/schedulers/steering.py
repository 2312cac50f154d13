"""How a run goes on from here: as its settings say, until people ask for something else while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from search.settings import SearchSettings
from search.study.record import TrialId
from search.study.wishes import AskedWish, Wish


@dataclass(kw_only=True)
class Steering:
    """What the searchers, the trial scheduler and the time budget obey; wishes change it between two decisions.

    It decides when a trial trains, never how: a config, its seed and its scores do not depend on it.
    """

    num_trials: int
    """Trials the record shall hold, rejected ones not counted."""
    num_slots: int | None = None
    """Trials side by side; None for any number."""
    time_budget_s: float | None = None
    """For this call of the program, its preparation included; pauses do not count."""
    is_paused: bool = False
    is_stopped: bool = False
    """Whether the search ends although trials are missing."""
    by: str = ""
    """Who asked for the pause or the stop."""
    is_search_over: bool = False
    """Whether the retrainings have begun."""
    live: dict[str, TrialId] = field(default_factory=dict)
    """The trials and retrainings that were given to workers, by Ray's ids."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""
    started: float | None = None
    """When the call of the program began, by `clock`; None for now."""

    def __post_init__(self) -> None:
        self.most_slots = self.num_slots
        """Slots of the machine."""
        self._asked_slots: int | None = None
        """Slots that people asked for, perhaps when there were more; None for all, now and later."""
        self._paused_at = self.clock()
        self._started = self._paused_at if self.started is None else self.started
        self._paused_s = 0.0

    @classmethod
    def of(
        cls,
        settings: SearchSettings,
        wishes: Iterable[AskedWish],
        *,
        num_slots: int | None = None,
        started: float | None = None,
    ) -> Steering:
        """As the settings say, and as the wishes ask that the run has taken up so far, in this call or an earlier one.

        `num_slots`: of the machine. `started`: when this call began, by time.monotonic(); None for now.
        """
        steering = cls(num_trials=settings.num_trials, num_slots=num_slots, started=started)
        for asked in wishes:
            if asked.answer is not None and asked.answer.is_done:
                steering.obey(asked)
        steering.num_trials, steering.time_budget_s = settings.num_trials, settings.time_budget_s
        return steering

    def objection(self, wish: Wish, *, num_started: int) -> str | None:
        """Why the wish cannot be fulfilled any more; None if it can. `num_started`: trials, rejected ones left out."""
        if self.is_search_over:
            if wish.num_trials is not None or wish.time_budget_s is not None or wish.action == "stop":
                return "the search is over and the winner is being retrained"
            if wish.action == "continue" and not self.is_paused:
                return "the search is over and nothing waits"
        if wish.num_trials is not None and wish.num_trials < num_started:
            return f"{num_started} trials have started already"
        return None

    def obey(self, asked: AskedWish) -> None:
        """Changes course."""
        wish = asked.wish
        if wish.num_trials is not None:
            self.num_trials, self.is_stopped = wish.num_trials, False
        if wish.time_budget_s is not None:
            self.time_budget_s = wish.time_budget_s
        if wish.num_slots is not None:
            self._asked_slots = None if wish.num_slots == self.most_slots else wish.num_slots
            self.num_slots = min(wish.num_slots, self.most_slots or wish.num_slots)
        if wish.action == "continue" and not self.is_paused:
            self.is_stopped = False
        if wish.action == "stop":
            self.is_stopped = True
        if wish.action in ("pause", "continue", "stop"):
            self.by = asked.by
            self._set_paused(wish.action == "pause")

    def grow(self, num_slots: int) -> None:
        """Allows more trials, as when a node has joined the cluster, but not more than people asked for.

        Trials of lost nodes wait for other nodes.
        """
        if self.most_slots is None or num_slots <= self.most_slots:
            return
        self.most_slots, self.num_slots = num_slots, min(num_slots, self._asked_slots or num_slots)

    @property
    def words(self) -> str | None:
        """What is not as the settings say, such as "paused by anna, 1 of 2 slots"; None if nothing is."""
        texts = [
            f"paused by {self.by}" if self.is_paused else f"search stopped by {self.by}" if self.is_stopped else None,
            f"{self.num_slots} of {self.most_slots} slots" if self.num_slots != self.most_slots else None,
        ]
        return ", ".join(filter(None, texts)) or None

    @property
    def has_room(self) -> bool:
        """Whether one more trial may train now."""
        return not self.is_paused and (self.num_slots is None or len(self.live) < self.num_slots)

    def must_leave(self, trial: TrialId, *, is_at_rung: bool) -> bool:
        """Whether a trial or retraining that has finished an epoch, and could go on, leaves its worker now."""
        is_surplus = self.is_paused or (self.num_slots is not None and len(self.live) > self.num_slots)
        if isinstance(trial, str):  # a retraining has no rungs
            return is_surplus
        return self.is_stopped or (is_surplus and is_at_rung)

    @property
    def num_idle_kept(self) -> int | None:
        """Workers without a trial that may soon get one; None for any number."""
        if self.is_paused:
            return 0
        return None if self.num_slots is None else max(0, self.num_slots - len(self.live))

    @property
    def deadline(self) -> float | None:
        """When the time budget is used up, by `clock`; None without one."""
        if self.time_budget_s is None:
            return None
        paused_now = self.clock() - self._paused_at if self.is_paused else 0.0
        return self._started + self.time_budget_s + self._paused_s + paused_now

    def _set_paused(self, is_paused: bool) -> None:
        now = self.clock()
        if self.is_paused:
            self._paused_s += now - self._paused_at
        self._paused_at, self.is_paused = now, is_paused
