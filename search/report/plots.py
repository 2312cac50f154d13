"""The report's pictures of the search: plotly figures as plain dicts, made from plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.report.data import BestSoFar
from search.report.plot_style import STATUS_COLOURS, Figure, Trace, base_layout, safe_text, trial_points
from search.report.trials import TrialView, WorkerSpan
from search.space.parameter import Parameter
from search.text import value_text


def learning_curves(trials: Sequence[TrialView], rung_epochs: Sequence[int]) -> Figure:
    """Validation accuracy by epoch: a line a trial, dotted lines at the rungs, a cross where a trial was stopped."""
    traces = []
    for status, colour in STATUS_COLOURS.items():
        members = [trial for trial in trials if trial.status == status and trial.scores and not trial.is_winner]
        if members:
            traces.append(_curves(status, members, colour, width=1.2 if len(members) < 60 else 0.7))
    stopped = [trial for trial in trials if trial.stop is not None]
    if stopped:
        traces.append(_ends("stopped here", stopped))
    traces += [_curves("the winner", [trial], "--winner", width=3) for trial in trials if trial.is_winner]
    layout = base_layout("epoch", "validation accuracy")
    layout["yaxis"]["tickformat"] = "~%"
    layout["shapes"] = [
        {
            "type": "line", "x0": epoch, "x1": epoch, "y0": 0, "y1": 1, "yref": "paper", "layer": "below",
            "line": {"color": "--muted", "width": 1, "dash": "dot"},
        }
        for epoch in rung_epochs
    ]  # fmt: skip
    return {"data": traces, "layout": layout}


def best_so_far(curve: BestSoFar, *, unit: str, scale: float) -> Figure:
    """Best validation accuracy against a cost, divided by `scale` to be in `unit`, over the band of random orders."""
    band = curve.band
    grid = [cost / scale for cost in band.costs]
    common = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    traces: list[Trace] = [
        {**common, "x": grid, "y": list(band.low), "line": {"width": 0}, "showlegend": False},
        {
            **common, "x": grid, "y": list(band.high), "line": {"width": 0}, "fill": "tonexty",
            "fillcolor": "--band", "name": "80 % of orders",
        },
        {
            "type": "scatter", "mode": "lines", "x": grid, "y": list(band.mean), "name": "random order",
            "line": {"color": "--muted", "width": 1.5, "dash": "dash"},
        },
        {
            "type": "scatter", "mode": "lines", "x": [cost / scale for cost in curve.costs], "y": curve.best,
            "name": "this search", "line": {"color": "--winner", "width": 2.5, "shape": "hv"},
        },
    ]  # fmt: skip
    layout = base_layout(unit, "best accuracy so far")
    layout["yaxis"]["tickformat"] = "~%"
    return {"data": traces, "layout": layout}


def importance_bars(shares: Mapping[str, float], num: int) -> Figure:
    """The `num` largest shares as bars, the largest on top."""
    names = list(shares)[:num][::-1]
    values = [shares[name] for name in names]
    trace = {
        "type": "bar", "orientation": "h", "x": values, "y": [safe_text(name) for name in names],
        "marker": {"color": "--winner"}, "text": [f"{100 * value:.0f} %" for value in values],
        "textposition": "outside", "cliponaxis": False, "hoverinfo": "skip",
    }  # fmt: skip
    layout = base_layout("share", "")
    layout["xaxis"] |= {"tickformat": "~%", "rangemode": "tozero"}
    layout["yaxis"] |= {"automargin": True, "showgrid": False}
    layout["margin"] |= {"r": 48, "t": 8}
    layout["showlegend"] = False
    return {"data": [trace], "layout": layout}


def slice_plot(key: str, parameter: Parameter, trials: Sequence[TrialView], scores: Sequence[float]) -> Figure:
    """Score against one parameter's value, a point a trial."""
    values = [trial.config[key] for trial in trials]
    layout = base_layout(safe_text(key), "")
    layout["yaxis"] |= {"tickformat": "~%"}
    if parameter.kind == "choice":
        values = [safe_text(value_text(value)) for value in values]
        order = [safe_text(value_text(value)) for value in parameter.values]
        layout["xaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": order}
    else:
        layout["xaxis"] |= _range_ticks(parameter)
    layout["margin"] |= {"t": 8, "r": 16}
    layout["showlegend"] = False
    return {"data": [trial_points("trials", trials, values, scores, "--winner", opacity=0.65)], "layout": layout}


def _range_ticks(parameter: Parameter) -> dict[str, Any]:
    """Both bounds and, on a logarithmic axis, their geometric mean; plotly's own crowd a small picture."""
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


def cost_front(
    trials: Sequence[TrialView], front: Sequence[TrialView], costs: Mapping[int, float], *, unit: str
) -> Figure:
    """Last validation accuracy against a cost by trial number, the front as a line; stopped trials are faint."""
    groups = [
        ("ended early", [trial for trial in trials if trial.status != "completed"], "--stopped", 0.5),
        ("full length", [trial for trial in trials if trial.status == "completed"], "--completed", 0.9),
        ("the winner", [trial for trial in trials if trial.is_winner], "--winner", 1.0),
    ]
    traces = []
    for name, members, colour, opacity in groups:
        if members:
            xs, ys = [costs[trial.number] for trial in members], [trial.last_score for trial in members]
            traces.append(trial_points(name, members, xs, ys, colour, opacity=opacity))
    if groups[2][1]:
        traces[-1]["marker"] |= {"size": 13, "symbol": "diamond"}
    if len(front) > 1:
        traces.append({
            "type": "scatter", "mode": "lines", "name": "front", "x": [costs[trial.number] for trial in front],
            "y": [trial.last_score for trial in front], "line": {"color": "--winner", "width": 1.5, "dash": "dot"},
            "hoverinfo": "skip",
        })  # fmt: skip
    layout = base_layout(unit, "last validation accuracy")
    layout["yaxis"]["tickformat"] = "~%"
    return {"data": traces, "layout": layout}


def worker_timeline(spans: Sequence[WorkerSpan]) -> Figure:
    """When each trial ran: a bar a trial, a row a worker, coloured by how it ended."""
    scale, unit = (3600, "hours") if max(span.end_s for span in spans) > 7200 else (60, "minutes")
    traces = []
    for status, colour in STATUS_COLOURS.items():
        members = [span for span in spans if span.status == status]
        if members:
            traces.append({
                "type": "bar", "orientation": "h", "name": status, "y": [span.lane + 1 for span in members],
                "base": [span.start_s / scale for span in members],
                "x": [(span.end_s - span.start_s) / scale for span in members],
                "marker": {"color": colour, "line": {"color": "--surface", "width": 1}},
                "meta": "trials", "customdata": [span.trial_number for span in members],
                "hovertemplate": "%{hovertext}<extra></extra>",
            })  # fmt: skip
    layout = base_layout(f"{unit} since the first trial", "worker")
    layout["yaxis"] |= {"dtick": 1, "showgrid": False, "autorange": "reversed"}
    layout |= {"barmode": "overlay", "bargap": 0.25}
    return {"data": traces, "layout": layout}


def _curves(name: str, trials: Sequence[TrialView], colour: str, *, width: float) -> Trace:
    """Many lines in one trace, a gap between trials: hundreds of traces would be slow to draw."""
    xs: list[int | None] = []
    ys: list[float | None] = []
    numbers: list[int] = []
    for trial in trials:
        xs += [*trial.scores, None]
        ys += [*trial.scores.values(), None]
        numbers += [trial.number] * (len(trial.scores) + 1)
    return {
        "type": "scatter", "mode": "lines+markers" if max(map(len, (t.scores for t in trials))) == 1 else "lines",
        "name": name, "x": xs, "y": ys, "connectgaps": False, "line": {"color": colour, "width": width},
        "meta": "trials", "customdata": numbers,
        "hovertemplate": "epoch %{x}: %{y:.2%}<br>%{hovertext}<extra></extra>",
    }  # fmt: skip


def _ends(name: str, trials: Sequence[TrialView]) -> Trace:
    xs, ys = [trial.epochs_trained for trial in trials], [trial.last_score for trial in trials]
    trace = trial_points(name, trials, xs, ys, "--stopped", opacity=1)
    return {**trace, "marker": {"color": "--stopped", "size": 6, "symbol": "x-thin-open"}}
