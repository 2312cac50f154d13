"""Numbers as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from search.text import duration, percent, points, size_text, value_text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.4, "0 s"), (12, "12 s"), (200, "3 min 20 s"), (3720.4, "1 h 02 min")]
)
def test_durations_read_well(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_percentages_read_well() -> None:
    assert (percent(None), percent(0.8312)) == ("-", "83.12 %")


def test_fractions_and_sizes_read_well() -> None:
    assert (percent(0.831), percent(None), points(0.012), points(-0.5)) == (
        "83.10 %",
        "-",
        "+1.20 points",
        "-50.00 points",
    )
    assert (size_text(31e6), size_text(1.25e9)) == ("31 MB", "1.2 GB")


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (0.123456, "0.1235"), (1e-5, "1e-05"), ("relu", "relu"), (7, "7")]
)
def test_values_are_written_as_in_toml(value: Any, text: str) -> None:
    assert value_text(value) == text
