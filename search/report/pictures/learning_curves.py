"""The validation score by epoch: one line per trial, dotted lines at the rungs, a cross where a trial was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from model.metrics import Metric
from search.analysis.tables import stop_of
from search.report.data import ReportData
from search.report.pictures.style import (
    STATUS_COLOURS,
    Figure,
    Picture,
    Trace,
    metric_layout,
    single,
    trial_points,
    values_of,
)
from search.study.record import TrialRecord

MANY_TRIALS = 60
"""From here on, lines are thinner."""


class LearningCurves(NamedTuple):
    """The trials that have a score."""

    trials: list[TrialRecord]
    winner_number: int | None
    rung_epochs: tuple[int, ...]
    metric: Metric


def picture(data: ReportData) -> Picture | None:
    """None before the first epoch has ended."""
    scored = [trial for trial in data.trials if trial.scores]
    if not scored:
        return None
    rungs = tuple(rung.epoch for rung in data.rungs)
    figure = draw(LearningCurves(scored, data.winner_number, rungs, data.run.metric))
    return single("curves", "Learning curves", _sentence(data, rungs), figure, height=440)


def draw(curves: LearningCurves) -> Figure:
    """The figure."""
    others = [trial for trial in curves.trials if trial.number != curves.winner_number]
    traces = []
    for status, colour in STATUS_COLOURS.items():
        members = [trial for trial in others if trial.status == status]
        if members:
            traces.append(
                _lines(curves.metric, status, members, colour, width=1.2 if len(members) < MANY_TRIALS else 0.7)
            )
    if stopped := [trial for trial in curves.trials if stop_of(trial) is not None]:
        traces.append(_stops(curves.metric, stopped))
    if winner := [trial for trial in curves.trials if trial.number == curves.winner_number]:
        traces.append(_lines(curves.metric, "the winner", winner, "--winner", width=3))
    layout = metric_layout(curves.metric, "epoch", "validation")
    layout["shapes"] = [
        {
            "type": "line", "x0": epoch, "x1": epoch, "y0": 0, "y1": 1, "yref": "paper", "layer": "below",
            "line": {"color": "--muted", "width": 1, "dash": "dot"},
        }
        for epoch in curves.rung_epochs
    ]  # fmt: skip
    return {"data": traces, "layout": layout}


def _sentence(data: ReportData, rungs: tuple[int, ...]) -> str:
    words = (
        f"Validation {data.run.metric.title} after every epoch, one line per trial. Point at a line to see its config. "
    )
    if not rungs:
        return words + "There are no rungs, so no trial was stopped early."
    at = f"Dotted lines are the rungs (epoch {', '.join(map(str, rungs))})"
    share = f"the best 1 in {data.reduction_factor} of those that had reached it"
    if data.run.settings.scheduler == "asha":
        return f"{words}{at}: a trial continued past a rung only if it was among {share}."
    return (
        f"{words}{at}: a trial went on past a rung if it was among {share}, or as a check of the rungs. It then "
        "started anew with a longer training, whose line begins after the gap."
    )


def _lines(metric: Metric, name: str, trials: Sequence[TrialRecord], colour: str, *, width: float) -> Trace:
    """Many lines in one trace with a gap between trainings: hundreds of traces would be slow to draw."""
    xs: list[int | None] = []
    ys: list[float | None] = []
    numbers: list[int] = []
    for trial in trials:
        for epoch, score in trial.scores.items():
            is_new_training = trial.epochs_spent_on(epoch) > 1
            xs += [None, epoch] if is_new_training else [epoch]
            ys += [None, metric.value(score)] if is_new_training else [metric.value(score)]
        xs.append(None)
        ys.append(None)
        numbers += [trial.number] * (len(xs) - len(numbers))
    are_points = all(len(trial.scores) == 1 for trial in trials)
    return {
        "type": "scatter", "mode": "lines+markers" if are_points else "lines",
        "name": name, "x": xs, "y": ys, "connectgaps": False, "line": {"color": colour, "width": width},
        "meta": "trials", "customdata": numbers,
        "hovertemplate": f"epoch %{{x}}: %{{y:{'.2%' if metric.is_percent else '.4f'}}}<br>"
        "%{hovertext}<extra></extra>",
    }  # fmt: skip


def _stops(metric: Metric, trials: Sequence[TrialRecord]) -> Trace:
    xs, ys = [trial.epochs_trained for trial in trials], values_of(metric, [trial.last_score for trial in trials])
    trace = trial_points("stopped here", trials, xs, ys, "--stopped", opacity=1)
    return {**trace, "marker": {"color": "--stopped", "size": 6, "symbol": "x-thin-open"}}
