"""The finals: the best configs of the search on fresh seeds, and which of them wins; pure.

A config is chosen by its score in the search, which flatters it: the best of many scores is in part luck. On fresh
seeds it starts anew, with the validation split still held out, and the best mean there wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from search.estimates import Difference, Estimate, estimate_mean, estimate_optimism
from search.study.ranking import rank_trials
from search.study.study import TrialRecord

FINALIST = "finalist"


@dataclass(frozen=True, kw_only=True)
class RetrainPlan:
    """How often configs are retrained."""

    num_top: int = 1
    """The best configs of the search that meet on fresh seeds."""
    num_seeds: int = 1
    """Seeds of every retraining."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> RetrainPlan:
        """From a run's settings by name; runs from before there were finals have none."""
        return cls(num_top=settings.get("retrain_top") or 1, num_seeds=settings.get("retrain_seeds") or 1)

    @property
    def has_finals(self) -> bool:
        """Whether there is anything to see on fresh seeds; one config on one seed would only be trained once more."""
        return self.num_top > 1 or self.num_seeds > 1


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """One of the best configs. Scores are validation accuracies, fractions 0..1, single view."""

    record: TrialRecord
    fresh_scores: tuple[float, ...]
    """Of the retrainings on fresh seeds that have ended; a diverged one counts 0."""

    @property
    def search_score(self) -> float:
        """What it was chosen by."""
        return self.record.val_accuracies[self.record.epochs_trained]

    @property
    def fresh(self) -> Estimate | None:
        return estimate_mean(self.fresh_scores) if self.fresh_scores else None

    @property
    def optimism(self) -> Difference | None:
        """The search's score minus the mean on fresh seeds; None before there is one."""
        return estimate_optimism(self.search_score, self.fresh_scores) if self.fresh_scores else None


@dataclass(frozen=True, kw_only=True)
class Finals:
    """The finalists, best of the search first."""

    plan: RetrainPlan
    finalists: list[Finalist]

    @property
    def is_over(self) -> bool:
        """Whether all that the choice needs is there."""
        if not self.plan.has_finals:
            return bool(self.finalists)
        return all(len(one.fresh_scores) == self.plan.num_seeds for one in self.finalists) and bool(self.finalists)

    @property
    def winner(self) -> Finalist | None:
        """The best mean on fresh seeds, of equal ones the better in the search, who also leads until all are there."""
        if not self.finalists:
            return None
        if not self.plan.has_finals or not self.is_over:
            return self.finalists[0]
        return max(self.finalists, key=lambda one: sum(one.fresh_scores))


def finals_of(records: Iterable[TrialRecord], notes: Mapping[str, Any], plan: RetrainPlan) -> Finals:
    """The finals of a run, as far as the record has them. Configs within the limits only, if there are any."""
    ranked = rank_trials(records)
    chosen = ([record for record in ranked if record.is_within_limits] or ranked)[: plan.num_top]
    return Finals(
        plan=plan,
        finalists=[Finalist(record=one, fresh_scores=_fresh_scores(one.number, notes, plan)) for one in chosen],
    )


def finalist_key(trial_number: int, seed_index: int) -> str:
    """What the record calls a finalist's retraining on one fresh seed."""
    return f"{FINALIST}:{trial_number}:{seed_index}"


def _fresh_scores(trial_number: int, notes: Mapping[str, Any], plan: RetrainPlan) -> tuple[float, ...]:
    if not plan.has_finals:
        return ()
    keys = (finalist_key(trial_number, index) for index in range(plan.num_seeds))
    return tuple(float(notes[key]["val_accuracy"]) for key in keys if key in notes)
