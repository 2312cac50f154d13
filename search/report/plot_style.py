"""How the report's pictures look: layout, colours, and the points that stand for trials.

A colour such as "--winner" names a CSS variable of the page, so that one figure suits light and dark. The page's
script puts colours in, and hover labels where a trace says `meta = "trials"` and names trials in `customdata`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from numpy.typing import NDArray

from search.report.trials import TrialView

Figure = dict[str, Any]
Trace = dict[str, Any]

STATUS_COLOURS = {
    "completed": "--completed",
    "stopped": "--stopped",
    "failed": "--failed",
    "diverged": "--diverged",
    "interrupted": "--interrupted",
    "running": "--running",
}


def trial_points(
    name: str, trials: Sequence[TrialView], xs: Sequence[Any], ys: Sequence[Any], colour: str, *, opacity: float
) -> Trace:
    """A point a trial, with its label."""
    return {
        "type": "scatter", "mode": "markers", "name": name, "x": list(xs), "y": list(ys),
        "marker": {"color": colour, "size": 7, "opacity": opacity}, "meta": "trials",
        "customdata": [trial.number for trial in trials], "hovertemplate": "%{hovertext}<extra></extra>",
    }  # fmt: skip


def base_layout(x_title: str, y_title: str) -> Figure:
    """What all pictures have in common; axis titles are plotly text."""
    axis = {"gridcolor": "--grid", "linecolor": "--line", "zeroline": False, "ticks": ""}
    return {
        "xaxis": {**axis, "title": {"text": x_title, "standoff": 8}},
        "yaxis": {**axis, "title": {"text": y_title, "standoff": 8}, "automargin": True},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "--ink-soft", "size": 12},
        "margin": {"l": 56, "r": 16, "t": 36, "b": 48},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "--surface", "bordercolor": "--line", "font": {"color": "--ink"}, "align": "left"},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "showlegend": True,
    }


def as_lists(matrix: NDArray[Any]) -> list[list[Any]]:
    """A matrix as nested lists."""
    nested: list[list[Any]] = matrix.tolist()
    return nested


def safe_text(text: str) -> str:
    """A name for plotly, which reads a little HTML in texts."""
    return escape(text, quote=False)
