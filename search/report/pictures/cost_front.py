"""Last validation score over the size and the speed of the network, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from model.metrics import Metric
from search.report.data import ReportData
from search.report.pictures.style import Figure, Picture, Trace, metric_layout, single, trial_points, values_of
from search.study.record import TrialRecord


class CostFront(NamedTuple):
    """Trials with a score, and the value of each on the horizontal axis."""

    trials: list[TrialRecord]
    values: list[float]
    unit: str
    front: list[int]
    """Indices of the full-length trials that no other beats in both, by rising cost."""
    winner_number: int | None
    metric: Metric


def against_size(data: ReportData) -> Picture | None:
    """None without a trial that has a score."""
    sizes = [trial.profile.get("num_params") for trial in data.trials]
    info = _info(data, sizes, "parameters", is_cost=True)
    if info is None:
        return None
    sentence = (
        f"Last validation {info.metric.title} over the number of parameters. The dotted line is the Pareto front of "
        "the full-length trials. Trials that ended early were measured at an earlier epoch."
    )
    return single("params", _title(info, "size"), sentence, draw(info), height=340, is_half=True)


def against_speed(data: ReportData) -> Picture | None:
    """None without a trial that has a score."""
    speeds = [trial.mean_images_per_s for trial in data.trials]
    info = _info(data, speeds, "images a second", is_cost=False)
    if info is None:
        return None
    sentence = "The same over the training speed of the trial, measured while other trials ran on this machine."
    return single("speed", _title(info, "speed"), sentence, draw(info), height=340, is_half=True)


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Indices of the points that no other beats in both, lower cost and higher score; by rising cost."""
    chosen: list[int] = []
    for index in sorted(range(len(costs)), key=lambda index: (costs[index], -scores[index])):
        if not chosen or scores[index] > scores[chosen[-1]]:
            chosen.append(index)
    return chosen


def draw(info: CostFront) -> Figure:
    """The figure; trials that ended early are faint."""
    numbered = list(enumerate(info.trials))
    full = [index for index, trial in numbered if trial.status == "completed"]
    early = [index for index, trial in numbered if trial.status != "completed"]
    winner = [index for index, trial in numbered if trial.number == info.winner_number]
    traces = [
        _points(info, "ended early", early, "--stopped", 0.5),
        _points(info, "full length", full, "--completed", 0.9),
        _points(info, "the winner", winner, "--winner", 1.0),
    ]
    traces[2]["marker"] |= {"size": 13, "symbol": "diamond"}
    if len(info.front) > 1:
        traces.append({
            "type": "scatter", "mode": "lines", "name": "front", "x": [info.values[index] for index in info.front],
            "y": values_of(info.metric, [info.trials[index].last_score for index in info.front]),
            "line": {"color": "--winner", "width": 1.5, "dash": "dot"}, "hoverinfo": "skip",
        })  # fmt: skip
    layout = metric_layout(info.metric, info.unit, "last validation")
    return {"data": [trace for trace in traces if trace["x"]], "layout": layout}


def _info(data: ReportData, values: Sequence[float | None], unit: str, *, is_cost: bool) -> CostFront | None:
    pairs = [
        (trial, float(value))
        for trial, value in zip(data.trials, values, strict=True)
        if trial.last_score is not None and value is not None
    ]
    if not pairs:
        return None
    full = [index for index, (trial, _) in enumerate(pairs) if trial.status == "completed"]
    sign = 1 if is_cost else -1
    front = pareto_front(
        [sign * pairs[index][1] for index in full], [pairs[index][0].last_score or 0 for index in full]
    )
    return CostFront(
        trials=[trial for trial, _ in pairs],
        values=[value for _, value in pairs],
        unit=unit,
        front=[full[index] for index in front],
        winner_number=data.winner_number,
        metric=data.run.metric,
    )


def _title(info: CostFront, other: str) -> str:
    return f"{info.metric.title[0].upper()}{info.metric.title[1:]} against {other}"


def _points(info: CostFront, name: str, members: Sequence[int], colour: str, opacity: float) -> Trace:
    trials = [info.trials[index] for index in members]
    xs = [info.values[index] for index in members]
    ys = values_of(info.metric, [trial.last_score for trial in trials])
    return trial_points(name, trials, xs, ys, colour, opacity=opacity)
