"""Ray's searchers over the study: unfinished trials first, then promoted ones, then new ones; then retrainings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from search.samplers.proposer import Proposer
from search.schedulers.promotion import PromotionRule
from search.schedulers.retrain_queue import RetrainQueue
from search.schedulers.steering import Steering
from search.study.record import TrialStatus, num_started
from search.study.study import RunStudy
from search.tune.ray_state import StateIsInStudy


class _RecordSearcher(StateIsInStudy, Searcher):
    """A searcher without a state besides the record."""

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing: the study is the state."""


class StudySearcher(_RecordSearcher):
    """Suggests `{"trial_number", "trial_seed", "config", "epochs_recorded"}`, and `training_epochs` if trials pause."""

    def __init__(
        self,
        proposer: Proposer,
        study: RunStudy,
        steering: Steering,
        *,
        promotions: PromotionRule | None = None,
        may_start: Callable[[], bool] = lambda: True,
    ) -> None:
        """`promotions`: the trial scheduler's rule, if trials pause at rungs.

        `may_start`: asked before each new trial whether there is time for it.
        """
        super().__init__()
        self._proposer = proposer
        self._study = study
        self.steering = steering
        self._promotions = promotions
        self._may_start = may_start
        records = study.trials()
        self._num_started = num_started(records)
        self._unfinished = deque(
            record.number
            for record in records
            if record.status is TrialStatus.INTERRUPTED
            and not (promotions is not None and promotions.is_paused(record.number))
        )

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next trial; None while no slot is free; Searcher.FINISHED once no further trial may start."""
        live = self.steering.live
        # Never more running trials than slots: the next config is proposed only after a trial has ended, and so knows
        # its score.
        if not self.steering.has_room:
            return None
        if self.steering.is_stopped:
            number = None
        else:
            number = self._unfinished.popleft() if self._unfinished else self._next_number()
        if number is None:
            # A running trial's next report may let a paused one go on, and its worker may die.
            return None if live else str(Searcher.FINISHED)
        record = self._study.trial(number)
        live[trial_id] = record.number
        assignment = {
            "trial_number": record.number,
            "trial_seed": record.seed,
            "config": dict(record.config),
            "epochs_recorded": record.epochs_trained,
        }
        if self._promotions is not None:
            assignment["training_epochs"] = self._promotions.training_epochs(record)
        return assignment

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tells the sampler what the record says of the trial.

        A trial that died or left its worker without an end, and does not wait for a promotion, is suggested again.
        """
        number = self.steering.live.pop(trial_id, None)
        if not isinstance(number, int):
            return
        record = self._study.trial(number)
        self._proposer.tell(record)
        if record.status is TrialStatus.RUNNING and not (self._promotions and self._promotions.is_paused(number)):
            (self._unfinished.appendleft if error else self._unfinished.append)(number)

    def _next_number(self) -> int | None:
        """The trial for a free worker: a paused one that is due, or a new one; None if there is none."""
        may_start = self._may_start()
        if may_start and self._promotions is not None and (number := self._promotions.promote()) is not None:
            return number
        if may_start and self._num_started < self.steering.num_trials:
            self._num_started += 1
            return self._proposer.add_trial()
        if self._promotions is not None:
            return self._promotions.close(is_in_time=may_start, num_underway=len(self.steering.live))
        return None


class RunSearcher(_RecordSearcher):
    """Suggests the search's trials and, once these have ended, the retrainings, which so get the same warm workers."""

    def __init__(
        self,
        search: StudySearcher,
        retrainings: RetrainQueue,
        *,
        on_search_end: Callable[[], None],
        on_pause: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_pause` is called once a second while the run is paused and nothing trains: Ray calls nothing else then.

        It may raise to end the run.
        """
        super().__init__()
        self._search = search
        self._retrainings = retrainings
        self._steering = search.steering
        self._on_search_end = on_search_end
        self._on_pause = on_pause

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next trial or retraining; None while no slot is free or the winner is unknown; then FINISHED."""
        steering = self._steering
        if steering.is_paused and not steering.live:
            self._on_pause()
        if not steering.is_search_over:
            suggestion = self._search.suggest(trial_id)
            if suggestion != Searcher.FINISHED:
                return suggestion
            steering.is_search_over = True
            self._on_search_end()
        if not steering.has_room:
            return None
        assignment = self._retrainings.suggest()
        if assignment is None:
            return None if steering.live else str(Searcher.FINISHED)
        steering.live[trial_id] = assignment["retraining"]
        return assignment

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial or retraining has left its worker."""
        trial = self._steering.live.get(trial_id)
        if isinstance(trial, str):
            del self._steering.live[trial_id]
            self._retrainings.release(trial)
        else:
            self._search.on_trial_complete(trial_id, result, error)
