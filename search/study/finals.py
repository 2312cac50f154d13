"""The finals: the best configs of the search on fresh seeds, and which of them wins; pure.

The search picked each config by its score, and the best of many scores is partly luck. So the best configs train again
on fresh seeds, with the validation split still held out, and the best mean there wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from search.estimates import Difference, Estimate, estimate_mean, estimate_optimism
from search.settings import SearchSettings
from search.study.ranking import rank_trials
from search.study.record import TrialRecord
from search.study.retrain_record import FINALIST, RetrainRecord


@dataclass(frozen=True, kw_only=True)
class RetrainPlan:
    """How often configs are retrained."""

    num_top: int = 1
    """Configs of the search that enter the finals."""
    num_seeds: int = 1
    """Seeds of every retraining."""

    @classmethod
    def of(cls, settings: SearchSettings, num_trials: int | None = None) -> RetrainPlan:
        """The plan of a run; in its settings, `prepare` has replaced what was left open.

        `num_trials`: of the search, if people have changed it since; there are at most as many finalists.
        """
        num_top = min(settings.retrain_top or 1, num_trials or settings.num_trials)
        return cls(num_top=num_top, num_seeds=settings.retrain_seeds or 1)

    @property
    def has_finals(self) -> bool:
        """Whether there are finals. With one config there is nothing to choose."""
        return self.num_top > 1

    @property
    def num_finals(self) -> int:
        """Trainings of finalists."""
        return self.num_top * self.num_seeds if self.has_finals else 0

    def words(self, *, has_baselines: bool) -> str:
        """Such as "2 finalists, the winner and the baselines on 2 seeds each"."""
        finalists = f"{self.num_top} finalist{'s' if self.num_top > 1 else ''}"
        configs = [
            *([finalists] if self.has_finals else []),
            "the winner",
            *(["the baselines"] if has_baselines else []),
        ]
        listed = " and ".join(filter(None, [", ".join(configs[:-1]), configs[-1]]))
        seeds = "one seed" if self.num_seeds == 1 else f"{self.num_seeds} seeds"
        return f"{listed} on {seeds}{' each' if len(configs) > 1 else ''}"

    def num_trainings(self, num_baselines: int) -> int:
        """All retrainings: of finalists, the winner and the baselines."""
        return self.num_finals + self.num_seeds * (1 + num_baselines)

    def num_rounds(self, num_baselines: int, num_slots: int) -> int:
        """Trainings one after another in the longest chain, if each takes as long; the winner's wait for the finals."""
        in_a_row = ceil(self.num_finals / num_slots) + ceil(self.num_seeds / num_slots)
        return max(in_a_row, ceil(self.num_trainings(num_baselines) / num_slots))


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """One of the best configs. Scores are single view, on the validation images."""

    record: TrialRecord
    fresh_scores: tuple[float, ...]
    """One for each retraining on a fresh seed that has ended; the metric's worst if it diverged."""

    @property
    def search_score(self) -> float:
        """The score the search picked it by."""
        return self.record.scores[self.record.epochs_trained]

    @property
    def fresh(self) -> Estimate | None:
        """The mean on fresh seeds; None before the first has ended."""
        return estimate_mean(self.fresh_scores) if self.fresh_scores else None

    @property
    def optimism(self) -> Difference | None:
        """The search's score minus the mean on fresh seeds; None before the first has ended."""
        return estimate_optimism(self.search_score, self.fresh_scores) if self.fresh_scores else None


@dataclass(frozen=True, kw_only=True)
class Finals:
    """The finalists, best of the search first."""

    plan: RetrainPlan
    finalists: list[Finalist]

    @property
    def is_over(self) -> bool:
        """Whether every score that the choice needs is there."""
        if not self.plan.has_finals:
            return bool(self.finalists)
        return all(len(one.fresh_scores) == self.plan.num_seeds for one in self.finalists) and bool(self.finalists)

    @property
    def winner(self) -> Finalist | None:
        """The finalist with the best mean on fresh seeds; of equals, and until the finals are over, the search's best.

        None while no trial has a score.
        """
        if not self.finalists:
            return None
        if not self.plan.has_finals or not self.is_over:
            return self.finalists[0]
        return max(self.finalists, key=lambda one: sum(one.fresh_scores))


def finals_of(records: Iterable[TrialRecord], retrains: Sequence[RetrainRecord], plan: RetrainPlan) -> Finals:
    """The finals of a run as far as the record has them. If any config is within the limits, only such configs."""
    ranked = rank_trials(records)
    chosen = ([record for record in ranked if record.is_within_limits] or ranked)[: plan.num_top]
    return Finals(
        plan=plan,
        finalists=[Finalist(record=one, fresh_scores=_fresh_scores(one.number, retrains, plan)) for one in chosen],
    )


def _fresh_scores(trial_number: int, retrains: Sequence[RetrainRecord], plan: RetrainPlan) -> tuple[float, ...]:
    if not plan.has_finals:
        return ()
    return tuple(
        one.val_score
        for one in retrains
        if one.config_name == FINALIST and one.trial_number == trial_number and one.seed_index < plan.num_seeds
        if one.val_score is not None
    )
