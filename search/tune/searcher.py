"""Ray's searcher over the study: unfinished trials first, then configs drawn by a sampler.

By promotion that is the trees of `search.samplers.tree_sampler`, else Optuna's TPE. Each is told what the record knows
and draws from that and (run seed, trial number) alone: a resumed run draws what the undisturbed one would have drawn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ray.tune.search import Searcher

from model.seeds import derive_seed
from search.samplers.memory_limit import MemoryLimit
from search.samplers.tpe_sampler import TPESampler
from search.samplers.tree_sampler import TreeSampler
from search.schedulers.promotion import Promotions
from search.space.space import SearchSpace
from search.study.study import NewTrial, RunStudy, TrialRecord, TrialStatus
from search.tune.ray_state import StateIsInStudy

MAX_REJECTIONS_IN_A_ROW = 5000


class Sampler(Protocol):
    """Draws params for new trials; every trial is added when it enters the record, and told of as it goes on."""

    def draw(self, number: int) -> dict[str, Any]: ...
    def add(self, params: Mapping[str, Any], violations: Mapping[str, float]) -> None: ...
    def tell(self, record: TrialRecord) -> None: ...


class StudySearcher(StateIsInStudy, Searcher):
    """Proposes `{"trial_number", "trial_seed", "config", "epochs_recorded"}`; see `build_searcher`."""

    def __init__(
        self,
        space: SearchSpace,
        study: RunStudy,
        seed: int,
        *,
        given: Iterable[NewTrial] = (),
        max_concurrent: int | None = None,
        promotions: Promotions | None = None,
        num_trials: int | None = None,
        nearest: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        points: Callable[[], Sequence[Mapping[str, Any]]] | None = None,
        describe: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda _config: {},
        memory_need: Callable[[Mapping[str, Any]], int] | None = None,
        may_start: Callable[[], bool] = lambda: True,
        is_done: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._memory = MemoryLimit(memory_need) if memory_need else None
        self._space = self._memory.laid_on(space) if self._memory else space
        self._study = study
        self._seed = seed
        self._max_concurrent = max_concurrent
        self._promotions = promotions
        self._num_trials = num_trials
        self._nearest = nearest
        self._describe = describe
        self._may_start = may_start
        self._is_done = is_done
        self._live: dict[str, int] = {}
        records = study.trials()
        self._given = deque(list(given)[len(records) :])
        self._num_recorded = len(records)
        self._num_started = sum(record.status is not TrialStatus.REJECTED for record in records)
        self._unfinished = deque(
            record
            for record in records
            if record.status is TrialStatus.INTERRUPTED and not self._is_waiting(record.number)
        )
        self._sampler: Sampler = (
            TPESampler(self._space, seed)
            if promotions is None
            else TreeSampler(self._space, seed, epochs=promotions.score_epochs, points=points)
        )
        for record in records:
            self._sampler.add(record.params, record.violations)
            self._tell(record)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next trial; None while all slots are taken; Searcher.FINISHED once no further trial may start."""
        # No more trials underway than slots: the next config is drawn only after a trial has ended, and knows of it.
        if self._max_concurrent is not None and len(self._live) >= self._max_concurrent:
            return None
        if self._unfinished:
            record = self._unfinished.popleft()
        else:
            number = self._next_number()
            if number is None:
                # What a running trial will report may let a waiting one go on.
                return None if self._promotions and self._live else str(Searcher.FINISHED)
            record = self._study.trial(number)
        self._live[trial_id] = record.number
        return {
            "trial_number": record.number,
            "trial_seed": record.seed,
            "config": dict(record.config),
            "epochs_recorded": record.epochs_trained,
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Passes on to the sampler what the record says of the trial."""
        number = self._live.pop(trial_id, None)
        if number is not None:
            self._tell(self._study.trial(number))

    def _tell(self, record: TrialRecord) -> None:
        self._sampler.tell(record)
        if self._memory is not None:
            self._memory.tell(record)

    def _next_number(self) -> int | None:
        """The trial that a free worker takes: one that is due at its rung, or a new one; None if there is none."""
        may_start = self._may_start()
        if may_start and self._promotions is not None and (number := self._promotions.promote()) is not None:
            return number
        is_left = self._num_trials is None or self._num_started < self._num_trials
        if may_start and is_left and not self._is_done():
            self._num_started += 1
            return self._add_trial()
        if self._promotions is not None:
            return self._promotions.close(is_in_time=may_start, num_underway=len(self._live))
        return None

    def _is_waiting(self, number: int) -> bool:
        return self._promotions is not None and self._promotions.is_waiting(number)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def _add_trial(self) -> int:
        if self._given:
            trial = self._given.popleft()
            return self._record(trial)
        for _ in range(MAX_REJECTIONS_IN_A_ROW):
            trial = self._draw(self._num_recorded)
            if all(excess <= 0 for excess in trial.violations.values()):
                return self._record(trial)
            self._sampler.tell(self._study.trial(self._record(trial, is_rejected=True)))
        limits = ", ".join(name for name, excess in trial.violations.items() if excess > 0)
        raise ValueError(
            f"the search space has hardly any config within the limits: {MAX_REJECTIONS_IN_A_ROW} draws in a row were "
            f"over them (the last one over: {limits}). Narrow the space or raise the limits."
        )

    def _record(self, trial: NewTrial, *, is_rejected: bool = False) -> int:
        self._num_recorded += 1
        self._sampler.add(trial.params, trial.violations)
        return self._study.add_trial(trial, is_rejected=is_rejected)

    def _draw(self, number: int) -> NewTrial:
        params = self._sampler.draw(number)
        if self._nearest is not None:
            params = dict(self._nearest(params))
        config = self._space.complete(params)
        violations = self._space.violations(config)
        is_legal = all(excess <= 0 for excess in violations.values())
        return NewTrial(
            config=config,
            seed=derive_seed(self._seed, "trial", number),
            params=params,
            distributions=self._space.distributions,
            violations=violations,
            profile=self._describe(config) if is_legal else {},
        )


def build_searcher(space: SearchSpace, study: RunStudy, seed: int, **options: Any) -> StudySearcher:
    """The searcher of a run.

    Options: `given`, the first trials' configs; `max_concurrent`, the number of slots; `promotions`, those of the trial
    scheduler if it has any; `num_trials`, how many trials the record is to hold, rejected ones not counted (None leaves
    it to Ray); `nearest`, what is used instead of params drawn, for a space of which only some points can be had, and
    `points`, all those that still can; `describe`, facts about a config for the record; `memory_need`, a number that
    grows with the memory that a config takes, by which none is drawn again that needs as much as one that ran out of
    it; `may_start`, asked before each new trial: whether there is time for it; `is_done`: whether it is needed no more.
    """
    return StudySearcher(space, study, seed, **options)
