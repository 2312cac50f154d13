"""Successive halving by promotion: trials wait at a rung until they are among the best there.

The asynchronous rule of Li et al., "A System for Massively Parallel Hyperparameter Tuning" (arXiv 1810.05934): whenever
a worker is free, the best waiting trial of the highest rung where one is due goes on; else a new trial starts. Where a
trial stands is told by the record alone: it waits if its last score is a rung's and no decision is written there.
"""

from __future__ import annotations

from collections.abc import Mapping

from search.rungs import RungSettings, rungs_of
from search.study import RungDecision, RunStudy, TrialRecord, TrialStatus


class Promotions:
    """Which waiting trial goes on, and, once the search is over, which are stopped; written into the record."""

    def __init__(self, settings: RungSettings, study: RunStudy) -> None:
        self._study = study
        self._reduction_factor = settings.reduction_factor
        self._rungs: dict[int, dict[int, float]] = {epoch: {} for epoch in rungs_of(settings)}
        self._waiting: dict[int, int] = {}
        self._has_winner = False
        self.score_epochs = (*self._rungs, settings.max_epochs)
        """Where trials end or wait: the epochs whose scores are compared."""
        self.stopped: list[int] = []
        """Trials that `close` stopped."""
        for record in study.trials():
            self._adopt(record)

    def is_waiting(self, number: int) -> bool:
        """Whether the trial has reached a rung and neither goes on nor has ended."""
        return number in self._waiting

    def reach(self, number: int, epoch: int, score: float) -> bool:
        """A trial has trained an epoch, which the record knows; whether it waits now."""
        if epoch not in self._rungs:
            return False
        self._rungs[epoch][number] = score
        self._waiting[number] = epoch
        return True

    def complete(self, number: int) -> None:
        """A trial has trained the full length."""
        self._has_winner |= self._study.trial(number).is_within_limits

    def promote(self) -> int | None:
        """The waiting trial that goes on now, its decision written; None if none is due."""
        for epoch in reversed(self._rungs):
            scores = self._rungs[epoch]
            for number in _ranked(scores)[: len(scores) // self._reduction_factor]:
                if self._waiting.get(number) == epoch:
                    return self._let_go_on(number, num_best=len(scores) // self._reduction_factor)
        return None

    def close(self, *, is_in_time: bool) -> int | None:
        """Ends a search without running trials that starts no more: the trial that has to go on first, or None.

        A search without a full-length trial within the limits brings its best one there. Then all that still wait are
        stopped. If the time ran out (not `is_in_time`), trials may wait that were due; going on then took being the
        best of the rung.
        """
        if not self._waiting:
            return None
        candidates = {
            number: epoch for number, epoch in self._waiting.items() if self._study.trial(number).is_within_limits
        }
        if candidates and not self._has_winner:
            best = max(candidates, key=lambda number: (candidates[number], self._score(number), -number))
            return self._let_go_on(best, num_best=1 + _ranked(self._rungs[candidates[best]]).index(best))
        for number in sorted(self._waiting):
            num_scores = len(self._rungs[self._waiting[number]])
            num_best = num_scores // self._reduction_factor if is_in_time else 1
            self._study.record_rung(number, self._decision(number, max(1, num_best), is_stopped=True))
            self._study.finish(number, TrialStatus.STOPPED)
        self.stopped = sorted(self._waiting)
        self._waiting.clear()
        return None

    def _let_go_on(self, number: int, *, num_best: int) -> int:
        self._study.record_rung(number, self._decision(number, num_best, is_stopped=False))
        del self._waiting[number]
        return number

    def _score(self, number: int) -> float:
        return self._rungs[self._waiting[number]][number]

    def _decision(self, number: int, num_best: int, *, is_stopped: bool) -> RungDecision:
        epoch = self._waiting[number]
        scores = self._rungs[epoch]
        return RungDecision(
            epoch=epoch,
            score=scores[number],
            cutoff=scores[_ranked(scores)[num_best - 1]],
            num_scores=len(scores),
            is_stopped=is_stopped,
        )

    def _adopt(self, record: TrialRecord) -> None:
        """Takes a trial from the record, and writes the end that a kill cut off."""
        for epoch, scores in self._rungs.items():
            if epoch in record.val_accuracies:
                scores[record.number] = record.val_accuracies[epoch]
        self._has_winner |= record.status is TrialStatus.COMPLETED and record.is_within_limits
        epoch = record.epochs_trained
        if record.status is not TrialStatus.INTERRUPTED or epoch not in self._rungs:
            return
        decided = {decision.epoch: decision for decision in record.rungs}
        if epoch not in decided:
            self._waiting[record.number] = epoch
        elif decided[epoch].is_stopped:
            self._study.finish(record.number, TrialStatus.STOPPED)


def _ranked(scores: Mapping[int, float]) -> list[int]:
    """Trial numbers, the best score first; of equal ones the lower number."""
    return sorted(scores, key=lambda number: (-scores[number], number))
