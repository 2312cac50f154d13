"""The best score so far against what was spent, and what the same trials in random order would have shown; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_ORDERS = 200
NUM_GRID_POINTS = 120


@dataclass(frozen=True, kw_only=True)
class TrialCurve:
    """A trial's epochs in order: what each cost (epochs or seconds) and the validation accuracy after it."""

    costs: NDArray[np.float64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class OrderBand:
    """Best score so far over all random orders, at each cost of a common grid."""

    costs: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    """10th percentile of the orders."""
    high: NDArray[np.float64]
    """90th percentile."""


def best_so_far(curves: Sequence[TrialCurve]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Costs added up over the trials one after another, and the best score up to there."""
    costs = np.cumsum(np.concatenate([curve.costs for curve in curves]))
    return costs, np.maximum.accumulate(np.concatenate([curve.scores for curve in curves]))


def random_orders(curves: Sequence[TrialCurve], *, seed: int) -> OrderBand:
    """The same trials, each as long as it was, in random orders.

    A search whose good trials came early lies above the band; one that learnt on its way, so that they came late,
    below it. Both end at the same score.
    """
    rng = np.random.default_rng(seed)
    total = sum(float(curve.costs.sum()) for curve in curves)
    dearest_first = max(float(curve.costs[0]) for curve in curves)
    # Before every order has finished an epoch there is nothing to average.
    grid = np.linspace(dearest_first, total, NUM_GRID_POINTS)
    heights = np.empty((NUM_ORDERS, NUM_GRID_POINTS))
    for row in range(NUM_ORDERS):
        costs, best = best_so_far([curves[index] for index in rng.permutation(len(curves))])
        reached = np.searchsorted(costs, grid * (1 + 1e-12), side="right") - 1
        heights[row] = best[reached]
    low, high = np.quantile(heights, (0.1, 0.9), axis=0)
    return OrderBand(costs=grid, mean=heights.mean(axis=0), low=low, high=high)
