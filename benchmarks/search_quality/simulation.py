"""A search in simulated time: the real searcher and trial scheduler steer trials that only pretend to train.

Searchers and schedulers are driven through Ray's interfaces by name, those of the project and Ray's own alike; nothing
of Ray is imported, and no cluster runs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

FINISHED = "FINISHED"
STOP = "STOP"


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a simulated trial reports next, and how long after its last report, or its start, it does."""

    seconds: float
    result: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Event:
    """A report as it arrived."""

    time_s: float
    """Since the start of the search."""
    worker: int
    """From 0."""
    trial_id: str
    config: Mapping[str, Any]
    """What the searcher suggested."""
    result: Mapping[str, Any]
    is_end: bool
    """Whether the worker is free after it."""


Train = Callable[[Mapping[str, Any]], Iterator[Step]]
"""What a worker does with a suggestion, from its first report to its last."""


@dataclass(frozen=True)
class _Running:
    trial: SimpleNamespace
    step: Step
    rest: Iterator[Step]
    worker: int


def simulate(
    searcher: Any, scheduler: Any, train: Train, *, num_workers: int, num_trials: int | None = None
) -> Iterator[Event]:
    """Yields every report in the order of simulated time until the searcher has finished and all trials have ended.

    Unlike in a cluster everything but training takes no time, and of two reports at one moment the one that was begun
    first comes first. At most `num_trials` suggestions are taken; None is no limit. Leave off iterating to end sooner.
    """
    search = _Search(searcher, scheduler, train, num_trials)
    search.fill(0.0, list(range(num_workers)))
    while search.queue:
        yield search.advance()


class _Search:
    def __init__(self, searcher: Any, scheduler: Any, train: Train, num_trials: int | None) -> None:
        self._searcher = searcher
        self._scheduler = scheduler
        self._train = train
        self._num_left = num_trials
        self._num_suggested = 0
        self._num_steps = 0
        self._idle: list[int] = []
        self.queue: list[tuple[float, int, _Running]] = []

    def fill(self, now: float, workers: list[int]) -> None:
        """Gives work to these workers and those idle, as long as the searcher has some."""
        self._idle = sorted([*self._idle, *workers])
        while self._idle and self._num_left != 0:
            trial_id = f"{self._num_suggested:05d}"
            config = self._searcher.suggest(trial_id)
            if config == FINISHED:
                self._num_left = 0
            if config is None or config == FINISHED:
                return
            self._num_suggested += 1
            if self._num_left is not None:
                self._num_left -= 1
            trial = SimpleNamespace(trial_id=trial_id, config=config, last_result={})
            self._scheduler.on_trial_add(None, trial)
            self._continue(now, trial, self._train(config), self._idle.pop(0))

    def advance(self) -> Event:
        """Lets the next report arrive, and what follows from it."""
        now, _, running = heapq.heappop(self.queue)
        trial, result = running.trial, dict(running.step.result)
        trial.last_result = result
        is_end = self._scheduler.on_trial_result(None, trial, result) == STOP
        if not is_end:
            self._searcher.on_trial_result(trial.trial_id, result)
            is_end = not self._continue(now, trial, running.rest, running.worker)
            if is_end:
                self._scheduler.on_trial_complete(None, trial, result)
        if is_end:
            self._searcher.on_trial_complete(trial.trial_id, result)
        self.fill(now, [running.worker] if is_end else [])
        return Event(
            time_s=now,
            worker=running.worker,
            trial_id=trial.trial_id,
            config=trial.config,
            result=result,
            is_end=is_end,
        )

    def _continue(self, now: float, trial: SimpleNamespace, steps: Iterator[Step], worker: int) -> bool:
        """Queues the trial's next report; False if there is none."""
        step = next(steps, None)
        if step is None:
            return False
        running = _Running(trial, step, steps, worker)
        heapq.heappush(self.queue, (now + step.seconds, self._num_steps, running))
        self._num_steps += 1
        return True
