"""Numbers as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from model.metrics import METRICS
from search.text import duration, gain_text, percent, score_text, size_text, value_text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.4, "0 s"), (12, "12 s"), (200, "3 min 20 s"), (3720.4, "1 h 02 min")]
)
def test_durations_read_well(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_percentages_read_well() -> None:
    assert (percent(None), percent(0.8312)) == ("-", "83.12 %")


def test_fractions_and_sizes_read_well() -> None:
    assert (percent(0.831), percent(None)) == ("83.10 %", "-")
    assert (size_text(31e6), size_text(1.25e9)) == ("31 MB", "1.2 GB")


@pytest.mark.parametrize(
    ("name", "score", "gain", "texts"),
    [
        ("accuracy", 0.831, -0.5, ("83.10 %", "-50.00 points")),
        ("balanced_accuracy", 0.831, 0.012, ("83.10 % (accuracy 90.00 %)", "+1.20 points")),
        ("auc", 0.831, 0.012, ("0.8310 (accuracy 90.00 %)", "+0.0120")),
        ("log_loss", -0.831, 0.012, ("0.8310 (accuracy 90.00 %)", "+0.0120")),
        ("log_loss", None, -0.012, ("-", "-0.0120")),
    ],
)
def test_scores_are_told_as_the_metrics_own_value_and_gains_as_better_or_worse(
    name: str, score: float | None, gain: float, texts: tuple[str, str]
) -> None:
    metric = METRICS[name]
    assert (score_text(metric, score, 0.9), gain_text(metric, gain)) == texts


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (0.123456, "0.1235"), (1e-5, "1e-05"), ("relu", "relu"), (7, "7")]
)
def test_values_are_written_as_in_toml(value: Any, text: str) -> None:
    assert value_text(value) == text
