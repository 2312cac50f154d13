"""Statistics of a few scores, with 95 % intervals; pure. Scores are accuracies, fractions 0..1."""

from __future__ import annotations

import math
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


def paired_gain(is_right: NDArray[np.bool_], is_reference_right: NDArray[np.bool_]) -> Difference:
    """Gain in accuracy of one network over another on the same images (both (N,)), with a normal interval.

    The interval covers the choice of images, not the choice of seeds.
    """
    gains = is_right.astype(np.int64) - is_reference_right.astype(np.int64)
    mean = float(gains.mean())
    if len(gains) < 2:
        return Difference(value=mean, low=None, high=None)
    if np.ptp(gains) == 0:
        return Difference(value=mean, low=mean, high=mean)
    low, high = scipy.stats.norm.interval(CONFIDENCE, mean, scipy.stats.sem(gains))
    return Difference(value=mean, low=float(low), high=float(high))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rho, -1..1; None for fewer than two pairs or a constant side."""
    if len(first) < 2 or _is_constant(first) or _is_constant(second):
        return None
    return float(scipy.stats.spearmanr(first, second).statistic)


def chance_threshold(chance: float, num_examples: int) -> float:
    """The accuracy that guessing exceeds once in about 700 tries: `chance`, its mean, plus 3 standard errors."""
    return float(chance + 3 * np.sqrt(chance * (1 - chance) / num_examples))


@dataclass(frozen=True, kw_only=True)
class ScoreNoise:
    """What accuracies on few images cannot tell. Without values, scores are exact."""

    chance: float = -math.inf
    """A score below may be a guess; see `chance_threshold`."""
    num_examples: int | None = None
    """Images that a score is measured on."""

    def are_equal(self, first: float, second: float) -> bool:
        """Whether two accuracies differ by less than the standard error of their difference."""
        if self.num_examples is None:
            return False
        mean = (first + second) / 2
        return abs(first - second) < math.sqrt(2 * mean * (1 - mean) / self.num_examples)


def _is_constant(values: Sequence[float]) -> bool:
    return len(set(values)) == 1
