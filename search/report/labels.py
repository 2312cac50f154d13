"""Hover labels of trials, in the HTML that plotly renders."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from model.metrics import Metric
from search.report.pictures.style import safe_text
from search.study.record import TrialRecord
from search.text import score_text, value_text

LABEL_WIDTH = 62
"""Characters per line."""


def trial_labels(
    trials: Sequence[TrialRecord], keys: Sequence[str], winner_number: int | None, metric: Metric
) -> dict[str, str]:
    """The label of each trial by number: its end, its score and the values of `keys`; escaped."""
    return {str(trial.number): _label(trial, keys, metric, is_winner=trial.number == winner_number) for trial in trials}


def _label(trial: TrialRecord, keys: Sequence[str], metric: Metric, *, is_winner: bool) -> str:
    title = f"trial {trial.number} ({trial.origin}), {trial.status} after {trial.epochs_trained} epochs"
    lines = [f"<b>{safe_text(title + (', the winner' if is_winner else ''))}</b>"]
    if trial.last_score is not None:
        lines.append(f"validation {metric.title} {score_text(metric, trial.last_score, trial.last_accuracy)}")
    values = " · ".join(
        f"{key} {value_text(trial.config[key])}".replace(" ", "\u00a0") for key in keys if key in trial.config
    )
    lines += [safe_text(line) for line in textwrap.wrap(values, LABEL_WIDTH, break_on_hyphens=False)]
    return "<br>".join(lines)
