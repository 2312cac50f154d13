"""The console of a run: a live panel in a terminal, plain lines elsewhere. It prints, and nothing else in search/."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import IO, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from model.metrics import Metric
from search.display.pipes import quiet
from search.display.progress import Progress
from search.study.record import TrialId, TrialRecord, TrialStatus
from search.study.retrain_record import RetrainRecord, retrain_title
from search.text import duration, score_text
from search.worker.step_counts import StepCount

REFRESH_INTERVAL_S = 0.5
LOG_INTERVAL_S = 180.0
"""Without a panel, where it stands is said after this time without another line."""


class Display:
    """Shows messages, trials and retrainings. May be called often; it redraws at most twice a second."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        console = Console(file=quiet(stream or sys.stdout), highlight=False, soft_wrap=True)
        if console.is_jupyter:  # where a live panel would wipe out all other lines
            console = Console(file=console.file, soft_wrap=True, force_jupyter=False, force_terminal=False)
        self._console = console
        self._live: Live | None = None
        self._progress: Progress | None = None
        self._last_drawn = 0.0
        self._last_said = time.monotonic()
        self._is_stopping = False
        self._steering: str | None = None

    def message(self, text: str) -> None:
        """Prints one line."""
        self._print(Text(text))

    def warning(self, text: str) -> None:
        """Prints one line that stands out."""
        self._print(Text(f"WARNING: {text}", style="bold yellow"))

    def stopping(self) -> None:
        """Says once that the run was asked to stop."""
        if not self._is_stopping:
            self._is_stopping = True
            self.message(
                "stopping: ending the trials, then writing tables and page. Every finished epoch is in the record. "
                "Press Ctrl-C again to end at once, without tables and page; the record is kept then, too."
            )

    def start_trials(self, progress: Progress) -> None:
        """Shows trials, or retrainings, from here to `end_trials`."""
        self._progress = progress
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def end_trials(self) -> None:
        """Replaces the live panel by plain lines."""
        if self._live is not None:
            self._live.stop()
        self._live = self._progress = None

    def tick(self) -> None:
        """Redraws the panel, or says where the trials stand, if that is due."""
        now = time.monotonic()
        if self._progress is None:
            return
        if self._live is None:
            if now - self._last_said >= LOG_INTERVAL_S:
                self.message("; ".join(filter(None, (self._steering, _headline(self._progress)))))
        elif now - self._last_drawn >= REFRESH_INTERVAL_S:
            self._last_drawn = now
            self._live.update(_panel(self._progress, self._steering), refresh=True)

    def step(self, trial: TrialId, count: StepCount) -> None:
        """A trial or retraining has come so far within an epoch."""
        if self._progress is not None:
            self._progress.steps[trial] = count

    def report(self, trial: TrialId, metrics: Mapping[str, Any]) -> None:
        """A trial or retraining finished an epoch."""
        if self._progress is not None:
            self._progress.report(trial, metrics)
            self.tick()

    def end(self, record: TrialRecord) -> None:
        """A trial ended or paused."""
        if self._progress is not None:
            self._progress.end(record)
            self._say_end(_ending(record, self._progress), self._progress)

    def end_retraining(self, record: RetrainRecord) -> None:
        """A retraining has trained to its end, or diverged."""
        if self._progress is not None:
            self._progress.end_retraining(record)
            self._say_end(_retrain_ending(record, self._progress.metric), self._progress)

    def wait(self, trial: TrialId) -> None:
        """A retraining has left its worker and goes on later."""
        if self._progress is not None:
            self._progress.wait(trial)

    def expect(self, num_trials: int, expected_epochs: float, deadline: float | None = None) -> None:
        """Corrects how many trials or retrainings and epochs there are in all."""
        if self._progress is not None:
            self._progress.num_trials = num_trials
            self._progress.expected_epochs = expected_epochs
            self._progress.deadline = float("inf") if deadline is None else deadline

    def steer(self, words: str | None, num_workers: int) -> None:
        """What people asked for is shown until they ask for something else. `num_workers`: how many may train now."""
        self._steering = words
        if self._progress is not None:
            self._progress.employ(num_workers)
        self._last_drawn = 0.0
        self.tick()

    def _say_end(self, text: str, progress: Progress) -> None:
        self.message(f"[{_counter(progress)}] {text}{_time_left(progress)}")
        self.tick()

    def _print(self, text: Text) -> None:
        self._console.print(text)
        self._last_said = time.monotonic()


def _counter(progress: Progress) -> str:
    """Trials by state, and epochs done of epochs expected."""
    counts, done = progress.counts, progress.epochs_done
    return (
        f"{counts.started}/{progress.num_trials} started, {counts.running} running, {counts.paused} paused, "
        f"{counts.finished} finished; {done:.0f} of about {done + progress.epochs_left:.0f} epochs"
    )


def _time_left(progress: Progress) -> str:
    left = progress.seconds_left()
    return "" if left is None else f", about {duration(left)} of {progress.stage} left"


def _ending(record: TrialRecord, progress: Progress) -> str:
    metric = progress.metric
    text = f"trial {record.number} {_end_and_place(record, progress)}"
    if record.last_score is not None:
        text += f", validation {metric.title} {score_text(metric, record.last_score, record.last_accuracy)}"
    if record.status is TrialStatus.STOPPED and record.rungs:
        stop = record.rungs[-1]
        is_tie = stop.score == stop.cutoff  # with promotion, of equal scores the earlier trial goes on
        text += f", {'at' if is_tie else 'worse than'} the cutoff {score_text(metric, stop.cutoff)}"
    return f"{text}: {record.error}" if record.error else text


def _retrain_ending(record: RetrainRecord, metric: Metric) -> str:
    text = f"{retrain_title(record.key)} trained for {record.epochs_trained} epochs"
    if record.error:
        return f"{text}: {record.error}"
    if record.val_score is not None:
        return f"{text}, validation {metric.title} {score_text(metric, record.val_score, record.val_accuracy)}"
    return f"{text}, train loss {record.train_losses[-1]:.3f}"


def _end_and_place(record: TrialRecord, progress: Progress) -> str:
    """Such as "paused at rung 1 (epoch 3)"."""
    status = "paused" if record.status is TrialStatus.RUNNING else str(record.status)
    rungs = sorted(progress.rung_epochs)
    if record.epochs_trained in rungs and status in ("paused", "stopped"):
        return f"{status} at rung {rungs.index(record.epochs_trained) + 1} (epoch {record.epochs_trained})"
    return f"{status} after epoch {record.epochs_trained}"


def _panel(progress: Progress, steering: str | None) -> Group:
    table, metric = Table(box=None, pad_edge=False), progress.metric
    for heading in ("trial", "epochs done", "of the next", f"val {metric.title}", "images/s"):
        table.add_column(heading, justify="right")
    for trial, done in progress.underway.items():
        metrics = progress.running.get(trial, {})
        speed = metrics.get("images_per_s")
        table.add_row(
            str(trial) if isinstance(trial, int) else retrain_title(trial),
            f"{int(done)}/{metrics.get('training_epochs', progress.max_epochs)}",
            f"{100 * (done - int(done)):.0f} %",
            score_text(metric, metrics.get("val_score"), metrics.get("val_accuracy")),
            "-" if speed is None else f"{speed:,.0f}",
        )
    headline = f"{_headline(progress)}. Ctrl-C stops and keeps everything."
    return Group(*([Text(steering, style="bold yellow")] if steering else []), Text(headline), table)


def _headline(progress: Progress) -> str:
    """Where all trials stand."""
    best, metric = "none yet", progress.metric
    if progress.best is not None:
        score, trial, epoch = progress.best
        name = f"trial {trial}" if isinstance(trial, int) else retrain_title(trial)
        notes = "; ".join(filter(None, (f"{name}, epoch {epoch}", progress.floor_note)))
        best = f"{score_text(metric, score)} ({notes})"
    ends = ", ".join(f"{count} {status}" for status, count in sorted(progress.finished.items()))
    speed = f", {progress.images_per_s:,.0f} images/s" if progress.images_per_s else ""  # known after an epoch
    return (
        f"{_counter(progress)}{f' ({ends})' if ends else ''}; best validation {metric.title} {best}"
        f"{speed}{_time_left(progress)}"
    )
