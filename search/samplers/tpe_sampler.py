"""Optuna's TPE over an in-memory copy of the record.

Stopped trials are pruned trials to it, configs over the limits are violated constraints, and diverged or failed ones
rank below all others. Each proposal comes from a sampler seeded by the run's seed and the trial's number only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from model.seeds import derive_seed
from search.space.space import SearchSpace
from search.study.record import TrialRecord, TrialStatus

_UNDERWAY = (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)


class TPESampler:
    """Optuna's TPE over an in-memory study whose trial numbers match the record's."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(storage=self._storage, direction="maximize")
        self._asked: optuna.Trial | None = None

    def draw(self, number: int) -> dict[str, Any]:
        """Params for trial `number`, which must be added next."""
        seed = derive_seed(self._seed, "sampler", number)
        self._study.sampler = optuna.samplers.TPESampler(seed=seed % 2**32)
        self._asked = self._study.ask(self._space.distributions)
        return self._asked.params

    def add(self, params: Mapping[str, Any], violations: Mapping[str, float]) -> None:
        """A trial enters the record with the next number."""
        asked, self._asked = self._asked, None
        if asked is None:
            self._study.add_trial(
                create_trial(
                    state=TrialState.RUNNING,
                    params=dict(params),
                    distributions={name: self._space.distributions[name] for name in params},
                    constraints=dict(violations),
                )
            )
            return
        for name, distribution in self._space.distributions.items():
            internal = distribution.to_internal_repr(params[name])
            self._storage.set_trial_param(asked._trial_id, name, internal, distribution)
        for name, excess in violations.items():
            asked.set_constraint(name, excess)

    def tell(self, record: TrialRecord) -> None:
        """Takes in how a trial ended; ignores one that is still running."""
        if record.status in _UNDERWAY:
            return
        # A pruned trial without a score ranks below every stopped one, so failed configs are not proposed again.
        if record.status in (TrialStatus.STOPPED, TrialStatus.COMPLETED):
            trial_id = self._study.get_trials(deepcopy=False)[record.number]._trial_id
            epoch = record.epochs_trained
            self._storage.set_trial_intermediate_value(trial_id, epoch, record.scores[epoch])
        self._study.tell(record.number, state=TrialState.PRUNED)
