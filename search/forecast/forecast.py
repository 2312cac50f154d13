"""The forecast of a run: what it was measured to cost here, played through many times."""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import numpy as np

from search.forecast.calibration import Calibration, epoch_images
from search.forecast.rehearsal import Curves, Rehearsal, Steer, rehearse
from search.machine.slots import Slots
from search.setup.disk_space import run_bytes
from search.study.record import NewTrial

INTERVAL = 0.9
"""Share of the played runs that lie within a forecast's low and high."""
NUM_REHEARSALS, MIN_REHEARSALS = 40, 5
FIRST_PROPOSED = 8
"""Trials whose configs are taken as proposed; for later ones, which depend on scores, any of the proposed stands."""
START_S = 12.0
"""Ray's start, and its workers' until their first step; `Work.start_s` unless told otherwise."""
WORKER_BYTES, BYTES_PER_NUMBER = 750_000_000, 8.0
"""Of a worker on a CPU: with torch loaded, and for each number that training holds. In fp32, eight configs of the
default space took 6 to 9 a number, 4 of them for the number itself."""
SPREAD = 0.4
"""Of Ray's start and of how busy the machine will be, as standard deviations of logarithms."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """A number that is not known yet: the median of the played runs, and where 90 % of them lie."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Range:
        low, high = np.quantile(values, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
        return cls(median=float(np.median(values)), low=float(low), high=float(high))


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run is expected to take. Seconds are by the clock; trials and epochs are those of the search."""

    num_concurrent: int
    cpus_per_trial: int
    gpus: int
    endings: Mapping[str, float]
    """Expected number of trials by how they end; that some fail or diverge is not foreseen."""
    epochs: Range
    retrain_epochs: float
    """All retrainings, in epochs of a trial."""
    search_s: Range
    retrain_s: Range
    wall_s: Range
    """Of preparations, Ray's start, search and retrainings."""
    device_s: Range
    """Seconds of all GPUs together, or of all CPU cores where there is none in use."""
    disk_bytes: int
    memory_bytes: int
    """Of all trials side by side."""
    slowdown: float
    """How many times as long everything is expected to take because this machine has other things to do."""
    num_measured: int
    """Configs."""
    num_rehearsals: int

    def table(self) -> dict[str, Any]:
        """For run.toml."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be done, in numbers."""

    num_trials: int
    max_epochs: int
    slots: Slots
    num_cpus: int
    """Cores that a retraining uses."""
    num_train: int
    """Training images of a trial."""
    proposals: Sequence[NewTrial]
    """Of the run's searcher before any score."""
    memory_need: int
    """Numbers that training the hungriest of them holds; see `Preparation.memory_need`."""
    retrained: Sequence[NewTrial]
    """Retrained besides the winner."""
    num_finalists: int
    """The best trials that are retrained to choose the winner; 0 without finals."""
    retrain_epochs: float
    """All retrainings, in epochs of a trial."""
    preparation_s: float = 0.0
    """What the run takes before its first trial, but for Ray's start."""
    start_s: float = START_S


def make_forecast(
    work: Work, calibration: Calibration, steer: Steer, *, enough: float, deadline: float = math.inf
) -> Forecast:
    """Plays the run a few times, then until `enough`, and sums up; both moments by time.monotonic().

    No play goes on after `deadline`; TimeoutError if the first would have to.
    Not foreseen: that trials fail or diverge, and that the sampler prefers configs that are slower or faster.
    """
    played = [_play(work, calibration, steer, seed=0, deadline=deadline)]
    with contextlib.suppress(TimeoutError):
        while len(played) < MIN_REHEARSALS or (len(played) < NUM_REHEARSALS and time.monotonic() < enough):
            played.append(_play(work, calibration, steer, seed=len(played), deadline=deadline))
    rehearsals = [run.rehearsal for run in played]
    epochs = Range.of([rehearsal.epochs for rehearsal in rehearsals])
    slots = work.slots
    return Forecast(
        num_concurrent=slots.num_concurrent,
        cpus_per_trial=slots.cpus_per_trial,
        gpus=slots.gpus,
        endings=_mean_endings(rehearsals),
        epochs=epochs,
        retrain_epochs=work.retrain_epochs,
        search_s=Range.of([run.search_s for run in played]),
        retrain_s=Range.of([run.retrain_s for run in played]),
        wall_s=Range.of([work.preparation_s + run.start_s + run.search_s + run.retrain_s for run in played]),
        device_s=Range.of([_device_s(work, run.search_s, run.retrain_s) for run in played]),
        disk_bytes=run_bytes(
            num_unfinished=max(rehearsal.most_unfinished for rehearsal in rehearsals),
            num_params=max(int(trial.profile["num_params"]) for trial in work.proposals),
            epochs=epochs.high,
        ),
        memory_bytes=round(slots.num_concurrent * _trial_bytes(work, calibration)),
        slowdown=calibration.slowdown,
        num_measured=len(calibration.speeds),
        num_rehearsals=len(played),
    )


def _trial_bytes(work: Work, calibration: Calibration) -> float:
    """Of the hungriest trial. On a CPU too few images were trained on at a time to see it."""
    if work.slots.gpus:
        return calibration.memory_bytes
    return WORKER_BYTES + BYTES_PER_NUMBER * work.memory_need


def _mean_endings(rehearsals: Sequence[Rehearsal]) -> dict[str, float]:
    statuses = {status for rehearsal in rehearsals for status in rehearsal.endings}
    return {
        status.value: float(np.mean([rehearsal.endings.get(status, 0) for rehearsal in rehearsals]))
        for status in sorted(statuses)
    }


def _device_s(work: Work, search_s: float, retrain_s: float) -> float:
    """Of all GPUs, else of all cores; a retraining has one GPU or all cores."""
    slots = work.slots
    if slots.gpus:
        return slots.gpus * search_s + retrain_s
    return slots.num_concurrent * slots.cpus_per_trial * search_s + work.num_cpus * retrain_s


@dataclass(frozen=True, kw_only=True)
class _Played:
    """One played run; seconds by the clock."""

    rehearsal: Rehearsal
    start_s: float
    search_s: float
    retrain_s: float


def _play(work: Work, calibration: Calibration, steer: Steer, *, seed: int, deadline: float) -> _Played:
    """Chance moves the speed of each config that was not measured about the line, that of all of them together by as
    much as so few measured ones leave open, and how busy the machine will be.
    """
    chance = random.Random(seed)
    later = [chance.choice(work.proposals) for _ in range(work.num_trials - FIRST_PROPOSED)]
    trials = [*work.proposals[:FIRST_PROPOSED], *later][: work.num_trials]
    trials += [chance.choice(work.proposals) for _ in range(work.num_trials - len(trials))]
    factors = calibration.factors
    all_differ = mean(chance.choices(factors, k=len(calibration.speeds))) / mean(factors)
    slowdown: float = calibration.slowdown ** chance.lognormvariate(0.0, SPREAD)

    def epoch_s(trial: NewTrial) -> float:
        image_s: float = calibration.image_s(trial.config, int(trial.profile["multiply_adds"]))
        is_measured = calibration.is_measured(trial.config)
        differs = 1.0 if is_measured else all_differ * chance.choice(factors)
        return epoch_images(trial.config, work.num_train) * image_s * differs * slowdown

    seconds = [epoch_s(trial) for trial in trials]
    rehearsal = rehearse(
        steer,
        trials,
        Curves(work.max_epochs, seed=seed),
        seconds.__getitem__,
        num_workers=work.slots.num_concurrent,
        deadline=deadline,
    )
    best = rehearsal.ranking
    retrained_s = [seconds[number] for number in [*best[: work.num_finalists], best[0]]]
    retrained_s += map(epoch_s, work.retrained)
    return _Played(
        rehearsal=rehearsal,
        start_s=work.start_s * slowdown * chance.lognormvariate(0.0, SPREAD),
        search_s=rehearsal.search_s,
        retrain_s=work.retrain_epochs * mean(retrained_s) / calibration.alone,
    )
