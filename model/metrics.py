"""What a classifier is judged by, as scikit-learn defines it, with the standard error and the score of a guess.

Searches compare scores, of which the larger is always the better: the score of the log loss is its negative, and
nothing outside this file knows directions. `Metric.value` turns a score into the metric's own value, for people.

Standard errors are those of the infinitesimal jackknife: each image has an influence on the score, and the influences'
mean square, divided by the number of images, is the variance (Jaeckel 1972). For the AUC this is the estimate of DeLong
et al. 1988, up to a factor of n / (n - 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.objective import MetricName

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]
_SMALLEST = float(np.finfo(np.float32).eps)
"""A probability below counts as this one, so that the log loss is finite: at most 15.94 an image."""
_NUM_ERRORS = 3
"""Standard errors above the best guess that a guess exceeds once in about 700 tries."""


class Measurement(NamedTuple):
    """A score on N images."""

    score: float
    influences: Floats
    """(N,): the derivative of the score by the weight of each image, times N; their sum is 0."""

    @property
    def error(self) -> float:
        """Standard error over the choice of images; 0 where no image differs in its influence."""
        return float(np.sqrt(np.mean(self.influences**2) / len(self.influences)))


class Guess(NamedTuple):
    """Scores on images of which only the number of each class is known."""

    chance: float
    """Expected of guessing a class at random; for AUC and log loss, of equal probabilities."""
    majority: float
    """Of always answering the largest class; for AUC and log loss, with the classes' shares as probabilities."""
    error: float
    """Standard error of the score of a guess, or an upper bound."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to judge a classifier."""

    name: MetricName
    title: str
    """In a sentence."""
    measure: Callable[[Labels, NDArray[np.float32]], Measurement]
    """From labels (N,) and probabilities (N, K), in this order; N is at least 1."""
    guess_among: Callable[[Floats], Guess]
    """From the number of images of each class that has any."""
    sign: int = 1
    """-1 if the metric's own value is better the smaller it is."""
    best: float = 1.0
    worst: float = 0.0
    """The lowest score, which a training that diverged gets."""
    is_percent: bool = False
    """Whether people read its value in percent."""

    def value(self, score: float) -> float:
        """The metric's own value."""
        return self.sign * score

    def score(self, value: float) -> float:
        """The score of a value: the inverse of `value`."""
        return self.sign * value

    def guess(self, counts: NDArray[np.integer]) -> Guess:
        """Scores without any knowledge of the images, by the number of images of each class."""
        return self.guess_among(counts[counts > 0].astype(np.float64))

    def chance_level(self, counts: NDArray[np.integer]) -> float:
        """A score below may be a guess: the best guess plus three standard errors.

        With very few images that would be out of reach, so the level is at most halfway from the best guess to `best`.
        """
        guess = self.guess(counts)
        best_guess = max(guess.chance, guess.majority)
        return min(best_guess + _NUM_ERRORS * guess.error, (best_guess + self.best) / 2)


def _accuracy(labels: Labels, probabilities: NDArray[np.float32]) -> Measurement:
    is_right = probabilities.argmax(1) == labels
    share = float(is_right.mean())
    return Measurement(share, is_right - share)


def _balanced_accuracy(labels: Labels, probabilities: NDArray[np.float32]) -> Measurement:
    """The mean over the classes that have images of the share of their images that are right."""
    is_right = probabilities.argmax(1) == labels
    counts = np.bincount(labels)
    recalls = np.bincount(labels, weights=is_right) / np.maximum(counts, 1)
    num_present = np.count_nonzero(counts)
    influences = (is_right - recalls[labels]) * len(labels) / (num_present * counts[labels])
    return Measurement(float(recalls.sum() / num_present), influences)


def _macro_f1(labels: Labels, probabilities: NDArray[np.float32]) -> Measurement:
    """The mean of the F1 score over the classes that have images or answers; one without images has F1 = 0."""
    num_classes, answers = probabilities.shape[1], probabilities.argmax(1)
    is_right = answers == labels
    sizes = np.bincount(labels, minlength=num_classes) + np.bincount(answers, minlength=num_classes)
    num_counted = np.count_nonzero(sizes)
    f1 = 2 * np.bincount(labels, weights=is_right, minlength=num_classes) / np.maximum(sizes, 1)
    pulls = len(labels) / (num_counted * np.maximum(sizes, 1))
    influences = (2 * is_right - f1[labels]) * pulls[labels] - f1[answers] * pulls[answers]
    return Measurement(float(f1.sum() / num_counted), influences)


def _auc(labels: Labels, probabilities: NDArray[np.float32]) -> Measurement:
    """The area under the ROC curve: with two classes of the second, else the mean of each class against the rest.

    Classes without images are left out. 0.5 if all images are of one class, where it is undefined.
    """
    classes = [1] if probabilities.shape[1] == 2 else np.unique(labels).tolist()
    areas, influences = [], np.zeros(len(labels))
    for label in classes:
        is_of_class = labels == label
        positives, negatives = np.sort(probabilities[is_of_class, label]), np.sort(probabilities[~is_of_class, label])
        if not len(positives) or not len(negatives):
            return Measurement(0.5, influences)
        above = _share_below(negatives, probabilities[is_of_class, label])
        below = 1 - _share_below(positives, probabilities[~is_of_class, label])
        area = above.mean()
        areas.append(area)
        influences[is_of_class] += (above - area) * len(labels) / len(positives)
        influences[~is_of_class] += (below - area) * len(labels) / len(negatives)
    return Measurement(float(np.mean(areas)), influences / len(areas))


def _share_below(ordered: NDArray[np.float32], values: NDArray[np.float32]) -> Floats:
    """The share of `ordered` that is below each value; an equal one counts half."""
    sides = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(sides / (2 * len(ordered)), dtype=np.float64)


def _negative_log_loss(labels: Labels, probabilities: NDArray[np.float32]) -> Measurement:
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    logs = np.log(np.clip(of_label, _SMALLEST, 1 - _SMALLEST))
    mean = float(logs.mean())
    return Measurement(mean, logs - mean)


def _guess_accuracy(counts: Floats) -> Guess:
    share = counts.max() / counts.sum()
    return Guess(1 / len(counts), float(share), math.sqrt(share * (1 - share) / counts.sum()))


def _guess_balanced_accuracy(counts: Floats) -> Guess:
    chance = 1 / len(counts)
    return Guess(chance, chance, _error_of_classes(counts))


def _guess_macro_f1(counts: Floats) -> Guess:
    """Guesses are in proportion to the classes' shares, which gives the highest expected F1."""
    share = counts.max() / counts.sum()
    return Guess(1 / len(counts), float(2 * share / (1 + share) / len(counts)), _error_of_classes(counts))


def _error_of_classes(counts: Floats) -> float:
    """Standard error of the mean recall of uniform guesses; guesses in proportion to the classes have less."""
    chance = 1 / len(counts)
    return math.sqrt(chance * (1 - chance) * (1 / counts).sum()) * chance


def _guess_auc(counts: Floats) -> Guess:
    """The error is the mean over the classes of Mann and Whitney's: no dependence between classes can exceed it."""
    others = counts.sum() - counts
    if not others.any():
        return Guess(0.5, 0.5, 0.0)
    return Guess(0.5, 0.5, float(np.sqrt((counts.sum() + 1) / (12 * counts * others)).mean()))


def _guess_log_loss(counts: Floats) -> Guess:
    """Constant answers cannot beat the entropy of the shares. Varied ones lose their divergence from the shares, d, and
    have a standard error of about sqrt(2 d / n): three errors above the mean is at most 4.5 / n above the entropy.
    """
    shares = counts / counts.sum()
    return Guess(-math.log(len(counts)), float((shares * np.log(shares)).sum()), 4.5 / _NUM_ERRORS / counts.sum())


_ALL = (
    Metric(name="accuracy", title="accuracy", measure=_accuracy, guess_among=_guess_accuracy, is_percent=True),
    Metric(
        name="balanced_accuracy",
        title="balanced accuracy",
        measure=_balanced_accuracy,
        guess_among=_guess_balanced_accuracy,
        is_percent=True,
    ),
    Metric(name="macro_f1", title="macro F1", measure=_macro_f1, guess_among=_guess_macro_f1),
    Metric(name="auc", title="AUC", measure=_auc, guess_among=_guess_auc),
    Metric(
        name="log_loss",
        title="log loss",
        measure=_negative_log_loss,
        guess_among=_guess_log_loss,
        sign=-1,
        best=0.0,
        worst=math.log(_SMALLEST),
    ),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""By the name on the command line."""
