"""Configs whose last epoch promises most, foreseen by extremely randomised trees over (config, epoch).

A score after few epochs is no score after many: what stands out early need not win. So all scores at rungs and ends
train one model, the epoch being one of its inputs, and candidates are judged by its forecast for the last epoch. The
model and the draws come from the record and (run seed, trial number) alone, in whatever order the record was told.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn import config_context
from sklearn.tree import ExtraTreeRegressor

from model.seeds import derive_seed
from search.samplers.encoding import coordinates, vary
from search.space.space import SearchSpace
from search.study.record import TrialRecord, TrialStatus

NUM_TREES = 40
NUM_RANDOM_FIRST = 8
"""Trials with a score before the trees are asked."""
RANDOM_EVERY = 4
"""One in so many trials is drawn evenly for good: early ranks that mislead must not become a trap."""
NUM_CANDIDATES = 400
"""Half of them drawn evenly, half near the best trials."""
NUM_BEST = 8
NEIGHBOUR_DISTANCE = 0.05
"""Of a coordinate, root mean square: candidates so near a running trial are put off until it has reported."""

_UNDERWAY = (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)
_SPOILT = (TrialStatus.DIVERGED, TrialStatus.FAILED)
Floats = NDArray[np.float64]
Params = Mapping[str, Any]


class TreeSampler:
    """Draws params; what the record knows of each trial is told in the order of trial numbers or as it comes."""

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        *,
        epochs: Collection[int],
    ) -> None:
        """`epochs`: the epochs whose scores count; the last one of a full training must be among them."""
        self._space = space
        self._seed = seed
        self._epochs = frozenset(epochs)
        self._params: list[Params] = []
        self._num_legal = 0
        self._scores: dict[int, dict[int, float]] = {}
        self._spoilt: set[int] = set()
        self._underway: set[int] = set()
        self._trees: list[ExtraTreeRegressor] | None = None
        self._points_tried: dict[int, Floats] = {}
        """Of trials whose params are known, by number."""

    def add(self, params: Params, violations: Mapping[str, float]) -> None:
        """A trial enters the record, with the next number."""
        if all(excess <= 0 for excess in violations.values()):
            self._num_legal += 1
        number = len(self._params)
        self._underway.add(number)
        if params:
            self._points_tried[number] = coordinates(self._space.parameters, [params])[0]
        self._params.append(params)

    def tell(self, record: TrialRecord) -> None:
        """How far a trial came, whether it goes on or not. What diverged or failed is as bad as the worst, always."""
        number = record.number
        scores = {epoch: score for epoch, score in record.val_accuracies.items() if epoch in self._epochs}
        if scores or record.status not in _UNDERWAY:
            self._underway.discard(number)
        if record.status is TrialStatus.REJECTED or not record.params:
            return
        if record.status in _SPOILT:
            self._spoilt.add(number)
            self._scores.pop(number, None)
        elif scores:
            self._scores[number] = scores
        self._trees = None

    def draw(self, number: int) -> dict[str, Any]:
        """Params for the trial of this number. Only what is drawn evenly can be over the limits, if others can be had.

        A draw over the limits counts as none: the next one is made the same way.
        """
        rng = random.Random(derive_seed(self._seed, "sampler", number))
        if len(self._scores) < NUM_RANDOM_FIRST or self._num_legal % RANDOM_EVERY == 0:
            return self.draw_uniform(rng)
        candidates = self.candidates(rng)
        points = coordinates(self._space.parameters, candidates)
        promise = self._promise(points)
        order = np.argsort(-promise, kind="stable")
        chosen = next((index for index in order if self._is_eligible(candidates[index])), 0)
        return dict(candidates[chosen])

    def draw_uniform(self, rng: random.Random) -> dict[str, Any]:
        """Random params, the limits not asked."""
        return {key: parameter.draw(rng) for key, parameter in self._space.parameters.items()}

    def candidates(self, rng: random.Random) -> Sequence[Params]:
        """Params to choose from: half random, half near the best trials."""
        best = sorted(self._scores, key=lambda number: (*_standing(self._scores[number]), -number))[-NUM_BEST:]
        even = [self.draw_uniform(rng) for _ in range(NUM_CANDIDATES // 2)]
        near = [
            vary(self._space.parameters, self._params[best[index % len(best)]], rng, spread=10 ** rng.uniform(-2, -0.5))
            for index in range(NUM_CANDIDATES // 2)
        ]
        return even + near

    def _is_eligible(self, params: Params) -> bool:
        """Whether it keeps the limits and was not tried before."""
        violations = self._space.violations(self._space.complete(params))
        return params not in self._params and all(excess <= 0 for excess in violations.values())

    def _promise(self, points: Floats) -> Floats:
        """Expected improvement at the last epoch over the best forecast of a trial, less near what is running."""
        if self._trees is None:
            self._trees = self._fit()
        mean, spread = self._foresee(self._trees, points)
        known = np.array([self._points_tried[number] for number in sorted(self._scores)])
        incumbent = self._foresee(self._trees, known)[0].max()
        ahead = (mean - incumbent) / spread
        promise = spread * (ahead * ndtr(ahead) + np.exp(-(ahead**2) / 2) / math.sqrt(2 * math.pi))
        running = [self._points_tried[number] for number in sorted(self._underway) if number in self._points_tried]
        if running:
            distances = ((points[:, None, :] - np.array(running)[None]) ** 2).mean(axis=2).min(axis=1)
            promise *= 1 - np.exp(-distances / (2 * NEIGHBOUR_DISTANCE**2))
        return np.asarray(promise)

    def _fit(self) -> list[ExtraTreeRegressor]:
        """Trees fitted one by one: scikit-learn's forest of them takes several times as long for its book-keeping."""
        known = [(number, epoch, score) for number in sorted(self._scores) for epoch, score in self._ordered(number)]
        scores = np.array([score for _, _, score in known])
        targets = _scaled(scores)
        spoilt = [(number, epoch) for number in sorted(self._spoilt) for epoch in sorted(self._epochs)]
        known_at = [row[:2] for row in known] + spoilt
        rows = np.array([[*self._points_tried[number], math.log(epoch)] for number, epoch in known_at])
        targets = np.append(targets, [targets.min()] * len(spoilt))
        seeds = np.random.default_rng(derive_seed(self._seed, "trees", len(rows))).integers(2**31, size=NUM_TREES)
        points = rows.astype(np.float32)
        with config_context(skip_parameter_validation=True):
            return [
                ExtraTreeRegressor(min_samples_leaf=2, max_features=0.8, random_state=int(seed)).fit(
                    points, targets, check_input=False
                )
                for seed in seeds
            ]

    def _foresee(self, trees: list[ExtraTreeRegressor], points: Floats) -> tuple[Floats, Floats]:
        """Mean and spread over the trees of the (scaled) score after the last epoch."""
        rows = np.column_stack([points, np.full(len(points), math.log(max(self._epochs)))]).astype(np.float32)
        forecasts = np.array([tree.predict(rows, check_input=False) for tree in trees])
        return forecasts.mean(axis=0), np.maximum(forecasts.std(axis=0), 1e-6)

    def _ordered(self, number: int) -> list[tuple[int, float]]:
        return sorted(self._scores[number].items())


def _standing(scores: Mapping[int, float]) -> tuple[int, float]:
    """The further the better, of equals the one with the better last score."""
    epoch = max(scores)
    return epoch, scores[epoch]


def _scaled(scores: Floats) -> Floats:
    """Median 0, best tenth from 1 up; far below it is drawn together, so that the trees tell the good ones apart."""
    unit = max(np.quantile(scores, 0.9) - np.median(scores), 1e-9)
    scaled = (scores - np.median(scores)) / unit
    low = -1 - np.log(np.maximum(-scaled, 1))
    return np.maximum(np.where(scaled < -1, low, scaled), -2.5)
