"""The look of all pictures: layout, colours, and the points that stand for trials.

Figures are plotly figures as plain dicts. A colour such as "--winner" names a CSS variable of the page, so that one
figure suits light and dark. The page's script fills in the colours, and hover labels for each trace with
`meta = "trials"` and trial numbers in `customdata`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from numpy.typing import NDArray

from model.metrics import Metric
from search.study.record import TrialRecord

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


class Plot(NamedTuple):
    """One drawing."""

    name: str
    """Unique on the page."""
    figure: Figure
    height: int
    """Pixels."""
    label: str
    """Read out by screen readers."""


class Picture(NamedTuple):
    """One or more plots under a title and a sentence; without a plot, the sentence says why."""

    title: str
    sentence: str
    plots: tuple[Plot, ...] = ()
    is_half: bool = False
    """Whether a wide page shows it beside the next picture."""


def single(name: str, title: str, sentence: str, figure: Figure, *, height: int, is_half: bool = False) -> Picture:
    """A picture of one plot."""
    return Picture(title, sentence, (Plot(name, figure, height, sentence),), is_half)


def trial_points(
    name: str, trials: Sequence[TrialRecord], xs: Sequence[Any], ys: Sequence[Any], colour: str, *, opacity: float
) -> Trace:
    """One labelled point per trial."""
    return {
        "type": "scatter", "mode": "markers", "name": name, "x": list(xs), "y": list(ys),
        "marker": {"color": colour, "size": 7, "opacity": opacity}, "meta": "trials",
        "customdata": [trial.number for trial in trials], "hovertemplate": "%{hovertext}<extra></extra>",
    }  # fmt: skip


def base_layout(x_title: str, y_title: str) -> Figure:
    """The layout that all pictures share. Axis titles must be safe, see `safe_text`."""
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


def metric_layout(metric: Metric, x_title: str, y_title: str) -> Figure:
    """`base_layout` with values of the metric on the vertical axis, `y_title` before its name."""
    layout = base_layout(x_title, f"{y_title} {metric.title}".strip())
    layout["yaxis"]["tickformat"] = "~%" if metric.is_percent else "~r"
    if metric.is_percent:  # a flat curve would get an axis from far below 0 to above 100 %
        layout["yaxis"] |= {"minallowed": -0.02, "maxallowed": 1.02}
    return layout


def values_of(metric: Metric, scores: Sequence[float | None]) -> list[float | None]:
    """The metric's own values, to be drawn."""
    return [None if score is None else metric.value(score) for score in scores]


def as_lists(matrix: NDArray[Any]) -> list[list[Any]]:
    """A matrix as nested lists."""
    nested: list[list[Any]] = matrix.tolist()
    return nested


def safe_text(text: str) -> str:
    """A name escaped for plotly, which renders some HTML in texts."""
    return escape(text, quote=False)
