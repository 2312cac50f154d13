"""What a person sees while a run goes on: a live panel in a terminal, plain lines elsewhere. The room that prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from search.display.progress import Forecasts, Progress
from search.study.record import TrialRecord, TrialStatus
from search.text import duration, percent
from search.worker.step_counts import StepCounts

if TYPE_CHECKING:
    from search.report.comparison import Comparison, Section

REFRESH_INTERVAL_S = 0.5


class Display:
    """Shows messages, warnings, trials and retrainings. Safe to call often; redraws at most twice a second."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._console = Console(file=stream or sys.stdout, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._progress: Progress | None = None
        self._steps: StepCounts | None = None
        self._forecasts = Forecasts()
        self._last_drawn = 0.0
        self._is_stopping = False

    def message(self, text: str) -> None:
        """One line of information."""
        self._console.print(Text(text))

    def warning(self, text: str) -> None:
        """One loud line."""
        self._console.print(Text(f"WARNING: {text}", style="bold yellow"))

    def comparison(self, comparison: Comparison) -> None:
        """Two runs side by side."""
        self.message(comparison.verdict)
        for section in comparison.sections:
            self.message(f"\n{section.title}")
            if section.rows:
                self._console.print(_section_table(section, comparison.names))
            if section.same:
                self.message(f"  {section.same} more are the same in both" if section.rows else "  no difference")

    def stopping(self) -> None:
        """The run was asked to stop; said once."""
        if not self._is_stopping:
            self._is_stopping = True
            self.message(
                "stopping: the trials are ended, then tables and page are written. Every epoch that a trial finished "
                "is in the record. Ctrl-C again ends at once, without tables; the record is kept then, too."
            )

    def start_trials(self, progress: Progress) -> None:
        """From here to `end_trials` trials run."""
        self._progress, self._forecasts = progress, Forecasts()
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def end_trials(self) -> None:
        """The live panel gives way to plain lines."""
        if self._live is not None:
            self._live.stop()
        self._live = self._progress = self._steps = None

    def review(self) -> None:
        """All trials have ended: how far off the time that was left turned out to be."""
        text = None if self._progress is None else self._forecasts.review(self._progress.started)
        if text is not None:
            self.message(text)

    def watch(self, steps: StepCounts | None) -> None:
        """From here on the trials' steps can be read there."""
        self._steps = steps

    def tick(self) -> None:
        """Time went by: trials are further within their epochs."""
        self._draw()

    def report(self, number: int, metrics: Mapping[str, Any]) -> None:
        """A trial finished an epoch."""
        if self._progress is not None:
            self._progress.report(number, metrics)
            self._read_steps(self._progress)
            self._forecasts.note(self._progress.seconds_left())
            self._draw()

    def end(self, record: TrialRecord) -> None:
        """A trial ended, or waits at a rung."""
        if self._progress is not None:
            self._progress.end(record)
            self.message(_ending(record, self._progress))
            self._draw()

    def retrain_epoch(self, name: str, epoch: int, max_epochs: int, train_loss: float, images_per_s: float) -> None:
        """A retraining finished an epoch."""
        self.message(
            f"retrain {name}: epoch {epoch}/{max_epochs}, train loss {train_loss:.3f}, {images_per_s:,.0f} images/s"
        )

    def _draw(self) -> None:
        now = time.monotonic()
        if self._live is not None and self._progress is not None and now - self._last_drawn >= REFRESH_INTERVAL_S:
            self._last_drawn = now
            self._read_steps(self._progress)
            self._live.update(_panel(self._progress), refresh=True)

    def _read_steps(self, progress: Progress) -> None:
        if self._steps is not None:
            progress.steps = self._steps.read()


def _ending(record: TrialRecord, progress: Progress) -> str:
    score = record.val_accuracies.get(record.epochs_trained)
    status = "waits" if record.status is TrialStatus.RUNNING else record.status
    text = f"trial {record.number} {status} after {record.epochs_trained} epochs"
    if score is not None:
        text += f", validation accuracy {percent(score)}"
    if record.status is TrialStatus.STOPPED and record.rungs:
        stop = record.rungs[-1]
        is_tie = stop.score == stop.cutoff  # by promotion, of equal scores the one that started first goes on
        text += f" {'at' if is_tie else 'below'} the cutoff {percent(stop.cutoff)}"
    if record.error:
        text += f": {record.error}"
    left = progress.seconds_left()
    tail = "" if left is None else f", about {duration(left)} of search left"
    return f"[{progress.num_ended}/{progress.num_trials}] {text}{tail}"


def _section_table(section: Section, names: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for heading in ("", *names):
        table.add_column(Text(heading), overflow="fold")
    for row in section.rows:
        table.add_row(Text(row.name), *(Text(value, style="bold" if row.differs else "") for value in row.values))
    return table


def _panel(progress: Progress) -> Group:
    table = Table(box=None, pad_edge=False)
    for heading in ("trial", "epochs done", "of the next", "val accuracy", "images/s"):
        table.add_column(heading, justify="right")
    for number, done in progress.underway.items():
        metrics = progress.running.get(number, {})
        speed = metrics.get("images_per_s")
        table.add_row(
            str(number),
            f"{int(done)}/{progress.max_epochs}",
            f"{100 * (done - int(done)):.0f} %",
            percent(metrics.get("val_accuracy")),
            "-" if speed is None else f"{speed:,.0f}",
        )
    best = "none yet"
    if progress.best is not None:
        accuracy, best_trial, best_epoch = progress.best
        best = f"{percent(accuracy)} (trial {best_trial}, epoch {best_epoch})"
    counts = ", ".join(f"{count} {status}" for status, count in sorted(progress.ended.items())) or "none ended"
    headline = (
        f"{progress.num_ended}/{progress.num_trials} trials ({counts}), {progress.num_epochs} epochs, "
        f"best validation accuracy {best}, {progress.images_per_s:,.0f} images/s, "
        f"{duration(progress.seconds_left())} of search left. Ctrl-C stops and keeps everything."
    )
    return Group(Text(headline), table)
