"""Ray's searcher over the study: unfinished trials first, then configs drawn by Optuna.

The sampler works on a mirror of the record held in memory: a stopped trial is told as stopped, an over-limit config as
a violated constraint, a diverged or failed one as worse than any other. Each draw comes from a sampler seeded by (run
seed, trial number) alone, so a resumed run draws what the undisturbed one would have drawn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial
from ray.tune.search import Searcher

from model.seeds import derive_seed
from search.ray_state import StateIsInStudy
from search.space import SearchSpace
from search.study import NewTrial, RunStudy, TrialRecord, TrialStatus

MAX_REJECTIONS_IN_A_ROW = 5000


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
        describe: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda _config: {},
        may_start: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__()
        self._space = space
        self._study = study
        self._seed = seed
        self._max_concurrent = max_concurrent
        self._describe = describe
        self._may_start = may_start
        self._live: dict[str, int] = {}
        records = study.trials()
        self._given = deque(list(given)[len(records) :])
        self._unfinished = deque(record for record in records if record.status is TrialStatus.INTERRUPTED)
        self._mirror = _Mirror(space)
        for record in records:
            self._mirror.adopt(record)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next trial; None while all slots are taken; Searcher.FINISHED once no further trial may start."""
        # No more trials underway than slots: the next config is drawn only after a trial has ended, and knows of it.
        if self._max_concurrent is not None and len(self._live) >= self._max_concurrent:
            return None
        if self._unfinished:
            record = self._unfinished.popleft()
        elif self._may_start():
            record = self._study.trial(self._add_trial())
        else:
            return str(Searcher.FINISHED)
        self._live[trial_id] = record.number
        return {
            "trial_number": record.number,
            "trial_seed": record.seed,
            "config": dict(record.config),
            "epochs_recorded": record.epochs_trained,
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Passes on to the sampler how the record says that the trial ended."""
        number = self._live.pop(trial_id, None)
        if number is not None:
            self._mirror.tell(self._study.trial(number))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def _add_trial(self) -> int:
        if self._given:
            trial = self._given.popleft()
            self._mirror.add(trial.params, trial.violations)
            return self._study.add_trial(trial)
        for _ in range(MAX_REJECTIONS_IN_A_ROW):
            number = self._study.num_trials
            trial = self._draw(number)
            if all(excess <= 0 for excess in trial.violations.values()):
                return self._study.add_trial(trial)
            self._study.add_trial(trial, is_rejected=True)
            self._mirror.tell(self._study.trial(number))
        limits = ", ".join(name for name, excess in trial.violations.items() if excess > 0)
        raise ValueError(
            f"the search space has hardly any config within the limits: {MAX_REJECTIONS_IN_A_ROW} draws in a row were "
            f"over them (the last one over: {limits}). Narrow the space or raise the limits."
        )

    def _draw(self, number: int) -> NewTrial:
        asked = self._mirror.ask(seed=derive_seed(self._seed, "sampler", number))
        config = self._space.complete(asked.params)
        violations = self._space.violations(config)
        for name, excess in violations.items():
            asked.set_constraint(name, excess)
        is_legal = all(excess <= 0 for excess in violations.values())
        return NewTrial(
            config=config,
            seed=derive_seed(self._seed, "trial", number),
            params=asked.params,
            distributions=self._space.distributions,
            violations=violations,
            profile=self._describe(config) if is_legal else {},
        )


class _Mirror:
    """What the sampler is told: an Optuna study in memory whose trial numbers are the record's."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(storage=self._storage, direction="maximize")

    def ask(self, *, seed: int) -> optuna.Trial:
        self._study.sampler = optuna.samplers.TPESampler(seed=seed % 2**32)
        return self._study.ask(self._space.distributions)

    def add(self, params: Mapping[str, Any], violations: Mapping[str, float]) -> None:
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(params),
                distributions={name: self._space.distributions[name] for name in params},
                constraints=dict(violations),
            )
        )

    def adopt(self, record: TrialRecord) -> None:
        """A trial from the record, ended or not."""
        self.add(record.params, record.violations)
        if record.status is not TrialStatus.INTERRUPTED:
            self.tell(record)

    def tell(self, record: TrialRecord) -> None:
        """How a trial ended. One cut off by a stopping run has not ended."""
        if record.status is TrialStatus.RUNNING:
            return
        if record.status is TrialStatus.COMPLETED:
            self._study.tell(record.number, record.val_accuracies[record.epochs_trained])
            return
        if record.status is TrialStatus.STOPPED:
            trial_id = self._study.get_trials(deepcopy=False)[record.number]._trial_id
            epoch = record.epochs_trained
            self._storage.set_trial_intermediate_value(trial_id, epoch, record.val_accuracies[epoch])
        # Pruned without any score ranks below every stopped trial: diverged and failed configs are not proposed again.
        self._study.tell(record.number, state=TrialState.PRUNED)


def build_searcher(space: SearchSpace, study: RunStudy, seed: int, **options: Any) -> StudySearcher:
    """The searcher of a run.

    Options: `given`, the first trials' configs; `max_concurrent`, the number of slots; `describe`, facts about a config
    for the record; `may_start`, asked before each new trial.
    """
    return StudySearcher(space, study, seed, **options)
