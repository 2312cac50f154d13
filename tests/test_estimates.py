"""Intervals and correlations, against numbers worked out by hand and formulas written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from search.estimates import (
    Difference,
    estimate_gain,
    estimate_mean,
    estimate_optimism,
    images_interval,
    paired_gain,
    proportion_interval,
    rank_correlation,
)


def test_mean_of_three_has_students_interval() -> None:
    estimate = estimate_mean([0.90, 0.92, 0.94])
    assert [estimate.mean, estimate.std, estimate.n] == pytest.approx([0.92, 0.02, 3])
    margin = 4.302653 * 0.02 / 3**0.5  # t of two degrees of freedom, from a table
    assert [estimate.low, estimate.high] == pytest.approx([0.92 - margin, 0.92 + margin], 1e-6)


def test_one_value_has_no_spread_and_no_interval() -> None:
    estimate = estimate_mean([0.9])
    assert (estimate.mean, estimate.std, estimate.n, estimate.low, estimate.high) == (0.9, None, 1, None, None)


def test_equal_values_have_an_interval_of_no_width() -> None:
    estimate = estimate_mean([0.9] * 3)
    assert (estimate.low, estimate.high) == (estimate.mean, estimate.mean)


def test_gain_has_welchs_interval() -> None:
    gain = estimate_gain([0.8, 0.9, 1.0], [0.4, 0.6])
    # Variances of the means 0.01 / 3 and 0.02 / 2; Welch's degrees of freedom 32 / 19.
    margin = stats.t.ppf(0.975, 32 / 19) * (0.01 / 3 + 0.01) ** 0.5
    assert gain.value == pytest.approx(0.4)
    assert [gain.low, gain.high] == pytest.approx([0.4 - margin, 0.4 + margin])


@pytest.mark.parametrize("seed", range(20))
def test_intervals_agree_with_the_formulas_written_out(seed: int) -> None:
    """To 12 digits, far more than is ever printed."""
    rng = np.random.default_rng(seed)
    values, reference = rng.uniform(0.8, 0.9, rng.integers(2, 6)), rng.uniform(0.7, 0.9, rng.integers(2, 6))
    estimate, gain = estimate_mean(values.tolist()), estimate_gain(values.tolist(), reference.tolist())
    margin = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    assert [estimate.low, estimate.high] == pytest.approx([values.mean() - margin, values.mean() + margin], rel=1e-12)
    parts = [side.var(ddof=1) / len(side) for side in (values, reference)]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(values) - 1) + parts[1] ** 2 / (len(reference) - 1))
    margin = stats.t.ppf(0.975, freedom) * np.sqrt(sum(parts))
    expected = values.mean() - reference.mean()
    assert [gain.low, gain.high] == pytest.approx([expected - margin, expected + margin], rel=1e-12, abs=1e-14)
    num_total = int(rng.integers(1, 10_000))
    num_right = int(rng.integers(0, num_total + 1))
    z, share = stats.norm.ppf(0.975), num_right / num_total
    scale = 1 + z**2 / num_total
    centre = (share + z**2 / (2 * num_total)) / scale
    margin = z / scale * np.sqrt(share * (1 - share) / num_total + z**2 / (4 * num_total**2))
    assert proportion_interval(num_right, num_total) == pytest.approx((centre - margin, centre + margin), abs=1e-12)
    ranks = [stats.rankdata(side) for side in (values[:2], reference[:2])]
    assert rank_correlation(values[:2].tolist(), reference[:2].tolist()) == pytest.approx(np.corrcoef(*ranks)[0, 1])


@pytest.mark.parametrize(("values", "reference"), [([0.9], [0.8]), ([0.9, 0.9], [0.8]), ([0.9], [0.8, 0.8])])
def test_gain_of_a_single_seed_has_no_interval(values: list[float], reference: list[float]) -> None:
    gain = estimate_gain(values, reference)
    assert gain.value == pytest.approx(0.1)
    assert (gain.low, gain.high, gain.is_clear) == (None, None, False)


def test_gain_without_spread_is_exact() -> None:
    gain = estimate_gain([0.75, 0.75], [0.5, 0.5])
    assert gain == Difference(value=0.25, low=0.25, high=0.25)
    assert gain.is_clear


@pytest.mark.filterwarnings("error")
def test_one_side_without_spread_has_the_interval_of_the_other() -> None:
    gain, spread = estimate_gain([0.9] * 3, [0.6, 0.7, 0.8]), estimate_mean([0.6, 0.7, 0.8])
    assert spread.low is not None
    assert spread.high is not None
    assert [gain.low, gain.high] == pytest.approx([0.9 - spread.high, 0.9 - spread.low])


def test_optimism_is_the_search_score_minus_the_fresh_mean() -> None:
    optimism = estimate_optimism(0.95, [0.90, 0.92, 0.94])
    margin = 4.302653 * 0.02 / 3**0.5
    assert optimism.value == pytest.approx(0.03)
    assert [optimism.low, optimism.high] == pytest.approx([0.03 - margin, 0.03 + margin], 1e-5)
    single = estimate_optimism(0.95, [0.9])
    assert single.value == pytest.approx(0.05)
    assert (single.low, single.high) == (None, None)


@pytest.mark.parametrize(
    ("num_right", "num_total", "expected"),
    [(8, 10, (0.490162, 0.943318)), (0, 10, (0.0, 0.277533)), (1, 1, (0.206549, 1.0))],
)
def test_proportion_has_wilsons_interval(num_right: int, num_total: int, expected: tuple[float, float]) -> None:
    assert proportion_interval(num_right, num_total) == pytest.approx(expected, abs=1e-6)


def test_gain_on_the_same_images_counts_where_the_two_differ() -> None:
    gain = paired_gain(0.5, np.array([0.25, 0.25, 0.25, -0.75]), np.array([0.75, -0.25, -0.25, -0.25]))
    # Right answers 1, 1, 1, 0 and 1, 0, 0, 0, so gains 0, 1, 1, 0: standard deviation sqrt(1 / 3).
    margin = 1.959964 * (1 / 3) ** 0.5 / 2
    assert [gain.low, gain.high] == pytest.approx([0.5 - margin, 0.5 + margin], 1e-6)
    assert paired_gain(1.0, np.zeros(1), np.zeros(1)) == Difference(value=1.0, low=None, high=None)
    assert paired_gain(0.0, np.ones(2), np.ones(2)) == Difference(value=0.0, low=0.0, high=0.0)


def test_a_score_has_the_interval_of_its_influences() -> None:
    influences = np.array([0.5, -0.5, 0.5, -0.5])
    margin = 1.959964 * (1 / 3) ** 0.5 / 2
    assert images_interval(0.5, influences) == pytest.approx((0.5 - margin, 0.5 + margin), 1e-6)
    assert images_interval(1.0, np.zeros(4)) is None


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        ([1, 2, 3], [30, 20, 10], -1.0),
        ([1, 1, 2], [1, 2, 3], 0.75**0.5),  # the tied ones share rank 1.5
        ([0.5, 0.5], [1, 2], None),
        ([0.5], [0.6], None),
    ],
)
def test_rank_correlation(first: list[float], second: list[float], expected: float | None) -> None:
    rho = rank_correlation(first, second)
    assert rho == (None if expected is None else pytest.approx(expected))
