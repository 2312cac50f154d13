"""Many searches in a table and a picture; plain values in, text and a figure out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search_quality.measure import REGRET_BUDGETS, Outcome, censored

Outcomes = Mapping[str, Mapping[str, Sequence[Outcome]]]
"""Problem -> search -> one outcome a seed."""


def summarise(outcomes: Outcomes, *, ours: str, patience: float) -> dict[str, Any]:
    """Median and 90 % interval of each search on each problem, and how often ours needs less than each rival.

    A search that did not find counts as `patience`. `times_less`: of each rival, the geometric mean over the problems
    of its median by ours; `paired`: the same of the seeds one by one. The best rival is the one with the lowest median.
    """
    lengths = {
        problem: {name: np.array(censored(runs, patience)) for name, runs in searches.items()}
        for problem, searches in outcomes.items()
    }
    rivals = [name for name in next(iter(outcomes.values())) if name != ours]
    return {
        "problems": {
            problem: {name: _row(outcomes[problem][name], values) for name, values in searches.items()}
            for problem, searches in lengths.items()
        },
        "times_less": {
            name: _mean_ratio([np.median(own[name]) / np.median(own[ours]) for own in lengths.values()])
            for name in rivals
        },
        "paired": {
            name: _mean_ratio([_mean_ratio(own[name] / own[ours]) for own in lengths.values()]) for name in rivals
        },
        "best_rival": {
            problem: min(rivals, key=lambda name, own=own: float(np.median(own[name])))  # type: ignore[misc]
            for problem, own in lengths.items()
        },
        "times_less_than_best_rival": _mean_ratio(
            [min(np.median(own[name]) for name in rivals) / np.median(own[ours]) for own in lengths.values()]
        ),
    }


def text_table(summary: Mapping[str, Any]) -> str:
    """Lines for a terminal: a block for each problem, then the ratios."""
    lines = []
    for problem, rows in summary["problems"].items():
        lines.append(f"{problem}: full trainings until a top 1 % config is handed over")
        for name, row in sorted(rows.items(), key=lambda item: item[1]["median"]):
            regrets = ", ".join("-" if value is None else f"{value:.3g}" for value in row["regrets"])
            stays = row["stays_median"]
            lines.append(
                f"  {name:28} {row['median']:6.1f} ({row['low']:.1f} to {row['high']:.1f}), not found "
                f"{100 * row['not_found']:3.0f} %, stays found from {'-' if stays is None else f'{stays:.1f}'}, not "
                f"{100 * row['not_staying']:3.0f} %, regret {regrets}"
            )
    lines.append(
        f"regrets: medians after {', '.join(map(str, REGRET_BUDGETS))} full trainings, in units of best minus median"
    )
    lines.append("how many times less ours needs (of medians; of paired seeds; geometric means over the problems)")
    for name, ratio in summary["times_less"].items():
        lines.append(f"  {name:28} {ratio:6.2f} {summary['paired'][name]:6.2f}")
    lines.append(f"  {'the best rival of each':28} {summary['times_less_than_best_rival']:6.2f}")
    return "\n".join(lines)


def write_picture(path: Path, summary: Mapping[str, Any]) -> None:
    """An HTML page: median and 90 % interval of every search on every problem, on a logarithmic scale."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    problems = summary["problems"]
    figure = make_subplots(rows=len(problems), cols=1, subplot_titles=list(problems), shared_xaxes=True)
    for index, rows in enumerate(problems.values(), start=1):
        ordered = sorted(rows.items(), key=lambda item: -item[1]["median"])
        medians = [row["median"] for _, row in ordered]
        interval = {
            "type": "data",
            "array": [row["high"] - row["median"] for _, row in ordered],
            "arrayminus": [row["median"] - row["low"] for _, row in ordered],
        }
        names = [name for name, _ in ordered]
        points = go.Scatter(x=medians, y=names, mode="markers", error_x=interval, showlegend=False)
        figure.add_trace(points, row=index, col=1)
    figure.update_xaxes(type="log", title_text="full trainings until a top 1 % config is handed over")
    figure.update_layout(height=60 + 40 * sum(len(rows) for rows in problems.values()))
    figure.write_html(path)


def _row(runs: Sequence[Outcome], values: np.ndarray[Any, Any]) -> dict[str, Any]:
    stays = [math.inf if run.stays_found_after is None else run.stays_found_after for run in runs]
    median_stays = float(np.median(stays))
    regrets = zip(*(run.regrets for run in runs), strict=True)
    return {
        "median": float(np.median(values)),
        "low": float(np.quantile(values, 0.05)),
        "high": float(np.quantile(values, 0.95)),
        "not_found": sum(run.found_after is None for run in runs) / len(runs),
        "stays_median": median_stays if math.isfinite(median_stays) else None,
        "not_staying": sum(run.stays_found_after is None for run in runs) / len(runs),
        "regrets": [None if None in column else float(np.median(column)) for column in regrets],
    }


def _mean_ratio(ratios: Any) -> float:
    return float(np.exp(np.mean(np.log(ratios))))
