"""The report of a run: one HTML file that opens from disk, without a server and without a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path

from search.analysis.results import Run, load_run
from search.files import write_atomically
from search.report.data import ReportData, report_data
from search.report.end_sections import again_section, winner_section
from search.report.html import Html, element
from search.report.search_section import mattered_section, search_section, stops_section, trial_labels
from search.report.top import header, result_section

REWRITE_INTERVAL_S = 30.0
"""How often the page of a running search is written at most, and how often it loads itself again."""
MAX_REWRITE_SHARE = 0.05
"""Part of a running search's time that may go into its page."""


def write_report(run: Run, *, is_running: bool = False) -> None:
    """Writes `report.html` into the run's folder, whole or not at all; works at any moment of a run."""
    page = report_page(report_data(run, is_running=is_running))
    write_atomically(run.run_dir / "report.html", page)


class LivePage:
    """The page of a run that goes on. A page that cannot be written is told and costs nothing else."""

    def __init__(self, run_dir: Path, warn: Callable[[str], None]) -> None:
        self._run_dir = run_dir
        self._warn = warn
        self._next_at = 0.0

    def update(self) -> None:
        """Writes the page of the running search, unless it was written a short while ago."""
        if time.monotonic() >= self._next_at:
            self._write(is_running=True)

    def finish(self) -> None:
        """Writes the page of the run as it ended."""
        self._write(is_running=False)

    def _write(self, *, is_running: bool) -> None:
        start = time.monotonic()
        try:
            write_report(load_run(self._run_dir), is_running=is_running)
        except Exception as error:  # hours of training are worth more than any page
            self._warn(f"report.html could not be written: {type(error).__name__}: {error}")
        end = time.monotonic()
        self._next_at = end + max(REWRITE_INTERVAL_S, (end - start) / MAX_REWRITE_SHARE)


def report_page(data: ReportData) -> Html:
    """The whole page."""
    main = element(
        "main",
        result_section(data),
        search_section(data),
        mattered_section(data),
        winner_section(data),
        stops_section(data),
        again_section(data),
    )
    footer = element(
        "footer", f"Written by convladder {data.document.versions['convladder']}. Everything is in this file."
    )
    body = element(
        "body",
        header(data),
        main,
        footer,
        trial_labels(data),
        page_scripts(),
    )
    head = page_head(data.name, reloads=data.state == "running")
    return Html(f'<!doctype html>\n<html lang="en">{head}{body}</html>\n')


def page_scripts() -> Html:
    """What draws a page's pictures; they need `json_data("trial-labels", ...)` beside them."""
    return Html(f"<script>{_plotly_script()}</script><script>{_own_file('report.js')}</script>")


def page_head(title: str, *, reloads: bool = False) -> Html:
    """Title and style of a page; one of a running search loads itself again."""
    reload = element("meta", http_equiv="refresh", content=f"{REWRITE_INTERVAL_S:.0f}")
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        reload if reloads else Html(""),
        # An empty icon, or a browser asks the server for one.
        element("link", rel="icon", href="data:,"),
        element("title", f"{title} - convladder"),
        Html(f"<style>{_own_file('report.css')}</style>"),
    )


def _own_file(name: str) -> str:
    return resources.files("search.report").joinpath(name).read_text()


@cache
def _plotly_script() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
