"""Trials and retrainings on real workers of Ray, which sleep instead of training."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from ray import cloudpickle
from retrained_run import MACHINE, PROFILE, preparation_of, some_digits
from search_worlds import SEED, SPACE, build_searcher

from model.checkpoint import Checkpoint
from model.split_images import ImageTensors
from search.machine.slots import Slots
from search.retrain.stage import retrain_splits
from search.schedulers.retrain_queue import RetrainQueue
from search.settings import SearchSettings
from search.study.checkpoints import Checkpoints
from search.study.record import NewTrial, TrialId
from search.study.study import RunStudy
from search.tune.callbacks import CheckpointCallback, ReportCallback
from search.tune.cluster import ray_cluster
from search.tune.searcher import RunSearcher
from search.tune.trial_scheduler import StudyScheduler
from search.tune.tuner import make_trainable, run_trials
from search.worker.step_counts import StepCount
from search.worker.trainable import Report, TrialPlan

# Workers cannot import this file. Ray does not annotate the function.
register: Callable[[ModuleType], None] = cloudpickle.register_pickle_by_value
register(sys.modules[__name__])

SLOTS = Slots(num_concurrent=2, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
SLEEP_S = 0.5
PLAN = TrialPlan(max_epochs=1, rung_epochs=(), engine=MACHINE.engine)
CONFIG = {"x": 0.1, "y": 0.1, "kind": "a", "fixed": 3}
GIVEN = [NewTrial(config=CONFIG, seed=number, profile=PROFILE) for number in range(2)]


def checkpoint_of(*, epoch: int) -> Checkpoint:
    content = np.full(16, 100 + epoch, np.uint8)
    return Checkpoint(epoch=epoch, content=content, checksum=hashlib.sha256(content.tobytes()).hexdigest()[:16])


def content_of(checkpoint: Checkpoint | None) -> bytes | None:
    return None if checkpoint is None else checkpoint.content.tobytes()


def sleep(folder: Path, assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan, report: Report) -> None:
    """Trials wait for each other, so that each slot has a worker; the last one ends much later than the first."""
    number = assignment.get("trial_number")
    if number is not None:
        (folder / f"started-{number}").touch()
        while len(list(folder.glob("started-*"))) < SLOTS.num_concurrent:
            time.sleep(0.05)
    time.sleep(SLEEP_S * (1 + 2 * (number or 0)))
    counts = {"num_train": len(images.train_indices), "num_val": len(images.val_indices), "nice": os.nice(0)}
    given = assignment.get("checkpoint")
    report({"steps": StepCount(1, 1, 2)})
    report(
        {
            **{"epoch": 1, "val_score": 0.5, "val_accuracy": 0.5, "train_loss": 1.0, "seconds": SLEEP_S, **counts},
            **{"given": None if given is None else int(given.content[0]), "checkpoint": checkpoint_of(epoch=1)},
        }
    )


@dataclass
class Told:
    """What a search and its retrainings report: the last report and the last steps of each."""

    reports: dict[TrialId, Mapping[str, Any]] = field(default_factory=dict)
    steps: dict[TrialId, StepCount] = field(default_factory=dict)

    def callback(self) -> ReportCallback:
        return ReportCallback(
            lambda trial, metrics: self.reports.update({trial: metrics}),
            lambda _trial: None,
            lambda trial, count: self.steps.update({trial: count}),
        )


def test_retrainings_run_side_by_side_on_the_workers_of_the_search(tmp_path: Path) -> None:
    settings = SearchSettings(
        run_name="run", results_dir=tmp_path, max_epochs=1, grace_period=1, search_examples=50, retrain_top=2,
        retrain_seeds=2,
    )  # fmt: skip
    preparation = preparation_of(settings, some_digits(200))
    study, checkpoints = RunStudy.in_memory(), Checkpoints(tmp_path)
    queue = RetrainQueue(settings, study, {})
    checkpoints.write(1, checkpoint_of(epoch=7))
    scheduler = StudyScheduler(settings, study, queue, checkpoints)
    told = Told()
    with ray_cluster(SLOTS, tmp_path / "ray.log") as scratch:
        search = build_searcher(SPACE, study, SEED, given=GIVEN, num_trials=2, max_concurrent=2)
        run_trials(
            make_trainable(partial(sleep, tmp_path), preparation.images, PLAN, SLOTS, retrain_splits(preparation)),
            RunSearcher(search, queue, on_search_end=lambda: None),
            scheduler,
            max_failures=0,
            scratch=scratch,
            callbacks=[CheckpointCallback(checkpoints, scheduler), told.callback()],
        )
    reports = told.reports
    finals = [f"finalist:{trial}:{seed}" for trial in (0, 1) for seed in (0, 1)]
    winner = ["retrain:winner:0", "retrain:winner:1"]
    assert list(reports)[:2] == [0, 1]
    workers = {report["worker"] for trial, report in reports.items() if isinstance(trial, int)}
    assert len(workers) == 2
    for keys in (finals, winner):
        assert {reports[key]["worker"] for key in keys} == workers, "side by side, on workers that were kept"
    assert {report["nice"] for report in reports.values()} == {os.nice(0)}, "workers have this process's priority"
    num_val = len(preparation.images.val_indices)
    sizes = {trial: (report["num_train"], report["num_val"]) for trial, report in reports.items()}
    assert {sizes[trial] for trial in (0, 1)} == {(50, num_val)}
    assert {sizes[key] for key in finals} == {(200 - num_val, num_val)}
    assert {sizes[key] for key in winner} == {(200, 0)}
    assert sorted(record.key for record in study.retrains()) == finals
    assert [reports[trial]["given"] for trial in (0, 1)] == [None, 107], "a trial gets its newest checkpoint"
    assert all("checkpoint" not in report for report in reports.values()), "Ray would keep it"
    assert content_of(checkpoints.newest(winner[0])) == content_of(checkpoint_of(epoch=1)), "it is tested from this"
    assert checkpoints.newest(0) is None, "the trial is over"
    assert told.steps == dict.fromkeys(reports, StepCount(1, 1, 2))
