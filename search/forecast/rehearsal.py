"""A run played through in simulated time: the run's own searcher and trial scheduler over made-up learning curves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.forecast.simulation import Step, simulate
from search.study.ranking import rank_trials
from search.study.record import NewTrial, TrialStatus
from search.study.study import RunStudy

Steer = Callable[[RunStudy, Sequence[NewTrial], Callable[[], float]], tuple[Any, Any]]
"""(record, configs to try in turn, clock in seconds) -> the searcher and the trial scheduler of the run."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """How one played run went."""

    endings: Mapping[TrialStatus, int]
    epochs: int
    """Of all trials together."""
    search_s: float
    """From the first trial's start to the last one's end."""
    most_unfinished: int
    """Trials that had begun and not ended, at the moment when they were most: each keeps its checkpoints."""
    ranking: Sequence[int]
    """Numbers of the trials with a score, the best first."""


class Curves:
    """Validation accuracies as chance has them, for one played run.

    Only which trial is ahead at a rung matters to a scheduler. A trial is ahead by `early` at its start and by `late`
    at its end, both standard normal, and by a blend in between. How much the two agree (correlation 0.4 to 0.95) and
    how much the sampler learns (0 to 0.3 standard deviations for each doubling of the trials) is not known beforehand,
    so each played run draws it.
    """

    def __init__(self, max_epochs: int, *, seed: int) -> None:
        rng = np.random.default_rng([seed])
        self._seed = seed
        self._progress = np.arange(1, max_epochs + 1) / max_epochs
        self._agreement = rng.uniform(0.4, 0.95)
        self._learning = rng.uniform(0.0, 0.3)

    def accuracies(self, trial_number: int) -> list[float]:
        """Of every epoch, the same each time it is asked."""
        rng = np.random.default_rng([self._seed, trial_number])
        early, other = rng.standard_normal(2)
        late = self._agreement * early + np.sqrt(1 - self._agreement**2) * other
        ahead = (1 - self._progress) * early + self._progress * late + self._learning * np.log2(1 + trial_number)
        noise = 0.1 * rng.standard_normal(len(self._progress))
        return [float(value) for value in np.clip(0.3 + 0.3 * self._progress + 0.03 * (ahead + noise), 0.0, 1.0)]


def rehearse(
    steer: Steer,
    trials: Sequence[NewTrial],
    curves: Curves,
    epoch_s: Callable[[int], float],
    *,
    num_workers: int,
    deadline: float,
) -> Rehearsal:
    """Plays a run of `trials`. `epoch_s`: seconds of an epoch of a trial by its number.

    TimeoutError if `deadline`, by time.monotonic(), passes meanwhile.
    """
    study, clock = RunStudy.in_memory(), _Clock()
    searcher, scheduler = steer(study, trials, lambda: clock.now)

    def train(assignment: Mapping[str, Any]) -> Iterator[Step]:
        number = assignment["trial_number"]
        accuracies = curves.accuracies(number)[assignment["epochs_recorded"] :]
        return _steps(accuracies, assignment["epochs_recorded"], epoch_s(number), clock.now)

    unfinished: set[int] = set()
    most_unfinished = 0
    clocked = _Clocked(scheduler, clock)
    for event in simulate(searcher, clocked, train, num_workers=num_workers):
        if time.monotonic() > deadline:
            raise TimeoutError("there was no time left to simulate the run")
        number = event.config["trial_number"]
        unfinished.add(number)
        most_unfinished = max(most_unfinished, len(unfinished))
        if event.is_end and study.trial(number).status is not TrialStatus.RUNNING:
            unfinished.discard(number)
    records = study.trials()
    return Rehearsal(
        endings=Counter(record.status for record in records),
        epochs=sum(record.epochs_trained for record in records),
        search_s=clock.now,
        most_unfinished=most_unfinished,
        ranking=[record.number for record in rank_trials(records)],
    )


def _steps(accuracies: Sequence[float], epochs_done: int, epoch_s: float, start_s: float) -> Iterator[Step]:
    for index, accuracy in enumerate(accuracies, 1):
        result = {
            "epoch": epochs_done + index,
            "val_accuracy": accuracy,
            "seconds": epoch_s,
            "time_s": start_s + index * epoch_s,
        }
        yield Step(seconds=epoch_s, result=result)


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0


class _Clocked:
    """A trial scheduler that sets the clock to the moment of each report, so that a time budget sees the time pass."""

    def __init__(self, scheduler: Any, clock: _Clock) -> None:
        self._scheduler = scheduler
        self._clock = clock

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        self._scheduler.on_trial_add(controller, trial)

    def on_trial_result(self, controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        self._clock.now = result["time_s"]
        return str(self._scheduler.on_trial_result(controller, trial, result))

    def on_trial_complete(self, controller: Any, trial: Any, result: Mapping[str, Any]) -> None:
        self._scheduler.on_trial_complete(controller, trial, result)
