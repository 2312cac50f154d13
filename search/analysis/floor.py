"""What a classifier scores that has learned nothing; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search.setup.survey_text import is_imbalanced
from search.text import percent


@dataclass(frozen=True, kw_only=True)
class Floor:
    """Scores on the test images, fractions 0..1."""

    chance: float
    """Of guessing among the classes."""
    majority: float
    """Of always answering the largest class."""
    largest_class: str
    is_imbalanced: bool
    """Whether that is far more than chance, so that accuracy misleads."""

    @property
    def note(self) -> str:
        """For beside an accuracy."""
        return f"chance {percent(self.chance)}, always {self.largest_class} {percent(self.majority)}"


def floor_of(classes: Mapping[str, int]) -> Floor:
    """The floor of test images, counted by class."""
    largest = max(classes, key=lambda name: classes[name])
    return Floor(
        chance=1 / len(classes),
        majority=classes[largest] / sum(classes.values()),
        largest_class=largest,
        is_imbalanced=is_imbalanced(classes),
    )


def floor_sentence(floor: Floor, accuracy: float, low: float | None, balanced: float | None) -> str:
    """An accuracy beside the floor. `low`: the lower end of its interval. `balanced`: the balanced accuracy."""
    words = (
        f"Guessing scores {percent(floor.chance)}, always answering {floor.largest_class} {percent(floor.majority)} of "
        "the test images."
    )
    if floor.is_imbalanced and balanced is not None:
        words += f" The winner's balanced accuracy, the mean over the classes, is {percent(balanced)}."
    best = max(floor.chance, floor.majority)
    if accuracy <= best:
        return f"{words} The winner is no better than that: it may have learned nothing."
    return f"{words} The winner may be no better than that." if low is not None and low <= best else words
