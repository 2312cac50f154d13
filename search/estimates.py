"""Statistics of a few scores, with 95 % intervals; pure. The larger score is the better one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # loads scipy.stats, which takes half a second, when it is first used
from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The mean of n values and its 95 % interval; None for a single value."""

    mean: float
    std: float | None
    """Sample standard deviation of the values (n - 1 in the denominator)."""
    n: int
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference and its 95 % interval; None if there are too few values for one."""

    value: float
    low: float | None
    high: float | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def estimate_mean(values: Sequence[float]) -> Estimate:
    """Mean of one value or more, with Student's t interval."""
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Estimate(mean=mean, std=None, n=1, low=None, high=None)
    low, high = (
        (mean, mean)
        if _is_constant(values)
        else scipy.stats.t.interval(CONFIDENCE, n - 1, mean, scipy.stats.sem(values))
    )
    return Estimate(mean=mean, std=float(np.std(values, ddof=1)), n=n, low=float(low), high=float(high))


def estimate_gain(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """Mean of `values` minus mean of `reference`, with Welch's interval, which allows unequal variances.

    The interval needs at least two values on each side.
    """
    gain = float(np.mean(values) - np.mean(reference))
    if min(len(values), len(reference)) < 2:
        return Difference(value=gain, low=None, high=None)
    if _is_constant(values) and _is_constant(reference):
        return Difference(value=gain, low=gain, high=gain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # SciPy warns when one side is constant; the result is right
        interval = scipy.stats.ttest_ind(values, reference, equal_var=False).confidence_interval(CONFIDENCE)
    return Difference(value=gain, low=float(interval.low), high=float(interval.high))


def estimate_optimism(search_score: float, fresh_scores: Sequence[float]) -> Difference:
    """The score that picked a config, minus its mean on fresh seeds. The interval is that of the mean."""
    fresh = estimate_mean(fresh_scores)
    if fresh.low is None or fresh.high is None:
        return Difference(value=search_score - fresh.mean, low=None, high=None)
    return Difference(value=search_score - fresh.mean, low=search_score - fresh.high, high=search_score - fresh.low)


def proportion_interval(num_right: int, num_total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion: the uncertainty of an accuracy measured on `num_total` images."""
    interval = scipy.stats.binomtest(num_right, num_total).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def images_interval(score: float, influences: NDArray[np.float64]) -> tuple[float, float] | None:
    """The normal 95 % interval of a score over the choice of N images, from their influences on it (N,).

    See `model.metrics.Measurement`. None where all influences are equal, so that the images tell nothing of it.
    """
    if np.ptp(influences) == 0:
        return None
    low, high = scipy.stats.norm.interval(CONFIDENCE, score, scipy.stats.sem(influences))
    return float(low), float(high)


def paired_gain(gain: float, influences: NDArray[np.float64], reference: NDArray[np.float64]) -> Difference:
    """The gain of one network's score over another's on the same images, with a normal interval.

    `influences` and `reference` (N,) are those of the images on both scores. The interval covers the choice of images,
    not the choice of seeds.
    """
    if len(influences) < 2:
        return Difference(value=gain, low=None, high=None)
    low, high = images_interval(gain, influences - reference) or (gain, gain)
    return Difference(value=gain, low=low, high=high)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rho, -1..1; None for fewer than two pairs or a constant side."""
    if len(first) < 2 or _is_constant(first) or _is_constant(second):
        return None
    return float(scipy.stats.spearmanr(first, second).statistic)


def _is_constant(values: Sequence[float]) -> bool:
    return len(set(values)) == 1
