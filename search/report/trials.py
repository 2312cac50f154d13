"""Trials as the report shows them: their curves, their stops, when and where they ran; plain values."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from operator import itemgetter
from typing import Any

from search.study.record import RungDecision, TrialRecord, TrialStatus
from search.text import percent, value_text

LABEL_WIDTH = 62
"""Characters a line of a hover label has room for."""
LANE_TOLERANCE_S = 2.0
"""An epoch is recorded a little after it ended, so that trials of one worker seem to overlap."""


@dataclass(frozen=True, kw_only=True)
class TrialView:
    """One trial. Accuracies are validation accuracies, fractions 0..1."""

    number: int
    status: str
    origin: str
    is_winner: bool
    config: Mapping[str, Any]
    scores: Mapping[int, float]
    """By epoch."""
    stop: RungDecision | None
    error: str | None
    num_params: int | None
    images_per_s: float | None
    """Training speed, mean over epochs."""
    label: str
    """What a pointer over it tells, in the little HTML that plotly knows, escaped."""

    @property
    def epochs_trained(self) -> int:
        return max(self.scores, default=0)

    @property
    def last_score(self) -> float | None:
        return self.scores.get(self.epochs_trained)


@dataclass(frozen=True, kw_only=True)
class WorkerSpan:
    """A trial's stay on a worker, in seconds since the first trial's start."""

    trial_number: int
    status: str
    lane: int
    """Workers that run at the same time are in different lanes, from 0."""
    start_s: float
    end_s: float


def trial_views(records: Sequence[TrialRecord], *, searched: Sequence[str], winner: int | None) -> list[TrialView]:
    """All trials that were given to a worker, by number; `searched` keys are told in the labels."""
    return [
        _view(record, searched, is_winner=record.number == winner)
        for record in records
        if record.status is not TrialStatus.REJECTED
    ]


def worker_spans(records: Sequence[TrialRecord]) -> list[WorkerSpan]:
    """When each trial ran, on as few lanes as there were workers at a time."""
    stays = _sorted_stays(records)
    if not stays:
        return []
    origin = stays[0][0]
    lane_ends: list[float] = []
    spans = []
    for start, end, record in stays:
        free = [lane for lane, lane_end in enumerate(lane_ends) if lane_end <= start + LANE_TOLERANCE_S]
        lane = free[0] if free else len(lane_ends)
        lane_ends[lane : lane + 1] = [end]  # appends where the lane is new
        spans.append(
            WorkerSpan(
                trial_number=record.number,
                status=record.status.value,
                lane=lane,
                start_s=start - origin,
                end_s=end - origin,
            )
        )
    return spans


def _view(record: TrialRecord, searched: Sequence[str], *, is_winner: bool) -> TrialView:
    speeds = [metrics["images_per_s"] for metrics in record.epoch_metrics.values() if "images_per_s" in metrics]
    stop = record.rungs[-1] if record.status is TrialStatus.STOPPED and record.rungs else None
    return TrialView(
        number=record.number,
        status=record.status.value,
        origin=record.origin,
        is_winner=is_winner,
        config=record.config,
        scores=record.val_accuracies,
        stop=stop,
        error=record.error,
        num_params=record.profile.get("num_params"),
        images_per_s=sum(speeds) / len(speeds) if speeds else None,
        label=_label(record, searched, is_winner=is_winner),
    )


def _label(record: TrialRecord, searched: Sequence[str], *, is_winner: bool) -> str:
    title = f"trial {record.number} ({record.origin}), {record.status} after {record.epochs_trained} epochs"
    if is_winner:
        title += ", the winner"
    lines = [f"<b>{escape(title, quote=False)}</b>"]
    if record.val_accuracies:
        lines.append(f"validation accuracy {percent(record.val_accuracies[record.epochs_trained])}")
    values = " · ".join(
        f"{key} {value_text(record.config[key])}".replace(" ", "\u00a0") for key in searched if key in record.config
    )
    return "<br>".join(
        [*lines, *(escape(line, quote=False) for line in textwrap.wrap(values, LABEL_WIDTH, break_on_hyphens=False))]
    )


def _sorted_stays(records: Sequence[TrialRecord]) -> list[tuple[float, float, TrialRecord]]:
    """Start and end (Unix time) of each trial's stays on each worker, in order of the start.

    A stay ends where the worker takes another trial; the first may come back later.
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
