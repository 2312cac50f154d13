"""Successive halving by promotion: trials wait at a rung until they are among the best there.

The asynchronous rule of Li et al., "A System for Massively Parallel Hyperparameter Tuning" (arXiv 1810.05934): whenever
a worker is free, the best waiting trial of the highest rung where one is due goes on; else a new trial starts. Where a
trial stands is told by the record alone: it waits if its last score is a rung's and no decision is written there.

Early ranks may mislead, so they are checked: a share of all epochs goes into trials that are sent on to the end, rungs
or not. The share is the doubt in the rungs: how often one of them ranked two full-length trials the wrong way round.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from search.schedulers.rungs import RungSettings, reduction_factor_of, rungs_of
from search.study.study import RungDecision, RunStudy, TrialRecord, TrialStatus

NUM_FINALISTS = 3
"""Full-length trials that a search ends with, at the least: the best of a rung need not be the best at the end."""


class Promotions:
    """Which waiting trial goes on, and, once the search is over, which are stopped; written into the record."""

    def __init__(self, settings: RungSettings, study: RunStudy) -> None:
        self._study = study
        self._reduction_factor = reduction_factor_of(settings)
        self._max_epochs = settings.max_epochs
        self._rungs: dict[int, dict[int, float]] = {epoch: {} for epoch in rungs_of(settings)}
        self._waiting: dict[int, int] = {}
        self._epochs: dict[int, int] = {}
        self._sent_to_end: set[int] = set()
        self._final_scores: dict[int, float] = {}
        self._num_wrong = 0
        """Of all pairs of full-length trials at all rungs, those ranked the wrong way round."""
        self._num_winners = 0
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
        self._epochs[number] = epoch
        if epoch in self._rungs:
            self._rungs[epoch][number] = score
            if number not in self._sent_to_end:
                self._waiting[number] = epoch
        return number in self._waiting

    def complete(self, number: int) -> None:
        """A trial has trained the full length."""
        self._note_completed(self._study.trial(number))

    def promote(self) -> int | None:
        """The waiting trial that goes on now, its decision written; None if none is due."""
        if self._is_end_due() and (best := self._best_within_limits()) is not None:
            return self._send_to_end(best)
        for epoch in reversed(self._rungs):
            scores = self._rungs[epoch]
            for number in _ranked(scores)[: len(scores) // self._reduction_factor]:
                if self._waiting.get(number) == epoch:
                    return self._let_go_on(number, num_best=len(scores) // self._reduction_factor)
        return None

    def close(self, *, is_in_time: bool, num_underway: int) -> int | None:
        """Ends a search that starts no more trials: the trial that has to go on first, or None.

        The best that wait go to the end until that makes `NUM_FINALISTS`, or one if the time ran out (not
        `is_in_time`). Trials underway count as some of them, wherever they are: a worker that they leave idle need not
        wait to see how far they come. Once none is underway, all that still wait are stopped. If the time ran out,
        trials may wait that were due; going on then took being the best of the rung.
        """
        num_missing = (NUM_FINALISTS if is_in_time else 1) - self._num_winners - num_underway
        if num_missing > 0 and (best := self._best_within_limits()) is not None:
            return self._send_to_end(best)
        if num_underway:
            return None
        for number in sorted(self._waiting):
            num_scores = len(self._rungs[self._waiting[number]])
            num_best = num_scores // self._reduction_factor if is_in_time else 1
            self._study.record_rung(number, self._decision(number, max(1, num_best), is_stopped=True))
            self._study.finish(number, TrialStatus.STOPPED)
        self.stopped = sorted(self._waiting)
        self._waiting.clear()
        return None

    def _is_end_due(self) -> bool:
        """Whether one more full training keeps within the share of all epochs that is due to full trainings."""
        others = sum(epochs for number, epochs in self._epochs.items() if number not in self._sent_to_end)
        cost = (len(self._sent_to_end) + 1) * self._max_epochs
        return cost <= self._doubt_in_rungs() * (others + cost)

    def _doubt_in_rungs(self) -> float:
        """Chance that a rung ranks two trials the wrong way round, by all pairs of full-length trials.

        Before there are any: as if of `reduction_factor` pairs one had been the wrong way round.
        """
        num_pairs = math.comb(len(self._final_scores), 2)
        return (1 + self._num_wrong / max(1, len(self._rungs))) / (self._reduction_factor + num_pairs)

    def _best_within_limits(self) -> int | None:
        """Of all that wait, the one that came furthest, of equals the one with the best score there."""
        best_first = sorted(self._waiting, key=lambda number: (-self._waiting[number], -self._score(number), number))
        return next((number for number in best_first if self._study.trial(number).is_within_limits), None)

    def _send_to_end(self, number: int) -> int:
        self._sent_to_end.add(number)
        num_best = 1 + _ranked(self._rungs[self._waiting[number]]).index(number)
        return self._let_go_on(number, num_best=num_best, is_sent_to_end=True)

    def _let_go_on(self, number: int, *, num_best: int, is_sent_to_end: bool = False) -> int:
        decision = self._decision(number, num_best, is_stopped=False)
        self._study.record_rung(number, dataclasses.replace(decision, is_sent_to_end=is_sent_to_end))
        del self._waiting[number]
        return number

    def _score(self, number: int) -> float:
        return self._rungs[self._waiting[number]][number]

    def _note_completed(self, record: TrialRecord) -> None:
        self._sent_to_end.add(record.number)
        self._epochs[record.number] = record.epochs_trained
        final_score = record.val_accuracies[record.epochs_trained]
        self._num_wrong += sum(
            (scores[record.number] - scores[other]) * (final_score - other_final_score) < 0
            for scores in self._rungs.values()
            for other, other_final_score in self._final_scores.items()
        )
        self._final_scores[record.number] = final_score
        self._num_winners += record.is_within_limits

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
        epoch = self._epochs[record.number] = record.epochs_trained
        if any(decision.is_sent_to_end for decision in record.rungs):
            self._sent_to_end.add(record.number)
        if record.status is TrialStatus.COMPLETED:
            self._note_completed(record)
        if record.status is not TrialStatus.INTERRUPTED or epoch not in self._rungs:
            return
        decided = {decision.epoch: decision for decision in record.rungs}
        if epoch in decided:
            if decided[epoch].is_stopped:
                self._study.finish(record.number, TrialStatus.STOPPED)
        elif record.number not in self._sent_to_end:
            self._waiting[record.number] = epoch


def _ranked(scores: Mapping[int, float]) -> list[int]:
    """Trial numbers, the best score first; of equal ones the lower number."""
    return sorted(scores, key=lambda number: (-scores[number], number))
