"""When each trial ran, on which worker."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from search.report.data import ReportData
from search.report.pictures.style import STATUS_COLOURS, Figure, Picture, base_layout, single
from search.study.record import TrialRecord

LANE_TOLERANCE_S = 2.0
"""An epoch is recorded shortly after its end, so consecutive trials of one worker may overlap by this much."""


class WorkerSpan(NamedTuple):
    """A trial's stay on a worker, in seconds since the first trial's start."""

    trial_number: int
    status: str
    lane: int
    """Workers that run at the same time are in different lanes, from 0."""
    start_s: float
    end_s: float


def picture(data: ReportData) -> Picture | None:
    """None before the first epoch has ended."""
    spans = worker_spans(data.trials)
    if not spans:
        return None
    lanes = 1 + max(span.lane for span in spans)
    sentence = (
        f"When each trial ran, on {lanes} worker{'s' if lanes > 1 else ''}. Point at a bar to see its trial. Gaps are "
        "starts, resumes and waiting for work."
    )
    return single("timeline", "Timeline of the workers", sentence, draw(spans), height=120 + 44 * lanes)


def worker_spans(records: Sequence[TrialRecord]) -> list[WorkerSpan]:
    """The stays of all trials, on as few lanes as there were workers at a time."""
    stays = _sorted_stays(records)
    lane_ends: list[float] = []
    spans = []
    for start, end, record in stays:
        free = [lane for lane, lane_end in enumerate(lane_ends) if lane_end <= start + LANE_TOLERANCE_S]
        lane = free[0] if free else len(lane_ends)
        lane_ends[lane : lane + 1] = [end]  # appends if the lane is new
        spans.append(WorkerSpan(record.number, record.status.value, lane, start - stays[0][0], end - stays[0][0]))
    return spans


def draw(spans: Sequence[WorkerSpan]) -> Figure:
    """One bar per stay, one row per worker, coloured by the trial's status."""
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


def _sorted_stays(records: Sequence[TrialRecord]) -> list[tuple[float, float, TrialRecord]]:
    """Start and end (Unix time) of each trial's stays on each worker, by start.

    A stay ends when the worker takes another trial; the first trial may come back later.
    """
    by_worker: dict[str, list[tuple[float, float, int]]] = {}
    for index, record in enumerate(records):
        for metrics in record.epoch_metrics.values():
            end = metrics["recorded_at"]
            epochs = by_worker.setdefault(metrics.get("worker") or f"of trial {record.number}", [])
            epochs.append((end - metrics.get("seconds", 0.0), end, index))
    stays = []
    for epochs in by_worker.values():
        for index, stay in groupby(sorted(epochs, key=itemgetter(1)), key=itemgetter(2)):
            times = list(stay)
            stays.append((min(start for start, _, _ in times), times[-1][1], records[index]))
    return sorted(stays, key=itemgetter(0, 1))
