"""Reads the report's page back: its figures, and whether its elements balance."""

from __future__ import annotations

import base64
import gzip
import html.parser
import json
import re
from typing import Any

import plotly.graph_objects as go
from fabricated_run import (
    add_trials,
    reread,
)

from search.analysis.results import Run
from search.report.page import write_report
from search.study.study import RunStudy


def write_page(run: Run, *, is_running: bool = False) -> str:
    """The page of the run as it is now."""
    write_report(reread(run), is_running=is_running)
    return (run.run_dir / "report.html").read_text()


def unpacked(page: str, name: str) -> str:
    """One of the packed texts in the page."""
    [packed] = re.findall(f'<script type="text/plain" id="packed-{name}">([A-Za-z0-9+/=]*)</script>', page)
    return gzip.decompress(base64.b64decode(packed)).decode()


def figures_of(page: str) -> dict[str, dict[str, Any]]:
    """The page's figures by name."""
    figures: dict[str, dict[str, Any]] = json.loads(unpacked(page, "data"))["figures"]
    return figures


class Balance(html.parser.HTMLParser):
    """Fails where an element is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "link", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(page: str) -> None:
    """Balanced elements, finite numbers, and a place for every figure, each valid for plotly."""
    balance = Balance()
    balance.feed(page)
    assert not balance.open
    text = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.search(r"\b(nan|NaN|None|Infinity)\b", text)
    figures = figures_of(page)
    assert re.findall(r'id="plot-([^"]+)"', page) == list(figures)
    for figure in figures.values():
        go.Figure(json.loads(re.sub(r'"--[a-z0-9-]+"', '"#123456"', json.dumps(figure))))


def one_trial(study: RunStudy) -> None:
    add_trials(study, 1)
