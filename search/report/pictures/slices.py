"""The score over one parameter at a time, one point per trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from model.metrics import Metric
from search.report.data import ReportData
from search.report.pictures.style import Figure, Picture, Plot, metric_layout, safe_text, trial_points, values_of
from search.space.parameter import Parameter
from search.study.record import TrialRecord
from search.text import value_text

NUM_SLICES = 8


class Slice(NamedTuple):
    """One parameter and the scores of the trials."""

    key: str
    parameter: Parameter
    trials: Sequence[TrialRecord]
    scores: Sequence[float]
    metric: Metric


def picture(data: ReportData) -> Picture | None:
    """None if the scores at that epoch cannot tell."""
    equal = data.equal_epoch
    if not equal.is_telling:
        return None
    metric, plots = data.run.metric, []
    title = metric.title[0].upper() + metric.title[1:]
    for index, key in enumerate(data.keys_by_importance[:NUM_SLICES]):
        figure = draw(Slice(key, data.run.space.parameters[key], equal.trials, equal.scores, metric))
        plots.append(Plot(f"slice-{index}", figure, 220, f"{title} at epoch {equal.epoch} over {key}"))
    sentence = f"{title} at epoch {equal.epoch} over one parameter at a time, one point per trial."
    return Picture("Slices", sentence, tuple(plots))


def draw(one: Slice) -> Figure:
    """The figure of one parameter."""
    parameter = one.parameter
    values = [trial.config[one.key] for trial in one.trials]
    layout = metric_layout(one.metric, safe_text(one.key), "")
    if parameter.kind == "choice":
        values = [safe_text(value_text(value)) for value in values]
        order = [safe_text(value_text(value)) for value in parameter.values]
        layout["xaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": order}
    else:
        layout["xaxis"] |= _range_ticks(parameter)
    layout["margin"] |= {"t": 8, "r": 16}
    layout["showlegend"] = False
    points = trial_points("trials", one.trials, values, values_of(one.metric, one.scores), "--winner", opacity=0.65)
    return {"data": [points], "layout": layout}


def _range_ticks(parameter: Parameter) -> dict[str, Any]:
    """Both bounds and the middle on the parameter's scale; plotly's own ticks overlap in a small picture."""
    low, high = parameter.low, parameter.high
    assert low is not None
    assert high is not None
    if parameter.kind in ("log", "log_int"):
        ticks = [low, math.sqrt(low * high), high]
        pad = 0.06 * math.log10(high / low)
        shown = [math.log10(low) - pad, math.log10(high) + pad]
        return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:.2g}" for tick in ticks], "range": shown}
    pad = 0.06 * (high - low)
    ticks = [low, (low + high) / 2, high] if parameter.kind == "linear" else [low, high]
    return {"tickvals": ticks, "range": [low - pad, high + pad]}
