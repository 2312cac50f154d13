"""A trial that runs out of memory is marked, and no config that needs as much is trained after it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.tune.schedulers import TrialScheduler
from search_worlds import Rungs, build_searcher, stub
from test_worker_trainable import TINY, images

from model.engine import Engine
from model.training import EpochMetrics, Training, train_epochs
from search.run_options import Scheduler
from search.samplers.memory_limit import MemoryLimit
from search.space.parameter import Parameter
from search.space.space import SearchSpace
from search.study.checkpoints import Checkpoints
from search.study.record import OUT_OF_MEMORY, NewTrial, TrialRecord, TrialStatus
from search.study.study import RunStudy
from search.tune.searcher import StudySearcher
from search.tune.trial_scheduler import StudyScheduler
from search.worker import trainable
from search.worker.trainable import TrialPlan, train_trial

MAX_EPOCHS = 2
TOO_LARGE = 20
"""Batches from this size on do not fit on the device."""
SPACE = SearchSpace(
    {"batch_size": Parameter(kind="log_int", low=2, high=64), "lr": Parameter(kind="log", low=0.01, high=0.1)},
    {key: value for key, value in TINY.flat().items() if key not in ("batch_size", "lr")},
)


@pytest.fixture
def small_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device on which batches that are too large end as CUDA ends them."""

    def epochs(training: Training) -> Iterator[EpochMetrics]:
        if training.config.recipe.batch_size >= TOO_LARGE:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return train_epochs(training)

    monkeypatch.setattr(trainable, "train_epochs", epochs)


def parts(study: RunStudy, kind: Scheduler, *, is_learning: bool = True) -> tuple[StudySearcher, StudyScheduler]:
    scheduler = StudyScheduler(Rungs(max_epochs=MAX_EPOCHS, scheduler=kind), study)
    searcher = build_searcher(
        SPACE,
        study,
        5,
        num_trials=20,
        max_concurrent=1,
        promotions=scheduler.promotions,
        memory_need=(lambda config: int(config["batch_size"])) if is_learning else None,
    )
    return searcher, scheduler


class Stopped(BaseException):
    """The scheduler wants no more of a trial."""


def report(scheduler: StudyScheduler, checkpoints: Checkpoints, trial: Any, metrics: dict[str, Any]) -> None:
    if (checkpoint := metrics.pop("checkpoint", None)) is not None:
        checkpoints.write(trial.config["trial_number"], checkpoint)
    if scheduler.on_trial_result(None, trial, metrics) == TrialScheduler.STOP:
        raise Stopped


def search(folder: Path, make: Callable[[], tuple[StudySearcher, StudyScheduler]], lives: int) -> None:
    """Real trials one after another; searcher and scheduler are made anew every so many trials, as by a resume."""
    plan = TrialPlan(max_epochs=MAX_EPOCHS, rung_epochs=(1,), engine=Engine(num_threads=1))
    index, checkpoints = 0, Checkpoints(folder)
    while True:
        if index % lives == 0:
            searcher, scheduler = make()
        assignment = searcher.suggest(str(index))
        if not isinstance(assignment, dict):
            return
        assignment = {**assignment, "checkpoint": checkpoints.newest(assignment["trial_number"])}
        trial = stub(str(index), dict(assignment))
        with contextlib.suppress(Stopped):
            train_trial(assignment, images(), plan, partial(report, scheduler, checkpoints, trial))
        searcher.on_trial_complete(str(index))
        index += 1


def sizes(study: RunStudy, status: TrialStatus) -> list[int]:
    return [record.config["batch_size"] for record in study.trials() if record.status is status]


@pytest.mark.usefixtures("small_device")
@pytest.mark.parametrize("kind", ["asha", "promotion"])
def test_no_config_that_needs_as_much_is_trained_again(kind: Scheduler, tmp_path: Path) -> None:
    study = RunStudy.in_memory()
    search(tmp_path, lambda: parts(study, kind), lives=1000)
    records = study.trials()
    failed = [record for record in records if record.status is TrialStatus.FAILED]
    assert {record.error for record in failed} == {f"{OUT_OF_MEMORY}: CUDA out of memory. Tried to allocate 2.00 GiB"}
    assert sizes(study, TrialStatus.FAILED) == sorted(set(sizes(study, TrialStatus.FAILED)), reverse=True)
    rejected = [record for record in records if record.status is TrialStatus.REJECTED]
    assert rejected
    for record in rejected:
        least = min(other.config["batch_size"] for other in failed if other.number < record.number)
        assert record.config["batch_size"] >= least
        assert record.violations == {"memory": pytest.approx((record.config["batch_size"] + 1 - least) / least)}
    assert len(records) - len(rejected) == 20
    assert max(record.config["batch_size"] for record in records if record.scores) < TOO_LARGE

    careless = RunStudy.in_memory()
    search(tmp_path / "careless", lambda: parts(careless, kind, is_learning=False), lives=1000)
    assert len(sizes(careless, TrialStatus.FAILED)) > len(failed)


@pytest.mark.usefixtures("small_device")
def test_a_resumed_search_knows_what_did_not_fit(tmp_path: Path) -> None:
    undisturbed, resumed = RunStudy.in_memory(), RunStudy.in_memory()
    search(tmp_path / "a", lambda: parts(undisturbed, "asha"), lives=1000)
    search(tmp_path / "b", lambda: parts(resumed, "asha"), lives=3)
    stories = [
        [(record.config, record.status, record.violations) for record in study.trials()]
        for study in (undisturbed, resumed)
    ]
    assert stories[0] == stories[1]


def ended(need: int, *, error: str | None = None, epochs: int = 0, study: RunStudy | None = None) -> TrialRecord:
    study = study or RunStudy.in_memory()
    number = study.add_trial(NewTrial(config={"need": need}, seed=1))
    for epoch in range(1, epochs + 1):
        study.record_epoch(number, epoch=epoch, score=0.5, metrics={})
    if error is not None:
        study.finish(number, TrialStatus.FAILED, error=error)
    return study.trial(number)


def need(config: Mapping[str, Any]) -> int:
    return int(config["need"])


def test_nothing_is_too_much_before_a_trial_ran_out_of_memory() -> None:
    limit = MemoryLimit(need)
    limit.tell(ended(50, error="RuntimeError: no luck"))
    limit.tell(ended(50, error="the worker process died again and again; most often for lack of memory"))
    assert limit.excess({"need": 10**9}) == 0


def test_needs_that_were_met_are_no_limit() -> None:
    """The trial may have run out of memory only because of its neighbours on the GPU."""
    limit, study = MemoryLimit(need), RunStudy.in_memory()
    limit.tell(ended(40, study=study, error=f"{OUT_OF_MEMORY}: x"))
    assert limit.excess({"need": 39}) == 0
    assert limit.excess({"need": 40}) == pytest.approx(1 / 40)
    limit.tell(ended(60, study=study, epochs=1))
    assert limit.excess({"need": 50}) == 0
    limit.tell(ended(70, study=study, error=f"{OUT_OF_MEMORY}: x"))
    assert limit.excess({"need": 69}) == 0
    assert limit.excess({"need": 139}) == 1.0
    limit.tell(ended(80, study=study, epochs=2, error=f"{OUT_OF_MEMORY}: x"))
    assert limit.excess({"need": 10**9}) == 0


def test_a_config_over_another_limit_is_not_asked_for_its_need() -> None:
    space = SearchSpace(
        {"need": Parameter(kind="int", low=1, high=99)}, constraint=lambda config: {"size": config["need"] - 50}
    )
    limit = MemoryLimit(need)
    limit.tell(ended(10, error=f"{OUT_OF_MEMORY}: x"))
    bounded = limit.laid_on(space)
    assert bounded == space
    assert bounded.violations({"need": 51}) == {"size": 1.0, "memory": 0.0}
    assert bounded.violations({"need": 29}) == {"size": -21.0, "memory": 2.0}
