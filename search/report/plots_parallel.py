"""Parallel coordinates of trials, drawn as plain lines: plotly's own need WebGL, which not every browser has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search.report.data import EqualEpoch
from search.report.plot_style import Figure, Trace, base_layout, safe_text
from search.report.winner import position_in
from search.space.space import SearchSpace
from search.text import percent, value_text

MAX_BEST = 20
"""Of many trials a quarter would hide everything behind it."""


@dataclass(frozen=True)
class _Axis:
    name: str
    places: list[float]
    """Of each trial, 0 (bottom) to 1 (top)."""
    ticks: list[tuple[float, str]]


def parallel_coordinates(equal: EqualEpoch, space: SearchSpace, keys: Sequence[str]) -> Figure:
    """A line a trial over the given keys and its score; the best stand out, the winner most."""
    axes = [_parameter_axis(equal, space, key) for key in keys] + [_score_axis(equal)]
    order = sorted(range(len(equal.scores)), key=lambda index: -equal.scores[index])
    num_best = min(-(-len(order) // 4), MAX_BEST)
    best = [index for index in order[:num_best] if not equal.trials[index].is_winner]
    rest = [index for index in order[num_best:] if not equal.trials[index].is_winner]
    winner = [index for index in order if equal.trials[index].is_winner]
    traces = [
        _lines("the others", rest, axes, equal, "--stopped", width=0.8, opacity=0.45),
        _lines(f"the best {num_best}", best, axes, equal, "--completed", width=1.5, opacity=0.9),
        _lines("the winner", winner, axes, equal, "--winner", width=3, opacity=1),
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


def _parameter_axis(equal: EqualEpoch, space: SearchSpace, key: str) -> _Axis:
    parameter = space.parameters[key]
    values = [trial.config[key] for trial in equal.trials]
    if parameter.kind != "choice":
        places = [position_in(parameter, value) or 0.0 for value in values]
        return _Axis(safe_text(key), places, [(0.0, value_text(parameter.low)), (1.0, value_text(parameter.high))])
    gaps = max(1, len(parameter.values) - 1)
    ticks = [(index / gaps, safe_text(value_text(value))) for index, value in enumerate(parameter.values)]
    return _Axis(safe_text(key), [parameter.values.index(value) / gaps for value in values], ticks)


def _score_axis(equal: EqualEpoch) -> _Axis:
    low, high = min(equal.scores), max(equal.scores)
    places = [(score - low) / (high - low) if high > low else 0.5 for score in equal.scores]
    return _Axis(f"accuracy, epoch {equal.epoch}", places, [(0.0, percent(low)), (1.0, percent(high))])


def _lines(
    name: str, members: Sequence[int], axes: Sequence[_Axis], equal: EqualEpoch, colour: str, *, width: float,
    opacity: float,
) -> Trace:  # fmt: skip
    xs: list[Any] = []
    ys: list[Any] = []
    numbers: list[int] = []
    for member in members:
        xs += [*range(len(axes)), None]
        ys += [*(axis.places[member] for axis in axes), None]
        numbers += [equal.trials[member].number] * (len(axes) + 1)
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": xs, "y": ys, "connectgaps": False, "opacity": opacity,
        "line": {"color": colour, "width": width}, "meta": "trials", "customdata": numbers,
        "hovertemplate": "%{hovertext}<extra></extra>",
    }  # fmt: skip
