"""The state of a running search, or of the retrainings after it, kept up to date report by report; pure."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from model.metrics import METRICS, Metric
from search.study.record import TrialId, TrialRecord, TrialStatus
from search.study.retrain_record import RetrainRecord
from search.worker.step_counts import StepCount


class Counts(NamedTuple):
    """Trials by state; rejected configs do not count."""

    started: int
    running: int
    paused: int
    finished: int
    """Completed, stopped, failed or diverged."""


@dataclass
class Progress:
    """Counts, running trials, the best score so far, and the time left."""

    num_trials: int
    max_epochs: int
    expected_epochs: float
    """Epochs that the whole search is expected to train."""
    stage: str = "search"
    """What all this is, for the console."""
    rung_epochs: Collection[int] = ()
    num_workers: int = 1
    num_finalists: int = 0
    """Full-length trials that the search ends with, at least."""
    metric: Metric = METRICS["accuracy"]
    floor_note: str = ""
    """What guesses score on the validation images."""
    deadline: float = float("inf")
    """When no trial may run any longer, by time.monotonic()."""
    running: dict[TrialId, Mapping[str, Any]] = field(default_factory=dict)
    """Latest metrics of each running trial that has finished an epoch."""
    steps: dict[TrialId, StepCount] = field(default_factory=dict)
    """Progress within the epoch; may include trials that have ended."""
    finished: Counter[TrialStatus] = field(default_factory=Counter)
    paused: dict[TrialId, int] = field(default_factory=dict)
    """Epochs of the last training of each trial that has paused and not reported since."""
    epochs: dict[TrialId, int] = field(default_factory=dict)
    """Epochs of every trial's latest training."""
    earlier: Counter[TrialId] = field(default_factory=Counter)
    """Epochs of the trainings before it."""
    num_new_epochs: int = 0
    """Epochs trained in this call."""
    started: float | None = None
    """When the first of these began, or `num_workers` changed since, by time.monotonic()."""
    worker_s: float = 0.0
    """Seconds until `started`, summed over workers."""
    best: tuple[float, TrialId, int] | None = None
    """Best score, its trial and its epoch."""

    def resume(self, records: Iterable[TrialRecord]) -> None:
        """Takes in the trials of an earlier call. An unfinished trial that stands at a rung counts as paused."""
        for record in records:
            if record.status is TrialStatus.INTERRUPTED:
                self._note_scores(record)
                if record.epochs_trained in self.rung_epochs:
                    self.paused[record.number] = record.epochs_trained
            elif record.status is not TrialStatus.REJECTED:
                self.end(record)

    def report(self, trial: TrialId, metrics: Mapping[str, Any], now: float | None = None) -> None:
        """A trial or retraining finished an epoch."""
        if self.started is None:
            self.started = _now(now) - metrics["seconds"]
        self.running[trial] = metrics
        if (paused_at := self.paused.pop(trial, 0)) >= metrics["epoch"]:
            self.earlier[trial] += paused_at  # it began anew
        self.epochs[trial] = metrics["epoch"]
        self.num_new_epochs += 1
        if metrics["val_score"] is not None:
            self._consider(metrics["val_score"], trial, metrics["epoch"])

    def end(self, record: TrialRecord) -> None:
        """A trial ended; one that is still RUNNING in the record has paused."""
        self._leave(record.number)
        self.paused.pop(record.number, None)
        self._note_scores(record)
        if record.status is TrialStatus.RUNNING:
            self.paused[record.number] = record.epochs_trained
        else:
            self.finished[record.status] += 1

    def wait(self, trial: TrialId) -> None:
        """A retraining has left its worker and goes on later."""
        self._leave(trial)
        self.paused[trial] = self.epochs.get(trial, 0)

    def employ(self, num_workers: int, now: float | None = None) -> None:
        """Sets how many trials train side by side; none while the run is paused."""
        moment = _now(now)
        if self.started is not None:
            self.worker_s += (moment - self.started) * self.num_workers
            self.started = moment
        self.num_workers = num_workers

    def end_retraining(self, record: RetrainRecord) -> None:
        """A retraining ended, now or in an earlier call."""
        self._leave(record.key)
        self.paused.pop(record.key, None)
        self.epochs[record.key] = record.epochs_trained
        self.finished[TrialStatus.DIVERGED if record.error else TrialStatus.COMPLETED] += 1

    @property
    def counts(self) -> Counts:
        """The trials by state."""
        underway, finished = self.underway, self.finished.total()
        running, paused = len(underway), len(self.paused.keys() - underway.keys())
        return Counts(running + paused + finished, running, paused, finished)

    @property
    def images_per_s(self) -> float:
        """Training speed of all running trials together."""
        return float(sum(metrics["images_per_s"] for metrics in self.running.values()))

    @property
    def underway(self) -> dict[TrialId, float]:
        """Epochs done of each running trial's training, with the fraction of the current one."""
        done = {trial: float(metrics["epoch"]) for trial, metrics in self.running.items()}
        for trial, count in self.steps.items():
            has_begun_anew = count.epoch < self.paused.get(trial, 0)
            if has_begun_anew or count.epoch > self.epochs.get(trial, 0):
                done[trial] = max(0, count.epoch - 1) + count.fraction
        return dict(sorted(done.items(), key=lambda item: str(item[0]).zfill(6)))

    @property
    def epochs_done(self) -> float:
        """Epochs of all trials together, with fractions of the current ones."""
        anew = self.paused.keys() & self.underway.keys()
        return (
            sum({**self.epochs, **self.underway}.values())
            + self.earlier.total()
            + sum(self.paused[trial] for trial in anew)
        )

    @property
    def epochs_left(self) -> float:
        """Epochs that the search still trains: what was expected, but at least what is certain by now."""
        return max(self.expected_epochs - self.epochs_done, self._certain_epochs())

    def seconds_left(self, now: float | None = None) -> float | None:
        """Seconds until the search ends, at the pace so far.

        None before each worker has finished an epoch, and while the run is paused.
        """
        if self.started is None or self.num_new_epochs < self.num_workers or self.num_workers == 0:
            return None
        moment = _now(now)
        partial = sum(done - int(done) for done in self.underway.values())
        worker_s = self.worker_s + (moment - self.started) * self.num_workers
        worker_s_per_epoch = worker_s / (self.num_new_epochs + partial)
        # The longest running trial may be the last one, with all other workers idle.
        longest = max((self._to_next_stop(trial, done) for trial, done in self.underway.items()), default=0.0)
        rounds = max(self.epochs_left / self.num_workers, longest)
        # What runs goes on after the deadline and, with finalists, one trial trains to the end.
        least = longest + (self.max_epochs if self._num_missing_finalists(most=1) else 0)
        return max(0.0, min(rounds * worker_s_per_epoch, max(self.deadline - moment, least * worker_s_per_epoch)))

    def _certain_epochs(self) -> float:
        """Epochs to the next rung of running and new trials, and to the end of the finalists that are missing."""
        underway = self.underway
        first_stop = min((*self.rung_epochs, self.max_epochs))
        num_new = max(0, self.num_trials - self.counts.started)
        to_next_stop = sum(self._to_next_stop(trial, done) for trial, done in underway.items())
        num_missing = self._num_missing_finalists(most=self.num_trials)
        return num_new * first_stop + to_next_stop + num_missing * self.max_epochs

    def _num_missing_finalists(self, *, most: int) -> int:
        """Full-length trials that have not begun, if the search ends with at most so many."""
        to_end = sum(done + self._to_next_stop(trial, done) >= self.max_epochs for trial, done in self.underway.items())
        return max(0, min(self.num_finalists, most) - self.finished[TrialStatus.COMPLETED] - to_end)

    def _to_next_stop(self, trial: TrialId, done: float) -> float:
        """Epochs from here to the end of the trial's training."""
        stops = (*self.rung_epochs, self.max_epochs)
        next_stop = min((epoch for epoch in stops if epoch > done), default=self.max_epochs)
        stop: int = self.running.get(trial, {}).get("training_epochs", next_stop)
        return max(0.0, stop - done)

    def _leave(self, trial: TrialId) -> None:
        """A trial is in no worker any more."""
        self.running.pop(trial, None)
        self.steps.pop(trial, None)

    def _note_scores(self, record: TrialRecord) -> None:
        self.epochs[record.number] = record.epochs_trained
        self.earlier[record.number] = record.epochs_spent - record.epochs_trained
        for epoch, score in record.scores.items():
            self._consider(score, record.number, epoch)

    def _consider(self, score: float, trial: TrialId, epoch: int) -> None:
        if self.best is None or score > self.best[0]:
            self.best = (score, trial, epoch)


def _now(now: float | None) -> float:
    return time.monotonic() if now is None else now
