"""Renders the pages, and hands out their style and scripts."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment
from plotly.offline import get_plotlyjs

from model.metrics import METRICS
from search.analysis.templating import environment
from search.service.access import COOKIE
from search.service.runs import Refused
from search.text import score_text

router = APIRouter(include_in_schema=False)
_STATIC = {
    "report.css": "search.report",
    "figures.js": "search.report",
    "service.css": "search.service",
    "service.js": "search.service",
}
"""The package of each file."""


def rendered(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    caller = getattr(request.state, "caller", None)
    base = request.scope.get("root_path", "")
    text = (
        _environment()
        .get_template(template)
        .render(
            caller=caller,
            base=base,
            path=request.url.path,
            status=status,
            can_log_out=COOKIE in request.cookies,
            **values,
        )
    )
    return HTMLResponse(text, status)


def back(request: Request, path: str) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", 303)


def path_after_login(request: Request) -> str:
    """The path that led to the login form, below the root; "/" if there is none, or it may be of another site."""
    asked = request.query_params.get("next", "")
    return asked if re.fullmatch(r"/[^/\\\s][^\\\s]*", asked) else "/"


@router.get("/static/{file}")
def static(file: str, request: Request) -> Response:
    """Style and scripts, all from this package or an installed one."""
    if file != "plotly.js" and file not in _STATIC:
        raise Refused(404, "there is no such file.")
    headers = {"Cache-Control": "public, max-age=3600", "Vary": "Accept-Encoding"}
    kind = "text/javascript" if file.endswith(".js") else "text/css"
    content, packed = _static_content(file)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, media_type=kind, headers={**headers, "Content-Encoding": "gzip"})
    return Response(content, media_type=kind, headers=headers)


@cache
def _static_content(file: str) -> tuple[bytes, bytes]:
    if file == "plotly.js":
        content = get_plotlyjs().encode()
    else:
        content = resources.files(_STATIC[file]).joinpath(file).read_bytes()
    return content, gzip.compress(content, mtime=0)


def wants_page(request: Request) -> bool:
    """Whether an error should be shown as a page."""
    return not request.url.path.removeprefix(request.scope.get("root_path", "")).startswith(("/api", "/metrics"))


def error_page(request: Request, status: int, errors: list[dict[str, Any]]) -> Response:
    """The page of an error."""
    return rendered(request, "error.html.j2", status=status, errors=errors)


@cache
def _environment() -> Environment:
    made = environment("search.service", autoescape=True)
    made.filters |= {
        "moment": lambda at: "-" if at is None else time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(at)),
        "points_of": _spark_points,
        "metric_title": lambda name: METRICS[name].title,
        "result": _result,
    }
    return made


def _result(value: float | None, metric_name: str) -> str:
    """A metric's own value as people read it."""
    metric = METRICS[metric_name]
    return score_text(metric, None if value is None else metric.score(value))


def _spark_points(curve: Sequence[float]) -> str:
    """The points of a small line of 120 x 28 pixels that grows from the bottom left."""
    low, high = min(curve), max(curve)
    span = (high - low) or 1.0
    step = 116 / max(1, len(curve) - 1)
    return " ".join(f"{2 + index * step:.1f},{26 - 24 * (value - low) / span:.1f}" for index, value in enumerate(curve))
