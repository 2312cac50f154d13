"""A surrogate of extremely randomised trees (Geurts et al. 2006) predicts the final accuracy and proposes configs.

The config that leads after a few epochs need not win. So the scores at all rungs and ends train one model, with the
epoch as an input, and candidates are compared by its prediction for the last epoch: expected improvement. The model and
the proposals depend only on the record, the run's seed and the trial's number, not on the order of reports.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from model.seeds import derive_seed
from search.samplers.encoding import coordinates, vary
from search.space.space import SearchSpace
from search.study.record import TrialRecord, TrialStatus

if TYPE_CHECKING:
    from sklearn.tree import ExtraTreeRegressor

NUM_TREES = 40
NUM_RANDOM_FIRST = 8
"""Trials with a score before the surrogate is used."""
RANDOM_EVERY = 4
"""One trial in this many stays random to the end, so that misleading early ranks cannot trap the search."""
NUM_CANDIDATES = 400
"""Configs that the surrogate compares: half random, half near the best trials."""
NUM_BEST = 8
NEIGHBOUR_DISTANCE = 0.05
"""Root mean square distance per coordinate. Candidates this close to a running trial are held back until it reports."""

_UNDERWAY = (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)
_BAD = (TrialStatus.DIVERGED, TrialStatus.FAILED)
Floats = NDArray[np.float64]
Params = Mapping[str, Any]


class TreeSampler:
    """Proposes the params with the highest expected improvement at the last epoch."""

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
        self._bad: set[int] = set()
        self._underway: set[int] = set()
        self._trees: list[ExtraTreeRegressor] | None = None
        self._encoded: dict[int, Floats] = {}
        """Encoded params by trial number, where they are known."""

    def add(self, params: Params, violations: Mapping[str, float]) -> None:
        """A trial enters the record with the next number."""
        if all(excess <= 0 for excess in violations.values()):
            self._num_legal += 1
        number = len(self._params)
        self._underway.add(number)
        if params:
            self._encoded[number] = coordinates(self._space.parameters, [params])[0]
        self._params.append(params)

    def tell(self, record: TrialRecord) -> None:
        """Takes in how far a trial has come. Diverged and failed trials always count as the worst."""
        number = record.number
        scores = {epoch: score for epoch, score in record.rung_scores.items() if epoch in self._epochs}
        if scores or record.status not in _UNDERWAY:
            self._underway.discard(number)
        if record.status is TrialStatus.REJECTED or not record.params:
            return
        if record.status in _BAD:
            self._bad.add(number)
            self._scores.pop(number, None)
        elif scores:
            self._scores[number] = scores
        self._trees = None

    def draw(self, number: int) -> dict[str, Any]:
        """Params for trial `number`. Only random params can be over the limits, unless no candidate is within them."""
        rng = random.Random(derive_seed(self._seed, "sampler", number))
        if len(self._scores) < NUM_RANDOM_FIRST or self._num_legal % RANDOM_EVERY == 0:
            return self.draw_uniform(rng)
        candidates = self.candidates(rng)
        points = coordinates(self._space.parameters, candidates)
        improvement = self._expected_improvement(points)
        order = np.argsort(-improvement, kind="stable")
        chosen = next((index for index in order if self._is_eligible(candidates[index])), 0)
        return dict(candidates[chosen])

    def draw_uniform(self, rng: random.Random) -> dict[str, Any]:
        """Random params, the limits not asked."""
        return {key: parameter.draw(rng) for key, parameter in self._space.parameters.items()}

    def candidates(self, rng: random.Random) -> Sequence[Params]:
        """Params to choose from: half random, half near the best trials."""
        best = sorted(self._scores, key=lambda number: (*_standing(self._scores[number]), -number))[-NUM_BEST:]
        uniform = [self.draw_uniform(rng) for _ in range(NUM_CANDIDATES // 2)]
        near = [
            vary(self._space.parameters, self._params[best[index % len(best)]], rng, spread=10 ** rng.uniform(-2, -0.5))
            for index in range(NUM_CANDIDATES // 2)
        ]
        return uniform + near

    def _is_eligible(self, params: Params) -> bool:
        """Whether the params are within the limits and new."""
        violations = self._space.violations(self._space.complete(params))
        return params not in self._params and all(excess <= 0 for excess in violations.values())

    def _expected_improvement(self, points: Floats) -> Floats:
        """Expected improvement at the last epoch over the best predicted trial, lowered near running trials."""
        if self._trees is None:
            self._trees = self._fit()
        mean, spread = self._predict(self._trees, points)
        known = np.array([self._encoded[number] for number in sorted(self._scores)])
        incumbent = self._predict(self._trees, known)[0].max()
        ahead = (mean - incumbent) / spread
        improvement = spread * (ahead * scipy.special.ndtr(ahead) + np.exp(-(ahead**2) / 2) / math.sqrt(2 * math.pi))
        running = [self._encoded[number] for number in sorted(self._underway) if number in self._encoded]
        if running:
            distances = ((points[:, None, :] - np.array(running)[None]) ** 2).mean(axis=2).min(axis=1)
            improvement *= 1 - np.exp(-distances / (2 * NEIGHBOUR_DISTANCE**2))
        return np.asarray(improvement)

    def _fit(self) -> list[ExtraTreeRegressor]:
        """Fits the trees one by one: scikit-learn's own forest takes several times as long, for its book-keeping."""
        # Imported late: it takes half a second, and no run needs it before its first trials have ended.
        from sklearn import config_context
        from sklearn.tree import ExtraTreeRegressor

        known = [(number, epoch, score) for number in sorted(self._scores) for epoch, score in self._ordered(number)]
        scores = np.array([score for _, _, score in known])
        targets = _scaled(scores)
        bad = [(number, epoch) for number in sorted(self._bad) for epoch in sorted(self._epochs)]
        known_at = [row[:2] for row in known] + bad
        rows = np.array([[*self._encoded[number], math.log(epoch)] for number, epoch in known_at])
        targets = np.append(targets, [targets.min()] * len(bad))
        seeds = np.random.default_rng(derive_seed(self._seed, "trees", len(rows))).integers(2**31, size=NUM_TREES)
        points, trees = rows.astype(np.float32), []
        # scikit-learn would make a generator for each tree, which takes longer than the tree.
        generator = np.random.RandomState()
        with config_context(skip_parameter_validation=True):
            for seed in seeds:
                generator.seed(int(seed))
                tree = ExtraTreeRegressor(min_samples_leaf=2, max_features=0.8, random_state=generator)
                trees.append(tree.fit(points, targets, check_input=False))
        return trees

    def _predict(self, trees: list[ExtraTreeRegressor], points: Floats) -> tuple[Floats, Floats]:
        """The predicted (scaled) score after the last epoch: mean and spread over the trees, each of shape (N,)."""
        rows = np.column_stack([points, np.full(len(points), math.log(max(self._epochs)))]).astype(np.float32)
        predictions = np.array([tree.tree_.predict(rows)[:, 0] for tree in trees])
        return predictions.mean(axis=0), np.maximum(predictions.std(axis=0), 1e-6)

    def _ordered(self, number: int) -> list[tuple[int, float]]:
        return sorted(self._scores[number].items())


def _standing(scores: Mapping[int, float]) -> tuple[int, float]:
    """Sort key: more epochs first, then the better last score."""
    epoch = max(scores)
    return epoch, scores[epoch]


def _scaled(scores: Floats) -> Floats:
    """Scores with median 0 and the best tenth above 1; low scores are compressed, so that good ones stay apart."""
    unit = max(np.quantile(scores, 0.9) - np.median(scores), 1e-9)
    scaled = (scores - np.median(scores)) / unit
    low = -1 - np.log(np.maximum(-scaled, 1))
    return np.maximum(np.where(scaled < -1, low, scaled), -2.5)
