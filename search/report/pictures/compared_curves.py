"""The best validation accuracy so far of two runs in one figure."""

from __future__ import annotations

from typing import NamedTuple

from search.analysis.best_so_far import BestSoFar
from search.analysis.compare import Comparison
from search.report.pictures.style import Figure, Picture, accuracy_layout, safe_text, single

_SENTENCE = (
    "The best validation accuracy of each search over the epochs that its trials had trained. The curves are "
    "comparable only if both searches validate on the same images."
)


class ComparedCurves(NamedTuple):
    """The curves of both runs, by name."""

    names: tuple[str, str]
    curves: tuple[BestSoFar, BestSoFar]


def picture(comparison: Comparison) -> Picture | None:
    """None before both runs have ended an epoch."""
    first, second = comparison.curves
    if first is None or second is None:
        return None
    return single("both", "Best so far", _SENTENCE, draw(ComparedCurves(comparison.names, (first, second))), height=340)


def draw(compared: ComparedCurves) -> Figure:
    """The figure."""
    traces = [
        {
            "type": "scatter", "mode": "lines", "x": curve.costs, "y": curve.scores, "name": safe_text(name),
            "line": {"color": colour, "width": 2.5, "shape": "hv"},
        }
        for name, curve, colour in zip(compared.names, compared.curves, ("--completed", "--winner"), strict=True)
    ]  # fmt: skip
    return {"data": traces, "layout": accuracy_layout("epochs trained in all trials", "best accuracy so far")}
