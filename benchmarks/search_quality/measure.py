"""What a search would hand over after every epoch it trained, and how good that really is; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

REGRET_BUDGETS = (1, 2, 5, 10, 20)
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
    """Until the handed-over config was first among the best 1 %; None if it never was."""
    stays_found_after: float | None
    """From when on it was among them without a break until the budget was spent or the search had ended; None if it
    was not among them then. Unlike `found_after`, this gives no credit to a search that finds by changing often."""
    regrets: tuple[float | None, ...]
    """At each of REGRET_BUDGETS that the search reached: how far the handed-over config's end is below the best, in
    units of the best end minus the median end of all configs."""


def outcome(
    scores: Iterable[Score],
    *,
    num_epochs: int,
    top_score: float,
    best_score: float,
    median_score: float,
    budget: float,
    patience: float,
) -> Outcome:
    """Follows a search until `budget` full trainings are spent; one that has not found by then, until `patience` are.

    Handed over is what `rank_trials` puts first. `top_score`, `best_score`, `median_score`: final scores of the
    problem's configs, the best above the median.
    """
    furthest: tuple[int, float] = (0, float("-inf"))
    handed_over: Score | None = None
    found_after: float | None = None
    stays_found_after: float | None = None
    regrets: list[float] = []
    for spent, score in enumerate(scores, start=1):
        if (score.epoch, score.score) > furthest:
            furthest, handed_over = (score.epoch, score.score), score
        assert handed_over is not None
        is_found = handed_over.final_score >= top_score
        if is_found and found_after is None:
            found_after = spent / num_epochs
        if spent <= budget * num_epochs:
            if not is_found:
                stays_found_after = None
            elif stays_found_after is None:
                stays_found_after = spent / num_epochs
        if len(regrets) < len(REGRET_BUDGETS) and spent >= REGRET_BUDGETS[len(regrets)] * num_epochs:
            regrets.append(max(0.0, best_score - handed_over.final_score) / (best_score - median_score))
        if spent >= (patience if found_after is None else budget) * num_epochs:
            break
    missing = len(REGRET_BUDGETS) - len(regrets)
    return Outcome(found_after=found_after, stays_found_after=stays_found_after, regrets=(*regrets, *[None] * missing))


def censored(outcomes: Sequence[Outcome], patience: float) -> list[float]:
    """Full trainings until found; a search that did not find counts as found when patience ended, which flatters it."""
    return [patience if outcome.found_after is None else outcome.found_after for outcome in outcomes]
