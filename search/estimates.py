"""What can be said from a few scores, and how surely; pure. Scores are accuracies, fractions 0..1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

CONFIDENCE = 0.95
MIN_TRIALS_FOR_IMPORTANCES = 8
"""With fewer, the best quarter is one trial and says nothing about a parameter."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The mean of n values, with its 95 % interval where n allows one (None for a single value)."""

    mean: float
    std: float | None
    """Of the values, not of the mean; with n - 1 in the denominator."""
    n: int
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference with its 95 % interval; None where the values allow none."""

    value: float
    low: float | None
    high: float | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def estimate_mean(values: Sequence[float]) -> Estimate:
    """Mean and Student's t interval of at least one value."""
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Estimate(mean=mean, std=None, n=1, low=None, high=None)
    std = float(np.std(values, ddof=1))
    margin = _t_quantile(n - 1) * std / math.sqrt(n)
    return Estimate(mean=mean, std=std, n=n, low=mean - margin, high=mean + margin)


def estimate_gain(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """Mean of `values` minus mean of `reference`, with Welch's interval: the two may spread differently.

    It needs two values or more on both sides.
    """
    gain = float(np.mean(values) - np.mean(reference))
    if min(len(values), len(reference)) < 2:
        return Difference(value=gain, low=None, high=None)
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (values, reference)]
    variance = sum(parts)
    if variance == 0:
        return Difference(value=gain, low=gain, high=gain)
    # Welch and Satterthwaite's degrees of freedom.
    freedom = variance**2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, (values, reference), strict=True)
    )
    margin = _t_quantile(freedom) * math.sqrt(variance)
    return Difference(value=gain, low=gain - margin, high=gain + margin)


def estimate_optimism(search_score: float, fresh_scores: Sequence[float]) -> Difference:
    """The score that a config was chosen by, minus its mean on fresh seeds; the interval is that of the mean."""
    fresh = estimate_mean(fresh_scores)
    if fresh.low is None or fresh.high is None:
        return Difference(value=search_score - fresh.mean, low=None, high=None)
    return Difference(value=search_score - fresh.mean, low=search_score - fresh.high, high=search_score - fresh.low)


def proportion_interval(num_right: int, num_total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion: how far an accuracy may be off because the images are finitely many."""
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    share = num_right / num_total
    scale = 1 + z**2 / num_total
    centre = (share + z**2 / (2 * num_total)) / scale
    margin = z / scale * math.sqrt(share * (1 - share) / num_total + z**2 / (4 * num_total**2))
    return max(0.0, centre - margin), min(1.0, centre + margin)


def paired_gain(is_right: NDArray[np.bool_], is_reference_right: NDArray[np.bool_]) -> Difference:
    """Gain in accuracy of one network over another on the same images, its interval from these images alone."""
    gains = is_right.astype(np.int64) - is_reference_right.astype(np.int64)
    mean = float(gains.mean())
    if len(gains) < 2:
        return Difference(value=mean, low=None, high=None)
    margin = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return Difference(value=mean, low=mean - margin, high=mean + margin)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rho, -1..1, ties sharing their mean rank; None for fewer than two pairs or a side without spread."""
    if len(first) < 2 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    return float(np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1])


def rung_correlations(
    curves: Sequence[Mapping[int, float]], rung_epochs: Sequence[int], last_epoch: int
) -> dict[int, tuple[float | None, int]]:
    """How well each rung foretells the end: by rung epoch, rho of the scores there with those at the end, and n.

    A curve is a trial's scores by epoch; those that did not reach `last_epoch` are left out.
    """
    whole = [curve for curve in curves if last_epoch in curve]
    correlations = {}
    for epoch in rung_epochs:
        pairs = [(curve[epoch], curve[last_epoch]) for curve in whole if epoch in curve]
        rho = rank_correlation([early for early, _ in pairs], [end for _, end in pairs])
        correlations[epoch] = (rho, len(pairs))
    return correlations


def front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Indices of the points that no other beats in both: lower cost, higher score; by rising cost."""
    chosen: list[int] = []
    for index in sorted(range(len(costs)), key=lambda index: (costs[index], -scores[index])):
        if not chosen or scores[index] > scores[chosen[-1]]:
            chosen.append(index)
    return chosen


def importances(
    params: Sequence[Mapping[str, Any]], scores: Sequence[float], distributions: Mapping[str, BaseDistribution]
) -> dict[str, float]:
    """How much each parameter sets the best quarter of the trials apart, shares that add up to 1, largest first.

    PED-ANOVA (Watanabe et al., "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces",
    arXiv 2304.10255). Compare trials at one epoch. Empty for too few trials or scores that are all the same.
    """
    if len(scores) < MIN_TRIALS_FOR_IMPORTANCES or len(set(scores)) == 1:
        return {}
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    study = optuna.create_study(direction="maximize", storage=optuna.storages.InMemoryStorage(), study_name="scores")
    study.add_trials(
        [
            optuna.trial.create_trial(params=dict(one), distributions=dict(distributions), value=score)
            for one, score in zip(params, scores, strict=True)
        ]
    )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=0.25)
    shares = get_param_importances(study, evaluator=evaluator)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _t_quantile(freedom: float) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
