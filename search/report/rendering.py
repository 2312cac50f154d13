"""Renders the templates to pages that hold everything: style, script and plotly."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from search.analysis.templating import environment
from search.report.pictures.style import Picture


def render(template: str, drawn: Iterable[Picture], labels: Mapping[str, str], **values: Any) -> str:
    """The page of a template in `templates/`, every value escaped.

    Its script draws the pictures in `drawn`, which the template places. `labels`: hover labels of trials by number.
    """
    figures = {plot.name: plot.figure for picture in drawn for plot in picture.plots}
    data = json.dumps({"labels": labels, "figures": figures}, separators=(",", ":"), allow_nan=False)
    return _environment().get_template(template).render(packed_data=_packed(data), **values)


@cache
def _environment() -> Environment:
    made = environment("search.report", autoescape=True)
    made.globals |= {
        "style": Markup(_own_file("report.css")),
        "script": Markup(_own_file("figures.js") + _own_file("report.js")),
        "packed_plotly": _packed_plotly(),
    }
    return made


def _own_file(name: str) -> str:
    return resources.files("search.report").joinpath(name).read_text(encoding="utf-8")


def _packed_plotly() -> str:
    from plotly.offline import get_plotlyjs

    return _packed(get_plotlyjs())


def _packed(text: str) -> str:
    """Text gzipped and as base64, which the page's script unpacks: 2 MB instead of 5 for plotly."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
