"""ASHA, the stopping variant: a weak trial ends for good at a rung.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", arXiv 1810.05934. A trial goes on past a rung if its
score is among the best 1 / reduction_factor of the scores recorded there so far.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from search.schedulers.rungs import RungSettings, RungTable, reduction_factor_of, rungs_of, undecided
from search.study.record import RungDecision, TrialStatus
from search.study.study import RunStudy


class StoppingRule:
    """Stops trials at rungs, by the scores in the record: a resumed run decides as an undisturbed one would."""

    def __init__(self, settings: RungSettings, study: RunStudy, *, chance_level: float = -math.inf) -> None:
        """A rung where several trials are all below `chance_level` stops none.

        Also makes the decisions that a kill cut off, each on all scores of its rung.
        """
        self._study = study
        self._reduction_factor = reduction_factor_of(settings)
        records = study.trials()
        self._table = RungTable(rungs_of(settings), records, chance_level=chance_level)
        for record in undecided(records, self._table.epochs):
            self.reach(record.number, record.epochs_trained, record.scores[record.epochs_trained])

    def reach(self, number: int, epoch: int, score: float) -> bool:
        """A trial has trained an epoch; returns whether it is stopped, and records the decision at a rung."""
        if epoch not in self._table.epochs:
            return False
        others = [recorded for other, recorded in self._table.scores(epoch).items() if other != number]
        self._table.add(number, epoch, score)
        decision = decide(epoch, score, others, self._reduction_factor)
        if self._table.is_at_chance(epoch, min_scores=self._reduction_factor):
            decision = dataclasses.replace(decision, cutoff=None, is_stopped=False, is_at_chance=True)
        self._study.record_rung(number, decision)
        if decision.is_stopped:
            self._study.finish(number, TrialStatus.STOPPED)
        return decision.is_stopped

    def complete(self, number: int) -> None:
        """A trial has trained the full length, which changes nothing here."""


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
