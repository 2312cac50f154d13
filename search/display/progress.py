"""What a running search looks like at one moment, kept up to date report by report; pure."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from search.study.record import TrialRecord, TrialStatus
from search.text import duration
from search.worker.step_counts import StepCount


@dataclass
class Progress:
    """Counts, the running trials, the best so far, and how long the rest may take."""

    num_trials: int
    max_epochs: int
    rung_epochs: Collection[int] = ()
    """Epochs after which a trial may be stopped."""
    reduction_factor: int = 3
    num_workers: int = 1
    num_finalists: int = 0
    """Full-length trials that the search ends with at the least; those that wait and came furthest are sent on."""
    deadline: float = float("inf")
    """Moment (monotonic) after which no trial runs."""
    running: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """Newest metrics of each running trial, by number."""
    steps: Mapping[int, StepCount] = field(default_factory=dict)
    """Where the trials are within their epochs, by number; those that ended may be among them."""
    ended: Counter[TrialStatus] = field(default_factory=Counter)
    waiting: dict[int, int] = field(default_factory=dict)
    """Epochs trained of each trial that waits at a rung, by number."""
    num_epochs: int = 0
    """Epochs trained since `started`."""
    started: float | None = None
    """When the first of these epochs began (monotonic)."""
    best: tuple[float, int, int] | None = None
    """Highest validation accuracy (fraction), its trial and its epoch."""
    _ended_numbers: set[int] = field(default_factory=set)
    _num_passed: int = 0
    """Times that a trial that has ended went on past a rung."""
    _num_stopped: int = 0

    def report(self, number: int, metrics: Mapping[str, Any], now: float | None = None) -> None:
        """A trial finished an epoch."""
        if self.started is None:
            self.started = _moment(now) - metrics["seconds"]
        self.running[number] = metrics
        self.waiting.pop(number, None)
        self._ended_numbers.discard(number)
        self.num_epochs += 1
        self._consider(metrics["val_accuracy"], number, metrics["epoch"])

    def end(self, record: TrialRecord) -> None:
        """A trial ended, now or before the run was resumed; one that is still RUNNING only waits."""
        self.running.pop(record.number, None)
        self.waiting.pop(record.number, None)
        self._ended_numbers.add(record.number)
        for epoch, accuracy in record.val_accuracies.items():
            self._consider(accuracy, record.number, epoch)
        if record.status is not TrialStatus.RUNNING:
            self.ended[record.status] += 1
            self._num_stopped += record.status is TrialStatus.STOPPED
            self._num_passed += sum(not decision.is_stopped for decision in record.rungs)
        else:
            self.waiting[record.number] = record.epochs_trained

    def _consider(self, accuracy: float, number: int, epoch: int) -> None:
        if self.best is None or accuracy > self.best[0]:
            self.best = (accuracy, number, epoch)

    @property
    def num_ended(self) -> int:
        return self.ended.total()

    @property
    def images_per_s(self) -> float:
        """Of all running trials together."""
        return float(sum(metrics["images_per_s"] for metrics in self.running.values()))

    @property
    def underway(self) -> dict[int, float]:
        """Epochs done of each running trial, the one in training as a fraction, by number."""
        done = {number: float(metrics["epoch"]) for number, metrics in self.running.items()}
        for number, count in self.steps.items():
            if number not in self._ended_numbers and count.epoch > done.get(number, 0.0):
                done[number] = count.epoch - 1 + count.fraction
        return dict(sorted(done.items()))

    def seconds_left(self, now: float | None = None) -> float | None:
        """Of the search, at the pace so far; None before there are as many epochs as workers.

        A trial is expected to go on past a rung as often as trials did so far, and at first as often as the reduction
        factor says; one that waits at a rung counts as stopped there. The last trials may leave workers idle: none ends
        sooner than its own epochs take.
        """
        underway = self.underway
        num_epochs = self.num_epochs + sum(done - int(done) for done in underway.values())
        if self.started is None or self.num_epochs < self.num_workers:
            return None
        moment = _moment(now)
        worker_s_per_epoch = (moment - self.started) * self.num_workers / num_epochs
        waiting = max(0, self.num_trials - self.num_ended - len(self.waiting) - len(underway))
        rest = [self._expected_end(done) - done for done in underway.values()] + self._epochs_of_finalists(underway)
        epochs_left = sum(rest) + waiting * self._expected_end(0.0)
        epochs_one_after_another = max(epochs_left / self.num_workers, max(rest, default=0.0))
        return max(0.0, min(epochs_one_after_another * worker_s_per_epoch, self.deadline - moment))

    def _epochs_of_finalists(self, underway: Mapping[int, float]) -> list[float]:
        """What each full-length trial takes that the search still lacks; those past the last rung will be some."""
        num_sure = sum(done > max(self.rung_epochs, default=0) for done in underway.values())
        missing = max(0, min(self.num_finalists, self.num_trials) - self.ended[TrialStatus.COMPLETED] - num_sure)
        furthest = sorted(self.waiting.values(), reverse=True)[:missing]
        others = [self._expected_end(0.0)] * (missing - len(furthest))
        return [self.max_epochs - done for done in (*furthest, *others)]

    def _expected_end(self, done: float) -> float:
        """Epochs that a trial will have trained in the end, of which it has done so many."""
        num_passed = self._num_passed + sum(
            rung < epoch
            for epoch in (*(metrics["epoch"] for metrics in self.running.values()), *self.waiting.values())
            for rung in self.rung_epochs
        )
        # The reduction factor counts as so many decisions that were seen before.
        pass_rate = (num_passed + 1) / (num_passed + self._num_stopped + len(self.waiting) + self.reduction_factor)
        ahead = sorted(epoch for epoch in (*self.rung_epochs, self.max_epochs) if epoch > done)
        expected, reached, chance = done, done, 1.0
        for epoch in ahead:
            expected += chance * (epoch - reached)
            reached = epoch
            chance *= pass_rate
        return expected


@dataclass
class Forecasts:
    """What was said about the end of the search while it ran, to be held against it."""

    said: list[tuple[float, float]] = field(default_factory=list)
    """Moment (monotonic) and seconds left as they were told then."""

    def note(self, seconds_left: float | None, now: float | None = None) -> None:
        """Remembers what was told; None was not told."""
        if seconds_left is not None:
            self.said.append((_moment(now), seconds_left))

    def review(self, started: float | None, now: float | None = None) -> str | None:
        """How far off the first forecast and the one at half time were; None if nothing was said."""
        if started is None or not self.said:
            return None
        end = _moment(now)
        half = started + (end - started) / 2
        first, middle = self.said[0], [said for said in self.said if said[0] <= half][-1:]
        text = f"the search took {duration(end - started)}; {_off(first, end)} by the first forecast"
        if middle:
            text += f", {_off(middle[0], end)} by the one at half time"
        return text


def _off(said: tuple[float, float], end: float) -> str:
    """How far off what was said at a moment turned out to be."""
    error = end - (said[0] + said[1])
    return f"{duration(abs(error))} {'longer' if error >= 0 else 'shorter'} than foreseen"


def _moment(now: float | None) -> float:
    return time.monotonic() if now is None else now
