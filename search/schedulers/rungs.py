"""Where trials are compared, and the scores they have there. Both schedulers read this one table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Protocol

from search.run_options import Scheduler
from search.settings import REDUCTION_FACTORS
from search.study.record import TrialRecord, TrialStatus
from search.study.study import RunStudy

PROMOTION_SPACING = 3
"""With promotion, each rung stands at this multiple of the one before, whatever share of the trials goes on: a paused
trial costs nothing, so an extra rung costs nothing."""


class RungSettings(Protocol):
    """The settings that place the rungs."""

    @property
    def max_epochs(self) -> int: ...
    @property
    def grace_period(self) -> int: ...
    @property
    def reduction_factor(self) -> int | None: ...
    @property
    def scheduler(self) -> Scheduler: ...


def reduction_factor_of(settings: RungSettings) -> int:
    """The reduction factor: one trial in this many goes on past each rung."""
    return settings.reduction_factor or REDUCTION_FACTORS[settings.scheduler]


def rungs_of(settings: RungSettings) -> tuple[int, ...]:
    """The epochs of a run's rungs, ascending."""
    spacing = PROMOTION_SPACING if settings.scheduler == "promotion" else reduction_factor_of(settings)
    return rung_epochs(settings.grace_period, spacing, settings.max_epochs)


def rung_epochs(grace_period: int, spacing: int, max_epochs: int) -> tuple[int, ...]:
    """`grace_period` times the powers of `spacing`, below `max_epochs`."""
    epochs = []
    epoch = grace_period
    while epoch < max_epochs:
        epochs.append(epoch)
        epoch *= spacing
    return tuple(epochs)


class RungTable:
    """The scores of all trials at the rungs, from the record and then from each report."""

    def __init__(
        self, epochs: Sequence[int], records: Iterable[TrialRecord] = (), *, chance_level: float = -math.inf
    ) -> None:
        """`chance_level`: a lower score may be a guess."""
        self.epochs = tuple(epochs)
        self._chance_level = chance_level
        self._scores: dict[int, dict[int, float]] = {epoch: {} for epoch in epochs}
        for record in records:
            for epoch, scores in self._scores.items():
                if (score := record.rung_scores.get(epoch)) is not None:
                    scores[record.number] = score

    def add(self, number: int, epoch: int, score: float) -> None:
        """A trial has reached a rung. KeyError if there is no rung at this epoch."""
        self._scores[epoch][number] = score

    def scores(self, epoch: int) -> Mapping[int, float]:
        """The scores at one rung by trial number, in the order of arrival."""
        return self._scores[epoch]

    def is_at_chance(self, epoch: int, *, min_scores: int) -> bool:
        """Whether a rung holds that many scores and none is above chance, so that its ranking says nothing."""
        scores = self._scores[epoch].values()
        return len(scores) >= min_scores and max(scores) < self._chance_level

    def gains(self, number: int, other: int) -> list[float]:
        """One trial's score minus the other's, at each rung that holds both."""
        both = [scores for scores in self._scores.values() if number in scores and other in scores]
        return [scores[number] - scores[other] for scores in both]

    def ranked(self, epoch: int) -> list[int]:
        """Trial numbers at one rung, the best score first; of equal scores the lower number."""
        scores = self._scores[epoch]
        return sorted(scores, key=lambda number: (-scores[number], number))


def misranked_pairs(records: Iterable[TrialRecord], rung_epoch: int, max_epochs: int) -> tuple[int, int]:
    """How often a rung misled: (pairs it ranked the wrong way round, all pairs), of trials that trained to the end."""
    curves = [record.rung_scores for record in records if record.status is TrialStatus.COMPLETED]
    scores = [(curve[rung_epoch], curve[max_epochs]) for curve in curves if {rung_epoch, max_epochs} <= curve.keys()]
    pairs = list(combinations(scores, 2))
    wrong = sum((early - other_early) * (end - other_end) < 0 for (early, end), (other_early, other_end) in pairs)
    return wrong, len(pairs)


def finish_interrupted_ends(study: RunStudy, max_epochs: int) -> None:
    """Writes the ends that a kill cut off: of trials that trained to the end, and of stops without their status."""
    for record in study.trials():
        if record.status is not TrialStatus.INTERRUPTED:
            continue
        if record.epochs_trained >= max_epochs:
            study.finish(record.number, TrialStatus.COMPLETED, value=record.last_score)
        elif any(rung.epoch == record.epochs_trained and rung.is_stopped for rung in record.rungs):
            study.finish(record.number, TrialStatus.STOPPED)


def undecided(records: Iterable[TrialRecord], rung_epochs: Sequence[int]) -> list[TrialRecord]:
    """Unfinished trials whose last score is at a rung and that have no decision there."""
    return [
        record
        for record in records
        if record.status is TrialStatus.INTERRUPTED
        and record.epochs_trained in rung_epochs
        and record.epochs_trained not in [rung.epoch for rung in record.rungs]
    ]
