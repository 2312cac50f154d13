"""The runs in a folder, newest first: state, trials, best scores and age."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from search.analysis.results import Run
from search.errors import OtherFormatError, UserError
from search.setup.run_lock import is_locked
from search.study.record import TrialStatus
from search.text import duration, score_text

OTHER_FORMAT = "other format"
HEADINGS = ("run", "state", "trials", "metric", "best validation", "test", "started")


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One run as a row of text."""

    name: str
    state: str
    """running, finished (the winner was tested), unfinished, unreadable, or other format (of another version)."""
    started: datetime
    trials: str = "-"
    """Trials that ended, of those planned."""
    metric: str = "-"
    best: str = "-"
    """The winner's validation score, or the best so far."""
    test: str = "-"
    """The winner's mean test score, single view."""
    problem: str | None = None
    """Why the run is unreadable, in one line."""


def list_runs(results_dir: Path) -> list[ListedRun]:
    """The runs in a folder. UserError if there is no such folder."""
    if not results_dir.is_dir():
        raise UserError(f"{results_dir} is not a folder. Give the folder that holds the runs.")
    folders = [path for path in results_dir.iterdir() if (path / "run.toml").is_file()]
    return sorted(map(_listed, folders), key=lambda one: one.started, reverse=True)


def list_lines(runs: Sequence[ListedRun], *, now: datetime) -> Iterator[str]:
    """A table with a line for each run, then a line for each problem, and one for all runs of another version."""
    others = [one.name for one in runs if one.state == OTHER_FORMAT]
    shown = [one for one in runs if one.state != OTHER_FORMAT]
    rows = [HEADINGS]
    rows += [
        (one.name, one.state, one.trials, one.metric, one.best, one.test, _ago(now - one.started)) for one in shown
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    yield from (one.problem for one in shown if one.problem is not None)
    if others:
        yield f"not shown, in the format of another version: {', '.join(others)}"


def _listed(folder: Path) -> ListedRun:
    is_running = is_locked(folder)
    try:
        run = Run.load(folder)
        winner, test = run.finals.winner, run.result.winner
        return ListedRun(
            name=folder.name,
            state="running" if is_running else "unfinished" if test is None else "finished",
            started=datetime.fromisoformat(run.document.created),
            trials=f"{_num_ended(run)} of {run.settings.num_trials}",
            metric=run.metric.title,
            best=score_text(run.metric, None if winner is None else winner.record.last_score),
            test=score_text(run.metric, None if test is None else test.test.mean),
        )
    except UserError as error:
        return ListedRun(
            name=folder.name,
            state="running" if is_running else OTHER_FORMAT if isinstance(error, OtherFormatError) else "unreadable",
            started=datetime.fromtimestamp((folder / "run.toml").stat().st_mtime, UTC),
            problem=str(error).splitlines()[0],
        )


def _num_ended(run: Run) -> int:
    is_open = (TrialStatus.INTERRUPTED, TrialStatus.REJECTED)
    return sum(record.status not in is_open for record in run.records)


def _ago(age: timedelta) -> str:
    return f"{age.days} d ago" if age.days else f"{duration(age.total_seconds())} ago"
