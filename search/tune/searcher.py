"""Ray's searcher over the study: unfinished trials first, then promoted ones, then new ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from search.samplers.proposer import Proposer
from search.schedulers.promotion import PromotionRule
from search.study.record import TrialStatus
from search.study.study import RunStudy
from search.tune.ray_state import StateIsInStudy


class StudySearcher(StateIsInStudy, Searcher):
    """Suggests `{"trial_number", "trial_seed", "config", "epochs_recorded"}`."""

    def __init__(
        self,
        proposer: Proposer,
        study: RunStudy,
        *,
        num_trials: int,
        max_concurrent: int | None = None,
        promotions: PromotionRule | None = None,
        may_start: Callable[[], bool] = lambda: True,
    ) -> None:
        """`num_trials`: trials the record shall hold, rejected ones not counted.

        `max_concurrent`: the number of slots. `promotions`: the trial scheduler's rule, if trials pause. `may_start`:
        asked before each new trial whether there is time for it.
        """
        super().__init__()
        self._proposer = proposer
        self._study = study
        self._num_trials = num_trials
        self._max_concurrent = max_concurrent
        self._promotions = promotions
        self._may_start = may_start
        self._live: dict[str, int] = {}
        records = study.trials()
        self._num_started = sum(record.status is not TrialStatus.REJECTED for record in records)
        self._unfinished = deque(
            record.number
            for record in records
            if record.status is TrialStatus.INTERRUPTED
            and not (promotions is not None and promotions.is_paused(record.number))
        )

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next trial; None while all slots are taken; Searcher.FINISHED once no further trial may start."""
        # Never more running trials than slots: the next config is proposed only after a trial has ended, and so knows
        # its score.
        if self._max_concurrent is not None and len(self._live) >= self._max_concurrent:
            return None
        number = self._unfinished.popleft() if self._unfinished else self._next_number()
        if number is None:
            # A running trial's next report may let a paused one go on, and its worker may die.
            return None if self._live else str(Searcher.FINISHED)
        record = self._study.trial(number)
        self._live[trial_id] = record.number
        return {
            "trial_number": record.number,
            "trial_seed": record.seed,
            "config": dict(record.config),
            "epochs_recorded": record.epochs_trained,
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tells the sampler what the record says of the trial. A trial that died without an end is suggested again."""
        number = self._live.pop(trial_id, None)
        if number is None:
            return
        record = self._study.trial(number)
        self._proposer.tell(record)
        if error and record.status is TrialStatus.RUNNING:
            self._unfinished.appendleft(number)

    def _next_number(self) -> int | None:
        """The trial for a free worker: a paused one that is due, or a new one; None if there is none."""
        may_start = self._may_start()
        if may_start and self._promotions is not None and (number := self._promotions.promote()) is not None:
            return number
        if may_start and self._num_started < self._num_trials:
            self._num_started += 1
            return self._proposer.add_trial()
        if self._promotions is not None:
            return self._promotions.close(is_in_time=may_start, num_underway=len(self._live))
        return None

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing: the study is the state."""
