"""The report of a run: one HTML file that opens from disk, without a server and without a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from model.network_source import NetworkSource
from search.analysis.results import Run
from search.analysis.wording import finals_headings, finals_rows, finals_sentences, interval_sentence
from search.files import write_atomically
from search.report.data import ReportData, report_data
from search.report.labels import trial_labels
from search.report.pictures import (
    best_so_far,
    class_accuracies,
    confusion,
    cost_front,
    importances,
    learning_curves,
    parallel_coordinates,
    retrainings,
    slices,
    timeline,
)
from search.report.pictures.style import Picture
from search.report.rendering import render

PICTURES: dict[str, tuple[Callable[[ReportData], Picture | None], ...]] = {
    "search": (learning_curves.picture, best_so_far.by_epochs, best_so_far.by_time),
    "mattered": (
        importances.picture,
        parallel_coordinates.picture,
        slices.picture,
        cost_front.against_size,
        cost_front.against_speed,
    ),
    "winner": (confusion.picture, class_accuracies.picture, retrainings.picture),
    "stops": (timeline.picture,),
}
"""The pictures of each section, in the order of the page."""
REWRITE_INTERVAL_S = 30
"""The page of a running search is written, and reloads itself, at most this often."""
MAX_REWRITE_SHARE = 0.05
"""Largest share of a running search's time that goes into writing its page."""


def write_report(run: Run, *, is_running: bool = False) -> None:
    """Writes `report.html` into the run's folder atomically, at any moment of a run."""
    write_atomically(run.run_dir / "report.html", report_page(report_data(run, is_running=is_running)))


class LivePage:
    """The page of a running search. A page that cannot be written is a warning and stops nothing."""

    def __init__(self, run_dir: Path, warn: Callable[[str], None], network: NetworkSource | None = None) -> None:
        """`network`: of the run that is trained by this process."""
        self._run_dir, self._network = run_dir, network
        self._warn = warn
        self._next_at = 0.0

    def update(self, *, at_once: bool = False) -> None:
        """Writes the page of the running search, unless it was written recently and need not be there `at_once`."""
        if at_once or time.monotonic() >= self._next_at:
            self._write(is_running=True)

    def finish(self) -> None:
        """Writes the page of the run as it ended."""
        self._write(is_running=False)

    def _write(self, *, is_running: bool) -> None:
        start = time.monotonic()
        try:
            write_report(Run.load(self._run_dir, self._network), is_running=is_running)
        except Exception as error:  # hours of training are worth more than any page
            self._warn(f"report.html could not be written: {type(error).__name__}: {error}")
        end = time.monotonic()
        self._next_at = end + max(REWRITE_INTERVAL_S, (end - start) / MAX_REWRITE_SHARE)


def report_page(data: ReportData) -> str:
    """The whole page."""
    run = data.run
    made = {section: [make(data) for make in makers] for section, makers in PICTURES.items()}
    pictures = {section: [one for one in maybe if one is not None] for section, maybe in made.items()}
    return render(
        "report.html.j2",
        [picture for section in pictures.values() for picture in section],
        trial_labels(data.trials, list(run.space.parameters), data.winner_number, run.metric),
        data=data,
        document=run.document,
        settings=run.settings,
        result=run.result,
        finals=run.finals,
        metric=run.metric,
        finals_headings=finals_headings(run.metric),
        finals_rows=finals_rows(run.finals, run.metric),
        finals_sentences=finals_sentences(run.finals, run.metric, run.settings.search_examples),
        interval_sentence=interval_sentence,
        pictures=pictures,
        reload_s=REWRITE_INTERVAL_S if data.state == "running" else None,
    )
