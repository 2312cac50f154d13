"""Where trials are compared, and the rule that stops the weak ones; pure.

The rule is the stopping variant of ASHA (Li et al., "A System for Massively Parallel Hyperparameter Tuning",
arXiv 1810.05934): a trial goes on past a rung if its score is among the best 1 / reduction_factor recorded there.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from search.settings import REDUCTION_FACTORS, Scheduler
from search.study.study import RungDecision

PROMOTION_SPACING = 3
"""By promotion, how many times longer the way to each next rung is, whatever share goes on: a rung costs nothing."""


class RungSettings(Protocol):
    """The part of a run's settings that decides where trials stop."""

    @property
    def max_epochs(self) -> int: ...
    @property
    def grace_period(self) -> int: ...
    @property
    def reduction_factor(self) -> int | None: ...
    @property
    def scheduler(self) -> Scheduler: ...


def reduction_factor_of(settings: RungSettings) -> int:
    """One in so many trials goes on past each rung."""
    return settings.reduction_factor or REDUCTION_FACTORS[settings.scheduler]


def rungs_of(settings: RungSettings) -> tuple[int, ...]:
    """Epochs at which a run's trials are compared; see `rung_spacing`."""
    spacing = rung_spacing(settings.scheduler, reduction_factor_of(settings))
    return rung_epochs(settings.grace_period, spacing, settings.max_epochs)


def rung_spacing(scheduler: str, reduction_factor: int) -> int:
    """How many times as many epochs the next rung stands at: by promotion always the same, in ASHA as one in so many
    goes on."""
    return PROMOTION_SPACING if scheduler == "promotion" else reduction_factor


def rung_epochs(grace_period: int, spacing: int, max_epochs: int) -> tuple[int, ...]:
    """Epochs at which trials are compared: grace_period times powers of `spacing`, below max_epochs."""
    epochs = []
    epoch = grace_period
    while epoch < max_epochs:
        epochs.append(epoch)
        epoch *= spacing
    return tuple(epochs)


def decide(epoch: int, score: float, recorded: Sequence[float], reduction_factor: int) -> RungDecision:
    """Compares a score with those recorded at the rung before it. The first to arrive always goes on."""
    cutoff = float(np.percentile(recorded, (1 - 1 / reduction_factor) * 100)) if recorded else None
    return RungDecision(
        epoch=epoch,
        score=score,
        cutoff=cutoff,
        num_scores=len(recorded) + 1,
        is_stopped=cutoff is not None and score < cutoff,
    )
