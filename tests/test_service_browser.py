"""The pages in a real browser, as a newcomer uses them: a run is submitted, watched, steered, read and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from served import finished_run, served, wait_until
from tiny_space import TINY

from search.service import Client
from search.service.context import Service

if TYPE_CHECKING:
    from browser import Page

browser = pytest.importorskip("browser", reason="websocket-client is not installed")
pytest.importorskip("fastapi", reason="the extra [service] is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.find_browser() is None, reason="no Chromium or Chrome is installed"),
]
FORM = {
    "run_name": "mine",
    "num_trials": "3",
    "max_epochs": "12",
    "max_params": "50000",
    "image_size": "16",
    "cores": "1",
    "space": TINY,
    "grace_period": "2",
    "reduction_factor": "2",
    "precision": "fp32",
    "cpus_per_trial": "1",
}
PATIENCE_S = 400.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Service]]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "results").mkdir()
    finished_run(folder / "results" / "earlier", num_trials=4)
    with served(folder) as (url, service):
        wait_until(lambda: service.supervisor.summaries.of)
        yield url, service


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser.opened_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def click(page: Page, selector: str) -> None:
    """Clicks a button or link that leads to another page, and waits for that."""
    page.evaluate("window.isOld = true")
    page.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
    page.wait_for("!window.isOld && document.readyState === 'complete'")


def fill(page: Page, values: dict[str, str]) -> None:
    for name, value in values.items():
        place = f"document.querySelector('main [name={name}]')"
        page.evaluate(f"{place}.value = {json.dumps(value)}")


def text(page: Page) -> str:
    return str(page.evaluate("document.querySelector('main').innerText"))


def wait_for_text(page: Page, words: str) -> None:
    page.wait_for(f"document.querySelector('main').innerText.includes({json.dumps(words)})", PATIENCE_S)


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("path", ["/", "/submit", "/datasets", "/devices", "/runs/earlier"])
def test_every_page_fits_and_asks_nobody_else(
    page: Page, lab: tuple[str, Service], path: str, width: int, is_dark: bool
) -> None:
    url = lab[0]
    page.open(url + path, width=width, is_dark=is_dark)
    if path.startswith("/runs"):
        page.wait_for("document.documentElement.dataset.drawn === 'true'")
    assert page.complaints == []
    assert all(request.startswith(url) for request in page.requests)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 3 * 128) == is_dark
    unnamed = (
        "[...document.querySelectorAll('input:not([type=hidden]), select, textarea, button')].filter(one => "
        "!(one.labels?.length || one.ariaLabel || one.textContent.trim())).map(one => one.outerHTML)"
    )
    assert page.evaluate(unnamed) == []


def test_a_mistake_is_shown_beside_its_line(page: Page, lab: tuple[str, Service]) -> None:
    page.open(f"{lab[0]}/submit", width=1280, is_dark=False)
    fill(page, {"run_name": "wrong", "num_trials": "many", "space": 'flip = true\nlr = {kind = "log", low = 1}'})
    click(page, "button.lead")
    beside = page.evaluate("document.querySelector('#num_trials').closest('.field').innerText")
    assert "whole number; got 'many'" in beside
    fill(page, {"num_trials": "3"})
    click(page, "button.lead")
    assert "line 2:" in text(page)
    assert page.evaluate("document.querySelector('#space').value").startswith("flip = true")  # nothing typed is lost


def test_a_report_hands_out_its_table(page: Page, lab: tuple[str, Service], tmp_path: Path) -> None:
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.open(f"{lab[0]}/api/runs/earlier/report", width=1280, is_dark=False)
    page.evaluate("document.querySelector('a[download]').click()")
    table = tmp_path / "earlier-trials.csv"
    wait_until(table.exists)
    assert list(pd.read_csv(table)["trial_number"]) == [0, 1, 2, 3]


def test_a_link_to_a_report_leads_there_through_the_login(page: Page, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    finished_run(tmp_path / "results" / "earlier", num_trials=3)
    with served(tmp_path, needs_tokens=True) as (url, service):
        token = service.access.add_token("ada", "viewer")
        wait_until(lambda: service.supervisor.summaries.of)
        page.open(f"{url}/api/runs/earlier/report", width=1280, is_dark=False)
        for typed in ("mistyped", token):
            fill(page, {"token": typed})
            click(page, "button.lead")
        assert page.evaluate("location.href") == f"{url}/api/runs/earlier/report"
        assert "earlier" in page.evaluate("document.querySelector('header').innerText")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_is_submitted_watched_steered_read_and_compared(page: Page, lab: tuple[str, Service]) -> None:
    url, service = lab
    page.open(f"{url}/", width=1280, is_dark=False)
    click(page, "a[href$='/submit']")
    fill(page, FORM)
    page.evaluate("document.querySelector('#baseline').checked = true")
    click(page, "button.lead")
    assert page.evaluate("document.querySelector('h1').innerText") == "mine"
    # It grows on the page, which nobody loads again.
    page.evaluate("window.isOld = true")
    page.wait_for("document.querySelector('#top .value').innerText.includes('%')", PATIENCE_S)
    page.wait_for("document.querySelectorAll('#plot-curves .scatterlayer .trace').length > 0", PATIENCE_S)
    assert page.evaluate("window.isOld") is True
    click(page, "#do-pause")
    wait_for_text(page, "pause, done")
    fill(page, {"num_trials": "5"})
    click(page, "#do-change")
    wait_for_text(page, "5 trials, done")
    click(page, "#do-continue")
    wait_for_text(page, "of 5")
    click(page, "#do-stop")
    page.wait_for("document.querySelector('.state.finished') !== null", PATIENCE_S)
    _read_and_compare(page, url)
    view: dict[str, Any] = Client(url).run("mine")
    assert [wish["words"] for wish in view["wishes"]] == ["pause", "5 trials", "continue", "stop"]
    assert service.runs.load("mine").result.winner is not None


def _read_and_compare(page: Page, url: str) -> None:
    click(page, "#report")
    page.wait_for("document.documentElement.dataset.drawn === 'true'")
    assert page.complaints == []
    assert "mine" in page.evaluate("document.querySelector('header').innerText")
    page.open(f"{url}/", width=1280, is_dark=False)
    for name in ("mine", "earlier"):
        page.evaluate(f"document.getElementById('pick-{name}').click()")
    click(page, "form[action$='/compare'] > p button")
    assert {"mine", "earlier"} <= set(page.evaluate("document.querySelector('h1').innerText").split(", "))
    page.wait_for("document.documentElement.dataset.drawn === 'true'")
    assert "test accuracy" in text(page)
