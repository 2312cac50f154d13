"""A run as the service shows it, read from the run's own folder and record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from model.metrics import Metric
from search.analysis.best_so_far import best_so_far
from search.analysis.results import Run
from search.analysis.verdict import ConfigResult
from search.schedulers.expected_epochs import expected_epochs
from search.schedulers.steering import Steering
from search.setup.given_trials import SEED_IMAGE_SIZE
from search.setup.run_lock import is_locked
from search.study.finals import RetrainPlan
from search.study.ranking import rank_trials
from search.study.record import TrialRecord, TrialStatus, num_ended
from search.study.study import EARLY_END_NOTE
from search.study.wishes import AskedWish
from search.text import score_text

NUM_CURVE_POINTS = 60
MAX_ROWS = 500
"""Trials in the table of a page; the API gives all."""
_FILES = ("run.toml", "study.db", "summary.md", "report.html")
"""What tells that a run wrote something. While a run whose record is elsewhere goes on, only the report does."""
_SHAPE = "4"
"""Of what `summarize` returns; raise it, and kept summaries are made again."""
_HELD = " held"


def signature(run_dir: Path) -> str:
    """Changes when the run writes something, begins or ends; empty for a folder without a run."""
    times = []
    for name in _FILES:
        try:
            times.append(str((run_dir / name).stat().st_mtime_ns))
        except OSError:
            times.append("-")
    return "" if times[0] == "-" else " ".join([_SHAPE, *times]) + (_HELD if is_locked(run_dir) else "")


def is_of_held(written: str) -> bool:
    """Whether a process worked on the run when `signature` gave this."""
    return written.endswith(_HELD)


def summarize(run: Run) -> dict[str, Any]:
    """What lists and the top of a run's page say, as JSON. Results are the metric's own values, times Unix times."""
    document, records, metric = run.document, run.records, run.metric
    started = [record for record in records if record.status is not TrialStatus.REJECTED]
    ranked, curve, winner = rank_trials(records), best_so_far(records), run.result.winner
    counts = Counter(str(record.status) for record in records)
    return {
        "dataset": document.data.name,
        "created": datetime.fromisoformat(document.created).timestamp(),
        "num_trials": document.settings.num_trials,
        "num_started": len(started),
        "trials": dict(sorted(counts.items())),
        "epochs": sum(record.epochs_spent for record in records),
        "num_retrained": len(run.retrain_records),
        "metric": metric.name,
        "best_validation": None if not ranked else _value(metric, ranked[0].last_score),
        "best_trial": None if not ranked else ranked[0].number,
        "curve": [] if curve is None else _thinned([metric.value(score) for score in curve.scores]),
        **({} if winner is None else _test_results(winner, metric)),
        "verdict": run.result.verdict,
        "warnings": run.warnings,
        "forecast_s": (document.forecast or {}).get("wall_s"),
        "seconds_left": _seconds_left(run),
        "time_budget_s": document.settings.time_budget_s,
        "steering": run.steering,
        "rows": [_row(record, metric) for record in started[:MAX_ROWS]],
        "wishes": [_wish(asked) for asked in run.wishes],
    }


def _test_results(winner: ConfigResult, metric: Metric) -> dict[str, Any]:
    ends = winner.images_interval or (winner.test.low, winner.test.high)
    interval = None if None in ends else sorted(_value(metric, end) or 0.0 for end in ends)
    return {
        "test_result": metric.value(winner.test.mean),
        "test_interval": interval,
        "test_accuracy": winner.accuracy,
    }


def _wish(asked: AskedWish) -> dict[str, Any]:
    answer = None
    if asked.answer is not None:
        answer = "done" if asked.answer.is_done else f"not done: {asked.answer.text}"
    return {"words": asked.wish.words, "by": asked.by, "at": asked.at, "answer": answer}


def _row(record: TrialRecord, metric: Metric) -> dict[str, Any]:
    """A trial as the page's table shows it."""
    is_open, note = record.status is TrialStatus.INTERRUPTED, record.error or ""
    status = "running" if is_open else str(record.status)
    if record.rungs and record.rungs[-1].epoch == record.epochs_trained:
        rung = record.rungs[-1]
        if record.status is TrialStatus.STOPPED and rung.cutoff is not None:
            note = f"worse than the cutoff {score_text(metric, rung.cutoff)} at epoch {rung.epoch}"
        elif is_open:
            status = f"at the rung of epoch {rung.epoch}"
    return {
        "number": record.number, "status": status, "epochs": record.epochs_trained,
        "result": score_text(metric, record.last_score, record.last_accuracy),
        "num_params": record.profile.get("num_params"), "note": note,
    }  # fmt: skip


def of_now(summary: Mapping[str, Any], state: str, started: float | None) -> dict[str, Any]:
    """What holds only while a run goes on: the time left, which its budget may cut short, and how it is steered."""
    if state != "running":
        return {"seconds_left": None, "steering": None}
    left, budget = summary.get("seconds_left"), summary.get("time_budget_s")
    was_paused = any("pause" in wish["words"] for wish in summary.get("wishes", ()))  # that time is not counted
    if left is None or budget is None or started is None or was_paused:
        return {}
    return {"seconds_left": min(left, max(0.0, started + budget - time.time()))}


def unreadable(error: Exception) -> dict[str, Any]:
    """The summary of a run that cannot be read, such as one of another version."""
    return {"state": "unreadable", "verdict": (str(error) or type(error).__name__).splitlines()[0]}


def _value(metric: Metric, score: float | None) -> float | None:
    return None if score is None else metric.value(score)


def _thinned(scores: Sequence[float]) -> list[float]:
    step = max(1, -(-len(scores) // NUM_CURVE_POINTS))
    return [round(score, 4) for score in (*scores[:-1:step], scores[-1])]


def _seconds_left(run: Run) -> float | None:
    """Time until the last retraining has ended, at the pace of all epochs so far; None before one has ended and while
    the run is paused."""
    settings, retrains, num_slots = run.settings, run.retrain_records, run.document.slots.num_concurrent
    steering = Steering.of(settings, run.wishes, num_slots=num_slots)
    spent = sum(record.epochs_spent for record in run.records)
    trained = spent + sum(retrain.epochs_trained for retrain in retrains)
    if trained == 0 or steering.is_paused:
        return None
    seconds = sum(record.seconds for record in run.records) + sum(retrain.seconds for retrain in retrains)
    # What was asked may have no note yet, and a search that its time has ended no wish.
    is_searched = steering.is_stopped or run.study.notes().get(EARLY_END_NOTE)
    is_searched = is_searched or num_ended(run.records) >= settings.num_trials
    left = 0.0 if is_searched else max(0.0, expected_epochs(settings, settings.num_trials) - spent)
    planned = RetrainPlan.of(settings).num_trainings(_num_baselines(run))
    left += settings.max_epochs * max(0, planned - len(retrains))
    return seconds / trained * left / (steering.num_slots or num_slots)


def _num_baselines(run: Run) -> int:
    """The space's default and, where it fits, the seed config."""
    has_seed_config = run.settings.network is None and run.image_size == SEED_IMAGE_SIZE
    return 1 + has_seed_config if run.settings.baseline else 0
