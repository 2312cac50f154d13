"""Intervals, optimism, correlations, importances and best-so-far curves, against numbers worked out by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from scipy import stats

from search.analysis.best_so_far import TrialCurve, best_so_far, random_orders
from search.estimates import (
    Difference,
    estimate_gain,
    estimate_mean,
    estimate_optimism,
    front,
    importances,
    paired_gain,
    proportion_interval,
    rank_correlation,
    rung_correlations,
)


def test_mean_of_three_has_students_interval() -> None:
    estimate = estimate_mean([0.90, 0.92, 0.94])
    assert (estimate.mean, estimate.std, estimate.n) == (pytest.approx(0.92), pytest.approx(0.02), 3)
    margin = 4.302653 * 0.02 / 3**0.5  # t of two degrees of freedom, from a table
    assert (estimate.low, estimate.high) == (pytest.approx(0.92 - margin, 1e-6), pytest.approx(0.92 + margin, 1e-6))


def test_one_value_has_no_spread_and_no_interval() -> None:
    estimate = estimate_mean([0.9])
    assert (estimate.mean, estimate.std, estimate.n, estimate.low, estimate.high) == (0.9, None, 1, None, None)


def test_gain_has_welchs_interval() -> None:
    gain = estimate_gain([0.8, 0.9, 1.0], [0.4, 0.6])
    # Variances of the means 0.01 / 3 and 0.02 / 2; Welch's degrees of freedom 32 / 19.
    margin = stats.t.ppf(0.975, 32 / 19) * (0.01 / 3 + 0.01) ** 0.5
    assert gain.value == pytest.approx(0.4)
    assert (gain.low, gain.high) == (pytest.approx(0.4 - margin), pytest.approx(0.4 + margin))
    oracle = stats.ttest_ind([0.8, 0.9, 1.0], [0.4, 0.6], equal_var=False).confidence_interval()
    assert (gain.low, gain.high) == (pytest.approx(oracle.low), pytest.approx(oracle.high))


@pytest.mark.parametrize(("values", "reference"), [([0.9], [0.8]), ([0.9, 0.9], [0.8]), ([0.9], [0.8, 0.8])])
def test_gain_of_a_single_seed_has_no_interval(values: list[float], reference: list[float]) -> None:
    gain = estimate_gain(values, reference)
    assert gain == Difference(value=pytest.approx(0.1), low=None, high=None)
    assert not gain.is_clear


def test_gain_without_spread_is_exact() -> None:
    gain = estimate_gain([0.75, 0.75], [0.5, 0.5])
    assert gain == Difference(value=0.25, low=0.25, high=0.25)
    assert gain.is_clear


def test_optimism_is_the_search_score_minus_the_fresh_mean() -> None:
    optimism = estimate_optimism(0.95, [0.90, 0.92, 0.94])
    margin = 4.302653 * 0.02 / 3**0.5
    assert optimism.value == pytest.approx(0.03)
    assert (optimism.low, optimism.high) == (pytest.approx(0.03 - margin, 1e-5), pytest.approx(0.03 + margin, 1e-5))
    assert estimate_optimism(0.95, [0.9]) == Difference(value=pytest.approx(0.05), low=None, high=None)


@pytest.mark.parametrize(
    ("num_right", "num_total", "expected"),
    [(8, 10, (0.490162, 0.943318)), (0, 10, (0.0, 0.277533)), (1, 1, (0.206549, 1.0))],
)
def test_proportion_has_wilsons_interval(num_right: int, num_total: int, expected: tuple[float, float]) -> None:
    assert proportion_interval(num_right, num_total) == pytest.approx(expected, abs=1e-6)


def test_gain_on_the_same_images_counts_where_the_two_differ() -> None:
    gain = paired_gain(np.array([True, True, True, False]), np.array([True, False, False, False]))
    # Gains 0, 1, 1, 0: standard deviation sqrt(1 / 3).
    margin = 1.959964 * (1 / 3) ** 0.5 / 2
    assert gain.value == 0.5
    assert (gain.low, gain.high) == (pytest.approx(0.5 - margin, 1e-6), pytest.approx(0.5 + margin, 1e-6))
    assert paired_gain(np.array([True]), np.array([False])) == Difference(value=1.0, low=None, high=None)


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


def test_rungs_are_correlated_with_the_end_over_trials_that_reached_it() -> None:
    curves = [{1: 0.1, 3: 0.3, 9: 0.5}, {1: 0.2, 3: 0.2, 9: 0.6}, {1: 0.3, 3: 0.1, 9: 0.7}, {1: 0.9, 3: 0.9}]
    assert rung_correlations(curves, (1, 3), 9) == {1: (pytest.approx(1.0), 3), 3: (pytest.approx(-1.0), 3)}
    assert rung_correlations([], (1,), 9) == {1: (None, 0)}


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    assert front([3, 1, 2, 2, 4], [0.9, 0.5, 0.4, 0.7, 0.8]) == [1, 3, 0]
    assert front([], []) == []


def test_importances_find_the_parameter_that_matters() -> None:
    rng = random.Random(0)
    params = [{"lr": rng.uniform(0, 1), "flip": rng.choice([True, False])} for _ in range(60)]
    distributions = {"lr": FloatDistribution(0, 1), "flip": CategoricalDistribution([True, False])}
    shares = importances(params, [one["lr"] for one in params], distributions)
    assert list(shares) == ["lr", "flip"]
    assert shares["lr"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("scores", [[0.5, 0.6], [0.5] * 20])
def test_importances_are_empty_where_nothing_can_be_told(scores: list[float]) -> None:
    params = [{"lr": 0.1 + 0.01 * index} for index in range(len(scores))]
    assert importances(params, scores, {"lr": FloatDistribution(0, 1)}) == {}


TWO_TRIALS = [
    TrialCurve(costs=np.array([1.0, 1.0]), scores=np.array([0.5, 0.7])),
    TrialCurve(costs=np.array([1.0]), scores=np.array([0.6])),
]


def test_best_so_far_runs_over_the_trials_in_turn() -> None:
    costs, best = best_so_far([TWO_TRIALS[1], TWO_TRIALS[0]])
    assert costs.tolist() == [1, 2, 3]
    assert best.tolist() == [0.6, 0.6, 0.7]


def test_random_orders_average_over_both_orders_of_two_trials() -> None:
    band = random_orders(TWO_TRIALS, seed=0)
    assert (band.costs[0], band.costs[-1]) == (1, 3)
    assert band.mean[0] == pytest.approx(0.55, abs=0.02)  # 0.5 or 0.6
    assert band.mean[np.searchsorted(band.costs, 2.0)] == pytest.approx(0.65, abs=0.02)  # 0.7 or 0.6
    assert (band.low[-1], band.mean[-1], band.high[-1]) == (pytest.approx(0.7), pytest.approx(0.7), pytest.approx(0.7))
    assert (band.low[0], band.high[0]) == (pytest.approx(0.5), pytest.approx(0.6))


def test_random_orders_of_one_trial_is_that_trial() -> None:
    band = random_orders(TWO_TRIALS[:1], seed=0)
    assert np.allclose(band.mean, band.low)
    assert np.allclose(band.mean, band.high)
    assert (band.mean[0], band.mean[-1]) == (pytest.approx(0.5), pytest.approx(0.7))
