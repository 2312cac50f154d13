"""What a classifier scores that has learned nothing; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model.metrics import METRICS, Metric
from model.objective import MetricName
from search.text import percent, score_text


@dataclass(frozen=True, kw_only=True)
class Floor:
    """Scores on the images of a split."""

    metric: Metric
    chance: float
    """Of guessing among the classes."""
    majority: float
    """Of always giving one answer: the largest class; for the log loss, the classes' shares as probabilities."""
    largest_class: str
    is_imbalanced: bool = False
    """Whether the classes' sizes make the accuracy misleading."""

    @property
    def rows(self) -> list[tuple[str, float]]:
        """What each way of guessing scores."""
        return [("guessing", self.chance), (self._answer, self.majority)]

    @property
    def note(self) -> str:
        """For beside a score."""
        chance, majority = (score_text(self.metric, score) for score in (self.chance, self.majority))
        return f"chance {chance}, {self._answer} {majority}"

    @property
    def _answer(self) -> str:
        return "always the classes' shares" if self.metric.name == "log_loss" else f"always {self.largest_class}"


def floor_of(classes: Mapping[str, int], metric_name: MetricName, *, is_imbalanced: bool = False) -> Floor:
    """The floor of a split's images, counted by class."""
    largest = max(classes, key=lambda name: classes[name])
    guess = METRICS[metric_name].guess(np.array(list(classes.values())))
    return Floor(
        metric=METRICS[metric_name],
        chance=guess.chance,
        majority=guess.majority,
        largest_class=largest,
        is_imbalanced=is_imbalanced,
    )


def floor_sentence(floor: Floor, score: float, low: float | None, balanced: float | None) -> str:
    """Whether a score is better than the floor, if that is in doubt. `low`: the lower end of its interval.

    `balanced`: the balanced accuracy, which is told if the accuracy misleads.
    """
    sentences = []
    if floor.is_imbalanced and balanced is not None and floor.metric.name == "accuracy":
        sentences.append(f"The winner's balanced accuracy, the mean over the classes, is {percent(balanced)}.")
    best = max(floor.chance, floor.majority)
    if score <= best:
        sentences.append("The winner is no better than guessing: it may have learned nothing.")
    elif low is not None and low <= best:
        sentences.append("The winner may be no better than guessing.")
    return " ".join(sentences)
