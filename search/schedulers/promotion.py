"""Successive halving by promotion: trials pause at each rung until they are among the best there.

The asynchronous rule of Li et al., "A System for Massively Parallel Hyperparameter Tuning" (arXiv 1810.05934): when a
worker is free, the best paused trial of the highest rung where one is due goes on; otherwise a new trial starts. The
record alone says where a trial stands: it is paused if its last score is at a rung and no decision is written there.

In a run, a rung compares whole trainings: up to it, the learning rate runs through its schedule, and a trial that goes
on starts anew with a longer one. The first epochs of a long schedule say little of its end: they are mostly warm-up.

Early ranks may mislead, so they are checked: a share of all epochs goes to trials that are sent to the last epoch
whatever the rungs say. The share is the doubt in the rungs: how often a rung ranked two full-length trials the wrong
way round.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from search.schedulers.rungs import RungSettings, RungTable, reduction_factor_of, rungs_of, undecided
from search.study.record import RungDecision, TrialRecord, TrialStatus
from search.study.study import RunStudy

NUM_FINALISTS = 3
"""Full-length trials that a search ends with, at least: the best at a rung need not be the best at the end."""

PRIOR_PAIRS = 3
"""Before two full-length trials can be compared, rungs are taken to rank one pair in this many the wrong way round. In
benchmarks/search_quality, 1/6 is better where rungs tell the truth and 1/2 where they mislead."""


class PromotionRule:
    """Decides which paused trial goes on, and, when the search ends, which are stopped. Writes into the record."""

    def __init__(
        self, settings: RungSettings, study: RunStudy, *, chance_level: float = -math.inf, starts_anew: bool = False
    ) -> None:
        """`chance_level`: where several trials are all below it, a rung holds none up.

        `starts_anew`: whether rungs compare whole trainings; else a trial's one training goes on.
        """
        self._study = study
        self._starts_anew = starts_anew
        self._reduction_factor = reduction_factor_of(settings)
        self._max_epochs = settings.max_epochs
        records = study.trials()
        self._table = RungTable(rungs_of(settings), records, chance_level=chance_level)
        self._epochs_spent = {record.number: _epochs_paid_for(record) for record in records}
        self._sent_to_end = {record.number for record in records if any(rung.is_sent_to_end for rung in record.rungs)}
        self._ends: dict[int, tuple[float, float]] = {}
        """Final score and its standard error of each full-length trial."""
        self._num_misranked = 0.0
        """Pairs of full-length trials ranked the wrong way round, averaged over the rungs that hold both."""
        self._num_pairs = 0
        """Pairs of full-length trials whose ends differ by more than noise."""
        self._num_finalists = 0
        """Full-length trials within the limits."""
        self.score_epochs = (*self._table.epochs, settings.max_epochs)
        """The epochs whose scores are compared: the rungs and the end."""
        self.stopped: list[int] = []
        """Trials that `close` stopped."""
        for record in records:
            if record.status is TrialStatus.COMPLETED:
                self._note_completed(record)
        self._paused = {
            record.number: record.epochs_trained
            for record in undecided(records, self._table.epochs)
            if record.number not in self._sent_to_end
        }

    def is_paused(self, number: int) -> bool:
        """Whether the trial stands at a rung and has neither gone on nor ended."""
        return number in self._paused

    def training_epochs(self, record: TrialRecord) -> int:
        """Length of the training that a trial is in, or begins: to the next rung or the end."""
        if not self._starts_anew:
            return self._max_epochs
        return (record.rungs[-1].next_epochs or self._max_epochs) if record.rungs else self.score_epochs[0]

    def reach(self, number: int, epoch: int, score: float) -> bool:
        """A trial has trained an epoch, which is in the record; returns whether it pauses now."""
        self._epochs_spent[number] = self._epochs_spent.get(number, 0) + 1
        is_sent_to_end = number in self._sent_to_end
        if epoch in self._table.epochs and not (is_sent_to_end and self._starts_anew):
            self._table.add(number, epoch, score)
            if not is_sent_to_end:
                self._paused[number] = epoch
        return number in self._paused

    def complete(self, number: int) -> None:
        """A trial has trained the full length."""
        self._note_completed(self._study.trial(number))

    def promote(self) -> int | None:
        """The paused trial that goes on now, its decision written; None if none is due."""
        if self._is_full_training_due() and (best := self._best_within_limits()) is not None:
            return self._send_to_end(best)
        for epoch in reversed(self._table.epochs):
            if self._table.is_at_chance(epoch, min_scores=self._reduction_factor):
                if at_rung := [number for number, paused_at in self._paused.items() if paused_at == epoch]:
                    return self._resume(min(at_rung), num_best=1, cutoff=None, is_at_chance=True)
                continue
            num_due = len(self._table.scores(epoch)) // self._reduction_factor
            for number in self._table.ranked(epoch)[:num_due]:
                if self._paused.get(number) == epoch:
                    return self._resume(number, num_best=num_due)
        return None

    def close(self, *, is_in_time: bool, num_underway: int) -> int | None:
        """Ends a search that starts no new trials. Returns the paused trial that goes on next, or None.

        The best paused trials are sent to the end until `NUM_FINALISTS` have trained the full length, or one if time
        ran out (not `is_in_time`). Running trials count toward that number wherever they are, so that a worker need not
        idle to see how far they come. Once none is running, all paused trials are stopped. If time ran out, some of
        them were due for promotion, so the cutoff recorded is the best score of their rung.
        """
        num_missing = (NUM_FINALISTS if is_in_time else 1) - self._num_finalists - num_underway
        if num_missing > 0 and (best := self._best_within_limits()) is not None:
            return self._send_to_end(best)
        if num_underway:
            return None
        with self._study.one_write():
            for number in sorted(self._paused):
                num_scores = len(self._table.scores(self._paused[number]))
                num_best = num_scores // self._reduction_factor if is_in_time else 1
                self._study.record_rung(number, self._decision(number, max(1, num_best), is_stopped=True))
                self._study.finish(number, TrialStatus.STOPPED)
        self.stopped = sorted(self._paused)
        self._paused.clear()
        return None

    def _is_full_training_due(self) -> bool:
        """Whether one more full training stays within the share of all epochs that full trainings may take."""
        others = sum(epochs for number, epochs in self._epochs_spent.items() if number not in self._sent_to_end)
        cost = (len(self._sent_to_end) + 1) * self._max_epochs
        return cost <= self._doubt_in_rungs() * (others + cost)

    def _doubt_in_rungs(self) -> float:
        """Chance that a rung ranks two trials the wrong way round, from pairs of full-length trials with unequal ends.

        The prior is one wrong pair in `PRIOR_PAIRS`.
        """
        return (1 + self._num_misranked) / (PRIOR_PAIRS + self._num_pairs)

    def _best_within_limits(self) -> int | None:
        """Of all paused trials, the one at the highest rung; of equals the one with the best score there."""
        best_first = sorted(self._paused, key=lambda number: (-self._paused[number], -self._score(number), number))
        return next((number for number in best_first if self._study.trial(number).is_within_limits), None)

    def _send_to_end(self, number: int) -> int:
        self._sent_to_end.add(number)
        num_best = 1 + self._table.ranked(self._paused[number]).index(number)
        return self._resume(number, num_best=num_best, is_sent_to_end=True)

    def _resume(self, number: int, *, num_best: int, **marks: Any) -> int:
        """Lets a trial go on. `marks`: fields of the decision that are not those of a promotion."""
        decision = dataclasses.replace(self._decision(number, num_best, is_stopped=False), **marks)
        if self._starts_anew:
            later = [epoch for epoch in self.score_epochs if epoch > decision.epoch]
            decision = dataclasses.replace(decision, next_epochs=later[-1 if decision.is_sent_to_end else 0])
            self._epochs_spent[number] += decision.epoch  # which are trained again
        self._study.record_rung(number, decision)
        del self._paused[number]
        return number

    def _score(self, number: int) -> float:
        return self._table.scores(self._paused[number])[number]

    def _note_completed(self, record: TrialRecord) -> None:
        number = record.number
        self._sent_to_end.add(number)
        end, end_error = record.scores[record.epochs_trained], record.last_error
        for other, (other_end, other_error) in self._ends.items():
            gains = self._table.gains(number, other)
            if gains and abs(end - other_end) >= math.hypot(end_error, other_error):
                self._num_pairs += 1
                self._num_misranked += sum(gain * (end - other_end) < 0 for gain in gains) / len(gains)
        self._ends[number] = end, end_error
        self._num_finalists += record.is_within_limits

    def _decision(self, number: int, num_best: int, *, is_stopped: bool) -> RungDecision:
        epoch = self._paused[number]
        scores = self._table.scores(epoch)
        return RungDecision(
            epoch=epoch,
            score=scores[number],
            cutoff=scores[self._table.ranked(epoch)[num_best - 1]],
            num_scores=len(scores),
            is_stopped=is_stopped,
        )


def _epochs_paid_for(record: TrialRecord) -> int:
    """The epochs of all its trainings, those that a trial trains again which has just been let go on included."""
    return record.epochs_trained + sum(rung.epoch for rung in record.rungs if rung.next_epochs)
