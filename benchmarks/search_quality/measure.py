"""What a search would hand over after every epoch it trained, and how good that really is; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

REGRET_BUDGETS = (5, 10, 20, 50)
"""In full trainings."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A trial's score after one of its epochs, and where its curve will end."""

    trial: str
    epoch: int
    score: float
    final_score: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One search on one problem. Lengths are in full trainings, all workers' epochs added up."""

    found_after: float | None
    """Until the config that would be handed over was first among the best 1 %; None if it never was."""
    regrets: tuple[float | None, ...]
    """At each of REGRET_BUDGETS that the search reached: how far the handed-over config's end is below the best."""


def outcome(
    scores: Iterable[Score], *, num_epochs: int, top_score: float, best_score: float, budget: float, patience: float
) -> Outcome:
    """Follows a search until `budget` full trainings are spent; one that has not found by then, until `patience` are.

    Handed over is what `rank_trials` puts first.
    """
    furthest: tuple[int, float] = (0, float("-inf"))
    handed_over: Score | None = None
    found_after: float | None = None
    regrets: list[float] = []
    spent = 0
    for spent, score in enumerate(scores, start=1):
        if (score.epoch, score.score) > furthest:
            furthest, handed_over = (score.epoch, score.score), score
        assert handed_over is not None
        if found_after is None and handed_over.final_score >= top_score:
            found_after = spent / num_epochs
        if len(regrets) < len(REGRET_BUDGETS) and spent >= REGRET_BUDGETS[len(regrets)] * num_epochs:
            regrets.append(max(0.0, best_score - handed_over.final_score))
        if spent >= (patience if found_after is None else budget) * num_epochs:
            break
    missing = len(REGRET_BUDGETS) - len(regrets)
    return Outcome(found_after=found_after, regrets=(*regrets, *[None] * missing))


def censored(outcomes: Sequence[Outcome], patience: float) -> list[float]:
    """Full trainings until found; a search that did not find counts as found when patience ended, which flatters it."""
    return [patience if outcome.found_after is None else outcome.found_after for outcome in outcomes]
