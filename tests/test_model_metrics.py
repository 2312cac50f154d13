"""The metrics against scikit-learn's, their errors against the bootstrap, their guesses against simulated guesses."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, roc_auc_score

from model.metrics import METRICS, Labels

Probabilities = NDArray[np.float32]
NAMES = list(METRICS)
SHARES = {"two": (0.9, 0.1), "three": (0.7, 0.25, 0.05), "ten": (0.1,) * 10}


def answers(shares: tuple[float, ...], num: int, *, skill: float = 1.0, seed: int = 0) -> tuple[Labels, Probabilities]:
    """Labels with these shares, each class at least once, and probabilities that know something about them."""
    rng = np.random.default_rng(seed)
    counts = np.maximum(1, np.round(num * np.array(shares))).astype(int)
    labels = rng.permutation(np.repeat(np.arange(len(shares)), counts))
    logits = rng.normal(size=(len(labels), len(shares)))
    logits[np.arange(len(labels)), labels] += skill
    exponents = np.exp(logits)
    return labels, (exponents / exponents.sum(1, keepdims=True)).astype(np.float32)


def area(labels: Labels, probabilities: Probabilities) -> float:
    if probabilities.shape[1] == 2:
        return float(roc_auc_score(labels, probabilities[:, 1]))
    return float(roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"))


ORACLES: dict[str, Callable[[Labels, Probabilities], float]] = {
    "accuracy": lambda labels, probabilities: float((probabilities.argmax(1) == labels).mean()),
    "balanced_accuracy": lambda labels, probabilities: balanced_accuracy_score(labels, probabilities.argmax(1)),
    "macro_f1": lambda labels, probabilities: f1_score(labels, probabilities.argmax(1), average="macro"),
    "auc": area,
    "log_loss": lambda labels, probabilities: log_loss(labels, probabilities, labels=range(probabilities.shape[1])),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES)
@pytest.mark.parametrize("digits", [1, 7])
def test_a_metric_is_scikit_learns(name: str, shares: tuple[float, ...], digits: int) -> None:
    """With one digit, many probabilities are equal, and some are 0 or 1."""
    labels, probabilities = answers(shares, 300, skill=1.5)
    probabilities = np.round(probabilities, digits)
    metric = METRICS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rounded probabilities do not sum to 1
        if digits == 1 and name == "auc" and len(shares) > 2:
            probabilities /= probabilities.sum(1, keepdims=True)
        expected = ORACLES[name](labels, probabilities)
    assert metric.value(metric.measure(labels, probabilities).score) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_of_two_classifiers_the_better_one_has_the_higher_score(name: str) -> None:
    good, bad = (METRICS[name].measure(*answers(SHARES["ten"], 500, skill=skill)) for skill in (3.0, 0.5))
    assert METRICS[name].worst < bad.score < good.score < METRICS[name].best


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shares", [SHARES["three"], SHARES["ten"]], ids=["three", "ten"])
def test_the_standard_error_is_that_of_the_bootstrap(name: str, shares: tuple[float, ...]) -> None:
    labels, probabilities = answers(shares, 600)
    measured = METRICS[name].measure(labels, probabilities)
    rng = np.random.default_rng(1)
    draws = (rng.integers(0, len(labels), len(labels)) for _ in range(400))
    scores = [METRICS[name].measure(labels[draw], probabilities[draw]).score for draw in draws]
    assert measured.error == pytest.approx(np.std(scores), rel=0.15)
    assert measured.influences.sum() == pytest.approx(0, abs=1e-6 * len(labels))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES)
def test_guesses_rarely_reach_the_chance_level_and_networks_that_learnt_pass_it(
    name: str, shares: tuple[float, ...]
) -> None:
    """Guesses of several kinds: random answers, sure or not, and one class for nearly all images."""
    metric = METRICS[name]
    labels, _ = answers(shares, 400)
    counts = np.bincount(labels)
    level = metric.chance_level(counts)
    rng = np.random.default_rng(2)
    scores = []
    for spread in (0.03, 0.1, 0.3, 3.0):
        for offset in (0.0, 1.0):
            for _ in range(40):
                logits = np.log(np.array(shares)) * offset + rng.normal(0, spread, (len(labels), len(shares)))
                exponents = np.exp(logits)
                probabilities = (exponents / exponents.sum(1, keepdims=True)).astype(np.float32)
                scores.append(metric.measure(labels, probabilities).score)
    assert np.mean(np.array(scores) > level) < 0.01
    assert metric.measure(*answers(shares, 400, skill=4.0)).score > level


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES)
def test_the_majoritys_score_is_measured_as_any_other(name: str, shares: tuple[float, ...]) -> None:
    labels, _ = answers(shares, 400)
    counts = np.bincount(labels)
    constant = np.tile((counts / counts.sum() + 1e-7 * (counts == counts.max())).astype(np.float32), (len(labels), 1))
    measured = METRICS[name].measure(labels, constant).score
    if counts.max() > np.median(counts):  # of equal classes, none is the largest
        assert METRICS[name].guess(counts).majority == pytest.approx(measured, abs=1e-5)


def test_chance_is_what_guessing_at_random_scores() -> None:
    counts = np.array([300, 100, 0])
    chances = {name: metric.value(metric.guess(counts).chance) for name, metric in METRICS.items()}
    expected = {"accuracy": 0.5, "balanced_accuracy": 0.5, "macro_f1": 0.5, "auc": 0.5, "log_loss": math.log(2)}
    assert chances == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_odd_splits_and_answers_are_measured_without_a_warning(name: str) -> None:
    """A class without images, images of a single class, one answer for all, a single image, probabilities of 0."""
    metric = METRICS[name]
    sure = np.eye(3, dtype=np.float32)
    cases = [([0, 0, 1, 1], sure[[0, 1, 1, 2]]), ([1, 1], sure[[1, 2]]), ([0, 1, 2], sure[[0, 0, 0]]), ([2], sure[[0]])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for labels, probabilities in cases:
            measured = metric.measure(np.array(labels), probabilities)
            assert metric.worst <= measured.score <= metric.best
            assert math.isfinite(measured.error)
            assert math.isfinite(metric.chance_level(np.bincount(labels, minlength=3)))


def test_what_scikit_learn_leaves_open_or_refuses() -> None:
    zero = np.array([[1.0, 0.0, 0.0]], dtype=np.float32)
    assert METRICS["log_loss"].measure(np.array([1]), zero).score == pytest.approx(-15.94, abs=0.01)
    assert METRICS["auc"].measure(np.array([1, 1]), np.eye(3, dtype=np.float32)[[1, 2]]).score == 0.5
    labels, probabilities = answers(SHARES["three"], 300)
    kept = labels != 2
    [without] = [METRICS["auc"].measure(labels[kept], probabilities[kept]).score]
    each = [roc_auc_score(labels[kept] == label, probabilities[kept][:, label]) for label in (0, 1)]
    assert without == pytest.approx(np.mean(each))
