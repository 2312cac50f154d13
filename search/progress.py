"""What a running search looks like at one moment, kept up to date report by report; pure."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search.study import TrialRecord, TrialStatus


@dataclass
class Progress:
    """Counts, the running trials, the best so far, and how long the rest may take."""

    num_trials: int
    max_epochs: int
    started: float = field(default_factory=time.monotonic)
    running: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """Newest metrics of each running trial, by number."""
    ended: Counter[TrialStatus] = field(default_factory=Counter)
    num_epochs: int = 0
    """Epochs trained since `started`."""
    best: tuple[float, int, int] | None = None
    """Highest validation accuracy (fraction), its trial and its epoch."""
    _ended_epochs: int = 0

    def report(self, number: int, metrics: Mapping[str, Any]) -> None:
        """A trial finished an epoch."""
        self.running[number] = metrics
        self.num_epochs += 1
        self._consider(metrics["val_accuracy"], number, metrics["epoch"])

    def end(self, record: TrialRecord) -> None:
        """A trial ended, now or before the run was resumed."""
        self.running.pop(record.number, None)
        for epoch, accuracy in record.val_accuracies.items():
            self._consider(accuracy, record.number, epoch)
        if record.status is not TrialStatus.RUNNING:
            self.ended[record.status] += 1
            self._ended_epochs += record.epochs_trained

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

    def seconds_left(self, now: float | None = None) -> float | None:
        """At the pace so far, if the trials to come last as long as those that ended; None before the first end."""
        if not self.num_ended or not self.num_epochs:
            return None
        elapsed = (time.monotonic() if now is None else now) - self.started
        epochs_a_trial = self._ended_epochs / self.num_ended
        waiting = max(0, self.num_trials - self.num_ended - len(self.running))
        # A running trial that outlived the average is expected to go to the end.
        underway: float = sum(
            (epochs_a_trial if metrics["epoch"] < epochs_a_trial else self.max_epochs) - metrics["epoch"]
            for metrics in self.running.values()
        )
        return float(elapsed / self.num_epochs * (waiting * epochs_a_trial + underway))


def percent(fraction: float | None) -> str:
    """A fraction as people read it: "83.1 %"."""
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def duration(seconds: float | None) -> str:
    """Seconds as people read them: "1 h 02 min", "3 min 20 s", "12 s"."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
