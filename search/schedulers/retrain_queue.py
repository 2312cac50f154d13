"""The trainings after the search: which one is next, and what the record gets of each.

The finals come first, because only they tell the winner. Baselines that cannot win fill the slots that the finals leave
free; the winner follows. Within each group the slowest configs start first, so that the last slots end together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model.metrics import METRICS
from model.seeds import derive_seed
from search.schedulers.steering import Steering
from search.settings import SearchSettings
from search.study.finals import Finals, RetrainPlan, finals_of
from search.study.record import NewTrial, TrialRecord
from search.study.retrain_record import FINALIST, TEST_ACCURACIES, RetrainRecord, retrain_key
from search.study.study import RunStudy

SPLIT_OF_FINALISTS, ALL_IMAGES = "finals", "all"
"""What a retraining trains on: the training split, or that and the validation images."""


@dataclass(frozen=True, kw_only=True)
class RetrainTask:
    """One retraining to do."""

    config_name: str
    """finalist, winner, seed or default."""
    config: Mapping[str, Any]
    trial_number: int
    profile: Mapping[str, Any]
    seed_index: int = 0
    """Counts the retrainings of one config, from 0."""

    @property
    def key(self) -> str:
        """Its name in the record."""
        return retrain_key(self.config_name, self.trial_number, self.seed_index)


def retrain_tasks(finals: Finals, baselines: Mapping[int, NewTrial]) -> list[RetrainTask]:
    """The retrainings that are certain by now: finalists, then the winner and the baselines that have not won.

    `baselines` by trial number. Empty while no trial has a score.
    """
    winner = finals.winner
    if winner is None:
        return []
    finalists = [one.record for one in finals.finalists]
    named: list[tuple[str, int, TrialRecord | NewTrial]] = []
    if finals.plan.has_finals:
        named += [(FINALIST, one.number, one) for one in finalists]
    may_win = {winner.record.number} if finals.is_over else {one.number for one in finalists}
    if finals.is_over:
        named.append(("winner", winner.record.number, winner.record))
    named += [(trial.origin, number, trial) for number, trial in baselines.items() if number not in may_win]
    return [
        RetrainTask(config_name=name, config=trial.config, trial_number=number, profile=trial.profile, seed_index=index)
        for name, number, trial in named
        for index in range(finals.plan.num_seeds)
    ]


class RetrainQueue:
    """Hands out the retrainings that the record lacks, and writes each epoch and each end into it.

    A training that diverges gets the metric's worst score and its error. One that fails otherwise stays unfinished, so
    that a resumed run tries it again, and is listed in `failures`.
    """

    def __init__(
        self,
        settings: SearchSettings,
        study: RunStudy,
        baselines: Mapping[int, NewTrial],
        on_winner: Callable[[Finals], None] = lambda _finals: None,
        *,
        steering: Steering | None = None,
    ) -> None:
        """`on_winner` is called once, as soon as the finals are over. `steering`: of the run, if people steer it."""
        self._settings = settings
        self._study = study
        self._baselines = baselines
        self._on_winner = on_winner
        self._steering = steering
        self._tasks: dict[str, RetrainTask] = {}
        self._due: list[RetrainTask] | None = None
        self._live: set[str] = set()
        self._is_won = False
        self.failures: dict[str, str] = {}
        """Errors by key."""

    @property
    def plan(self) -> RetrainPlan:
        """How often configs are retrained, with as many trials as people have asked for so far."""
        return RetrainPlan.of(self._settings, self._steering.num_trials if self._steering else None)

    def due(self) -> list[RetrainTask]:
        """The tasks that may start now, the first one first. The record must hold the whole search."""
        if self._due is None:
            trials = self._study.trials()
            finals = finals_of(trials, self._study.retrains(), self.plan)
            if finals.is_over and not self._is_won:
                self._is_won = True
                self._on_winner(finals)
            self._tasks = {task.key: task for task in retrain_tasks(finals, self._baselines)}
            taken = self._live | self.failures.keys()
            due = [task for key, task in self._tasks.items() if key not in taken and not self.is_trained(key)]
            speeds = {trial.number: trial.mean_images_per_s or 0.0 for trial in trials}
            self._due = sorted(due, key=lambda one: (one.config_name != FINALIST, speeds.get(one.trial_number, 0.0)))
        return self._due

    @property
    def tasks(self) -> list[RetrainTask]:
        """All retrainings that are certain by now, trained or not."""
        self.due()
        return list(self._tasks.values())

    @property
    def num_tasks(self) -> int:
        """All retrainings of the run; an upper bound until the winner is known."""
        num_finals = sum(task.config_name == FINALIST for task in self.tasks)
        most = num_finals + self.plan.num_seeds * (1 + len(self._baselines))
        return len(self._tasks) if self._is_won else most

    def suggest(self) -> dict[str, Any] | None:
        """What a worker is told of the next task; None if none is due now."""
        if not (due := self.due()):
            return None
        key = due.pop(0).key
        self._live.add(key)
        return self.assignment(key)

    def assignment(self, key: str) -> dict[str, Any]:
        """A task as `search.worker.trainable` takes it."""
        task, record = self._tasks[key], self.record(key)
        return {
            "retraining": key,
            "images": SPLIT_OF_FINALISTS if task.config_name == FINALIST else ALL_IMAGES,
            "trial_seed": record.retrain_seed,
            "config": dict(task.config),
            "epochs_recorded": record.epochs_trained,
        }

    def report(self, key: str, result: Mapping[str, Any]) -> bool:
        """Records what a worker reports; returns whether the training has ended."""
        record = self.record(key)
        if result.get("ended") == "diverged":
            self._study.record_retrain(dataclasses.replace(record, error=result["error"], **self._worst_scores(record)))
            return True
        if "ended" in result:
            self.fail(key, result["error"])
            return True
        is_last = result["epoch"] >= self._settings.max_epochs
        if result["epoch"] > record.epochs_trained:
            self._study.record_retrain(_with_epoch(record, result, is_last=is_last))
        return bool(is_last)

    def fail(self, key: str, error: str) -> None:
        """The training cannot go on."""
        self.failures[key] = error

    def _worst_scores(self, record: RetrainRecord) -> dict[str, Any]:
        worst = METRICS[self._settings.metric].worst
        if not record.includes_val:
            return {"val_score": worst, "val_accuracy": 0.0}
        return {"test_score": worst, "test_score_tta": worst, **dict.fromkeys(TEST_ACCURACIES, 0.0)}

    def release(self, key: str) -> None:
        """No worker has the task any more; unless it has ended, it is due again."""
        self._live.discard(key)
        self._due = None

    def record(self, key: str) -> RetrainRecord:
        """A task as far as the record has it. An earlier winner's training does not count."""
        task, record = self._tasks[key], self._study.retrain(key)
        if record is not None and record.trial_number == task.trial_number:
            return record
        return RetrainRecord(
            config_name=task.config_name,
            trial_number=task.trial_number,
            seed_index=task.seed_index,
            retrain_seed=derive_seed(self._settings.seed, key),
            includes_val=task.config_name != FINALIST,
            epochs_trained=0,
            num_params=task.profile["num_params"],
            multiply_adds=task.profile["multiply_adds"],
            receptive_field=task.profile["receptive_field"],
            seconds=0.0,
        )

    def is_trained(self, key: str) -> bool:
        """Whether the training has ended well or diverged."""
        record = self.record(key)
        return record.is_ended or record.epochs_trained >= self._settings.max_epochs


def _with_epoch(record: RetrainRecord, metrics: Mapping[str, Any], *, is_last: bool) -> RetrainRecord:
    """The record with one more epoch; a finalist's last one is its score."""
    record = dataclasses.replace(
        record,
        epochs_trained=metrics["epoch"],
        seconds=record.seconds + metrics["seconds"],
        train_losses=(*record.train_losses, metrics["train_loss"]),
    )
    if record.includes_val:
        return record
    record = dataclasses.replace(record, val_scores=(*record.val_scores, metrics["val_score"]))
    if not is_last:
        return record
    return dataclasses.replace(record, val_score=metrics["val_score"], val_accuracy=metrics["val_accuracy"])
