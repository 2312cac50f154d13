"""The best validation score so far over the epochs trained, and over the training time."""

from __future__ import annotations

from model.metrics import Metric
from search.analysis.best_so_far import BestSoFar, best_so_far
from search.report.data import ReportData
from search.report.pictures.style import Figure, Picture, metric_layout, single, values_of


def by_epochs(data: ReportData) -> Picture | None:
    """None before the first epoch has ended."""
    curve = best_so_far(data.trials)
    if curve is None:
        return None
    metric = data.run.metric
    sentence = f"The best validation {metric.title} so far, trial after trial in the order they were proposed."
    figure = draw(curve, metric, unit="epochs trained")
    return single("by-epochs", "Best so far, by epochs trained", sentence, figure, height=320, is_half=True)


def by_time(data: ReportData) -> Picture | None:
    """None before the first epoch has ended."""
    curve = best_so_far(data.trials, "seconds")
    if curve is None:
        return None
    unit, scale = _time_unit(curve.costs[-1])
    sentence = "The same over the training time of the trials, summed over the workers."
    figure = draw(curve, data.run.metric, unit=f"{unit} of training", scale=scale)
    return single("by-time", "Best so far, by training time", sentence, figure, height=320, is_half=True)


def draw(curve: BestSoFar, metric: Metric, *, unit: str, scale: float = 1.0) -> Figure:
    """The figure; costs are divided by `scale` to be in `unit`."""
    trace = {
        "type": "scatter", "mode": "lines", "x": [cost / scale for cost in curve.costs],
        "y": values_of(metric, curve.scores),
        "name": "this search", "line": {"color": "--winner", "width": 2.5, "shape": "hv"},
    }  # fmt: skip
    layout = metric_layout(metric, unit, "best")
    layout["margin"] |= {"t": 8}
    layout["showlegend"] = False
    return {"data": [trace], "layout": layout}


def _time_unit(seconds: float) -> tuple[str, float]:
    if seconds > 7200:
        return "hours", 3600
    return ("minutes", 60) if seconds > 120 else ("seconds", 1)
