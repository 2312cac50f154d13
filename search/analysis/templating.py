"""Jinja for the summary and the pages, with a run's numbers in words as filters."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from search.analysis import wording
from search.text import duration, gain_text, percent, score_text, value_text


def environment(package: str, *, autoescape: bool) -> Environment:
    """An environment for the folder `templates` of a package. A name that was not passed is an error."""
    made = Environment(
        loader=PackageLoader(package),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "percent": percent,
        "score": lambda score, metric, accuracy=None: score_text(metric, score, accuracy),
        "gain": lambda gain, metric: gain_text(metric, gain),
        "duration": duration,
        "value": value_text,
        "count": lambda number: "-" if number is None else f"{number:,.0f}",
        "millions": lambda number: f"{number / 1e6:.1f} M",
        "estimate": wording.estimate_cell,
        "difference": wording.difference_cell,
        "interval": wording.gain_interval,
        "score_interval": wording.score_interval,
        "gain_note": wording.gain_note,
    }
    made.globals |= {"interval_text": wording.interval_text}
    return made
