"""The page in a real browser: drawn at both widths and in both colour schemes, without an error or a request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fabricated_run import add_finals, add_retrains, add_trials, finalist_numbers, make_run, reread
from test_report_page import all_failed

from search.analysis.compare import compare_runs
from search.report.comparison_page import write_comparison
from search.report.page import write_report

if TYPE_CHECKING:
    from browser import Page

browser = pytest.importorskip("browser", reason="websocket-client is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.find_browser() is None, reason="no Chromium or Chrome is installed"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser.opened_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    run = make_run(folder, lambda study: add_trials(study, 30), retrain_top=2, retrain_seeds=3)
    add_finals(run, dict.fromkeys(finalist_numbers(run), (0.8, 0.81, 0.79)))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.8, "default": 0.85}, num_seeds=3)
    write_report(reread(run))
    return run.run_dir / "report.html"


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_drawn_without_errors_or_requests(page: Page, report: Path, width: int, is_dark: bool) -> None:
    page.show(report, width=width, is_dark=is_dark)
    assert page.complaints == []
    assert page.requests == [report.as_uri()]
    plots = page.evaluate("document.querySelectorAll('.plot').length")
    assert plots > 15
    assert page.evaluate("document.querySelectorAll('.plot .main-svg .plotly, .plot .bglayer').length") >= plots
    assert page.evaluate("document.documentElement.scrollWidth") == width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 3 * 128) == is_dark


def test_the_pictures_change_colour_with_the_scheme(page: Page, report: Path) -> None:
    page.show(report, width=1280, is_dark=False)
    colour = "document.querySelector('#plot-curves .legendtext').style.fill"
    light = page.evaluate(colour)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.evaluate("new Promise(resolve => setTimeout(resolve, 500))", is_awaited=True)
    assert page.evaluate(colour) != light
    assert page.complaints == []


def test_a_point_shows_its_trial(page: Page, report: Path) -> None:
    page.show(report, width=1280, is_dark=False)
    page.evaluate("Plotly.Fx.hover('plot-params', [{curveNumber: 0, pointNumber: 0}])")
    words = page.evaluate("document.querySelector('#plot-params .hovertext').textContent")
    assert "trial" in words
    assert "activation" in words


def test_a_page_without_pictures_has_no_errors(page: Page, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", all_failed)
    write_report(run)
    page.show(run.run_dir / "report.html", width=390, is_dark=True)
    assert page.complaints == []
    assert "No trial has a score" in page.evaluate("document.querySelector('h1').textContent")


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (390, True)])
def test_a_comparison_is_drawn_without_errors_or_requests(
    page: Page, tmp_path: Path, width: int, is_dark: bool
) -> None:
    runs = [make_run(tmp_path / name, lambda study: add_trials(study, 9)) for name in ("a", "b")]
    path = tmp_path / "both.html"
    write_comparison(compare_runs(*runs), path)
    page.show(path, width=width, is_dark=is_dark)
    assert page.complaints == []
    assert page.requests == [path.as_uri()]
    assert page.evaluate("document.querySelectorAll('.plot .main-svg').length") > 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
