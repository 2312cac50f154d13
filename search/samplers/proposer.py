"""New trials for the record: the given configs first, then what the sampler proposes within the limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from model.seeds import derive_seed
from search.errors import UserError
from search.samplers.memory_limit import MemoryLimit
from search.space.space import SearchSpace
from search.study.record import NewTrial, TrialRecord
from search.study.study import RunStudy

MAX_REJECTIONS_IN_A_ROW = 5000


class Sampler(Protocol):
    """Proposes params for new trials. It is told of every trial when it enters the record and as it goes on."""

    def draw(self, number: int) -> dict[str, Any]: ...
    def add(self, params: Mapping[str, Any], violations: Mapping[str, float]) -> None: ...
    def tell(self, record: TrialRecord) -> None: ...


class Proposer:
    """Adds trials to the record. What it proposes follows from the record, the run's seed and the trial's number, so a
    resumed run proposes what the undisturbed one would have."""

    def __init__(
        self,
        space: SearchSpace,
        study: RunStudy,
        seed: int,
        make_sampler: Callable[[SearchSpace], Sampler],
        *,
        given: Iterable[NewTrial] = (),
        describe: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda _config: {},
        memory_need: Callable[[Mapping[str, Any]], int] | None = None,
    ) -> None:
        """`given`: trials that come first. `describe`: facts about a config for the record.

        `memory_need`: a number that grows with the memory a config takes. Once a trial has run out of memory, no config
        with the same need or more is proposed.
        """
        self._memory = MemoryLimit(memory_need) if memory_need else None
        self._space = self._memory.laid_on(space) if self._memory else space
        self._study = study
        self._seed = seed
        self._describe = describe
        self._sampler = make_sampler(self._space)
        records = study.trials()
        self._given = deque(list(given)[len(records) :])
        self._num_recorded = len(records)
        for record in records:
            self._sampler.add(record.params, record.violations)
            self.tell(record)

    def tell(self, record: TrialRecord) -> None:
        """Passes on how far a trial has come."""
        self._sampler.tell(record)
        if self._memory is not None:
            self._memory.tell(record)

    def add_trial(self) -> int:
        """Adds the next trial to the record and returns its number. Configs over the limits are recorded as rejected.

        UserError if the space has hardly any config within the limits.
        """
        if self._given:
            return self._record(self._given.popleft())
        for _ in range(MAX_REJECTIONS_IN_A_ROW):
            trial = self._draw(self._num_recorded)
            if all(excess <= 0 for excess in trial.violations.values()):
                return self._record(trial)
            self._sampler.tell(self._study.trial(self._record(trial, is_rejected=True)))
        limits = ", ".join(name for name, excess in trial.violations.items() if excess > 0)
        raise UserError(
            f"the search space has hardly any config within the limits: {MAX_REJECTIONS_IN_A_ROW} proposals in a row "
            f"broke them (the last one: {limits}). Narrow the space or raise the limits."
        )

    def _record(self, trial: NewTrial, *, is_rejected: bool = False) -> int:
        self._num_recorded += 1
        self._sampler.add(trial.params, trial.violations)
        return self._study.add_trial(trial, is_rejected=is_rejected)

    def _draw(self, number: int) -> NewTrial:
        params = self._sampler.draw(number)
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
