"""Parallel coordinates of the trials, drawn as plain lines: plotly's own need WebGL, which some browsers lack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from model.metrics import Metric
from search.analysis.importances import EqualEpoch
from search.report.data import ReportData
from search.report.pictures.style import Figure, Picture, Trace, base_layout, safe_text, single
from search.report.winner import position_in
from search.space.space import SearchSpace
from search.text import score_text, value_text

NUM_AXES = 7
MAX_BEST = 20
"""Lines drawn in the colour of the best; more would hide all others."""


class Axis(NamedTuple):
    """One vertical axis: a parameter or the score."""

    name: str
    places: list[float]
    """One for each trial, 0 (bottom) to 1 (top)."""
    ticks: list[tuple[float, str]]


class ParallelCoordinates(NamedTuple):
    """The axes and the trials in groups, by index."""

    axes: list[Axis]
    numbers: list[int]
    """The trials' numbers."""
    others: list[int]
    best: list[int]
    winner: list[int]


def picture(data: ReportData) -> Picture | None:
    """None if the scores at that epoch cannot tell."""
    equal = data.equal_epoch
    if not equal.is_telling:
        return None
    keys = data.keys_by_importance[:NUM_AXES]
    sentence = (
        f"One line per trial through its values to its {data.run.metric.title} at epoch {equal.epoch}, over the "
        f"{len(keys)} {'most important' if equal.importances else 'first'} parameters. Where the lines of the best "
        "trials meet, a value works well."
    )
    figure = draw(_grouped(data, equal, keys))
    return single("parallel", "Parallel coordinates", sentence, figure, height=420)


def draw(parallel: ParallelCoordinates) -> Figure:
    """The figure: the best stand out, the winner most."""
    axes = parallel.axes
    traces = [
        _lines(parallel, parallel.others, {"name": "the others", "opacity": 0.45}, "--stopped", 0.8),
        _lines(parallel, parallel.best, {"name": "the best", "opacity": 0.9}, "--completed", 1.5),
        _lines(parallel, parallel.winner, {"name": "the winner", "opacity": 1}, "--winner", 3),
    ]
    layout = base_layout("", "")
    layout["xaxis"] |= {
        "tickvals": list(range(len(axes))), "ticktext": [axis.name for axis in axes], "showgrid": False,
        "range": [-0.15, len(axes) - 0.9], "automargin": True,
    }  # fmt: skip
    layout["yaxis"] |= {"visible": False, "range": [-0.06, 1.06]}
    layout["shapes"] = [
        {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": {"color": "--line", "width": 1}}
        for x in range(len(axes))
    ]
    layout["annotations"] = [
        {
            "x": x, "y": place, "text": text, "showarrow": False, "xanchor": "left", "xshift": 4,
            "font": {"size": 11, "color": "--ink-soft"}, "bgcolor": "--surface", "opacity": 0.9, "borderpad": 1,
        }
        for x, axis in enumerate(axes)
        for place, text in axis.ticks
    ]  # fmt: skip
    layout["margin"] |= {"l": 36, "r": 64}
    return {"data": [trace for trace in traces if trace["x"]], "layout": layout}


def _grouped(data: ReportData, equal: EqualEpoch, keys: Sequence[str]) -> ParallelCoordinates:
    space, winner_number = data.run.space, data.winner_number
    order = sorted(range(len(equal.scores)), key=lambda index: -equal.scores[index])
    num_best = min(-(-len(order) // 4), MAX_BEST)
    numbers = [trial.number for trial in equal.trials]
    return ParallelCoordinates(
        axes=[*(_parameter_axis(equal, space, key) for key in keys), _score_axis(equal, data.run.metric)],
        numbers=numbers,
        others=[index for index in order[num_best:] if numbers[index] != winner_number],
        best=[index for index in order[:num_best] if numbers[index] != winner_number],
        winner=[index for index in order if numbers[index] == winner_number],
    )


def _parameter_axis(equal: EqualEpoch, space: SearchSpace, key: str) -> Axis:
    parameter = space.parameters[key]
    values = [trial.config[key] for trial in equal.trials]
    if parameter.kind != "choice":
        places = [position_in(parameter, value) or 0.0 for value in values]
        return Axis(safe_text(key), places, [(0.0, value_text(parameter.low)), (1.0, value_text(parameter.high))])
    gaps = max(1, len(parameter.values) - 1)
    ticks = [(index / gaps, safe_text(value_text(value))) for index, value in enumerate(parameter.values)]
    return Axis(safe_text(key), [parameter.values.index(value) / gaps for value in values], ticks)


def _score_axis(equal: EqualEpoch, metric: Metric) -> Axis:
    low, high = min(equal.scores), max(equal.scores)
    places = [(score - low) / (high - low) if high > low else 0.5 for score in equal.scores]
    ticks = [(0.0, score_text(metric, low)), (1.0, score_text(metric, high))]
    return Axis(f"{metric.title}, epoch {equal.epoch}", places, ticks)


def _lines(
    parallel: ParallelCoordinates, members: Sequence[int], style: dict[str, Any], colour: str, width: float
) -> Trace:
    xs: list[Any] = []
    ys: list[Any] = []
    numbers: list[int] = []
    for member in members:
        xs += [*range(len(parallel.axes)), None]
        ys += [*(axis.places[member] for axis in parallel.axes), None]
        numbers += [parallel.numbers[member]] * (len(parallel.axes) + 1)
    return {
        "type": "scatter", "mode": "lines", "x": xs, "y": ys, "connectgaps": False, **style,
        "line": {"color": colour, "width": width}, "meta": "trials", "customdata": numbers,
        "hovertemplate": "%{hovertext}<extra></extra>",
    }  # fmt: skip
