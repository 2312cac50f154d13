"""How much each parameter of the search space matters, from the trials' scores at one epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.space.space import SearchSpace
from search.study.record import TrialRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MIN_TRIALS_FOR_IMPORTANCES = 8
"""With fewer, the best quarter is a single trial."""


@dataclass(frozen=True, kw_only=True)
class EqualEpoch:
    """All trials compared at the first epoch that every one of them reaches."""

    epoch: int
    trials: list[TrialRecord]
    """Trials that have a score there and a config inside the space."""
    scores: list[float]
    chance_level: float
    """A trial with a better score has learned something."""
    importances: dict[str, float]
    """Shares that sum to 1, largest first; empty if the scores cannot tell."""

    @property
    def num_above_chance(self) -> int:
        return sum(score > self.chance_level for score in self.scores)

    @property
    def is_telling(self) -> bool:
        """Whether enough trials are above chance level to learn anything about the parameters."""
        return self.num_above_chance >= MIN_TRIALS_FOR_IMPORTANCES


def equal_epoch(records: Sequence[TrialRecord], epoch: int, space: SearchSpace, *, chance_level: float) -> EqualEpoch:
    """The comparison at `epoch`. A score below `chance_level` may be a guess."""
    trials = [
        record
        for record in records
        if epoch in record.scores
        and all(parameter.allows(record.config[key]) for key, parameter in space.parameters.items())
    ]
    scores = [record.scores[epoch] for record in trials]
    params = [{key: record.config[key] for key in space.parameters} for record in trials]
    compared = EqualEpoch(
        epoch=epoch,
        trials=trials,
        scores=scores,
        chance_level=chance_level,
        importances={},
    )
    if compared.is_telling:
        compared.importances.update(importances(params, scores, space.distributions))
    return compared


def importances(
    params: Sequence[Mapping[str, Any]], scores: Sequence[float], distributions: Mapping[str, BaseDistribution]
) -> dict[str, float]:
    """How much each parameter distinguishes the best quarter of the trials: shares that sum to 1, largest first.

    PED-ANOVA (Watanabe et al., "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces",
    arXiv 2304.10255). Scores must come from one epoch. Empty for too few trials or equal scores.
    """
    if len(scores) < MIN_TRIALS_FOR_IMPORTANCES or len(set(scores)) == 1:
        return {}
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    study = optuna.create_study(direction="maximize", storage=optuna.storages.InMemoryStorage(), study_name="scores")
    study.add_trials(
        [
            optuna.trial.create_trial(params=dict(one), distributions=dict(distributions), value=score)
            for one, score in zip(params, scores, strict=True)
        ]
    )
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=0.25))
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
