"""The best validation score so far of two runs in one figure."""

from __future__ import annotations

from typing import NamedTuple

from model.metrics import Metric
from search.analysis.best_so_far import BestSoFar
from search.analysis.compare import Comparison
from search.report.pictures.style import Figure, Picture, metric_layout, safe_text, single, values_of


class ComparedCurves(NamedTuple):
    """The curves of both runs, by name."""

    names: tuple[str, str]
    curves: tuple[BestSoFar, BestSoFar]
    metric: Metric


def picture(comparison: Comparison) -> Picture | None:
    """None before both runs have ended an epoch, and for runs of different metrics."""
    first, second = comparison.curves
    if first is None or second is None:
        return None
    sentence = (
        f"The best validation {comparison.metric.title} of each search over the epochs that its trials had trained. "
        "The curves are comparable only if both searches validate on the same images."
    )
    figure = draw(ComparedCurves(comparison.names, (first, second), comparison.metric))
    return single("both", "Best so far", sentence, figure, height=340)


def draw(compared: ComparedCurves) -> Figure:
    """The figure."""
    traces = [
        {
            "type": "scatter", "mode": "lines", "x": curve.costs, "name": safe_text(name),
            "y": values_of(compared.metric, curve.scores),
            "line": {"color": colour, "width": 2.5, "shape": "hv"},
        }
        for name, curve, colour in zip(compared.names, compared.curves, ("--completed", "--winner"), strict=True)
    ]  # fmt: skip
    return {"data": traces, "layout": metric_layout(compared.metric, "epochs trained in all trials", "best")}
