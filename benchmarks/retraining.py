"""The trainings after a search, side by side: `python -m benchmarks.retraining --out F`.

Through the project's queue, searcher, scheduler and tuner, on workers that have just trained the last trials. First
trainings that only sleep, 1 to 3 s long, in 4 slots: 3 finalists, winner and one baseline, 3 seeds each. The figure is
the wall time over the sum of the trainings / 4. Then, in turn, real ones, those of `make tune`: the default and a
random config on all digits, one on each core, over the same trainings one after another on all cores.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.conditions import parser, write_result
from benchmarks.pairs import measure_pairs
from model.data import load_training_data
from model.engine import Engine
from model.engine_choice import choose_engine
from model.split_images import ImageTensors, on_device
from model.survey import ImageSurvey
from search.machine.machine import Machine
from search.machine.slots import Slots
from search.retrain.stage import retrain_splits
from search.samplers.build import make_sampler
from search.samplers.proposer import Proposer
from search.schedulers.retrain_queue import ALL_IMAGES, RetrainQueue
from search.schedulers.steering import Steering
from search.settings import SearchSettings
from search.setup.given_trials import describe_config
from search.setup.images import STAND_IN_EXAMPLES, split_images
from search.setup.preparation import Preparation
from search.space.network_space import network_space
from search.space.space import SearchSpace
from search.space.space_check import Limits
from search.study.checkpoints import Checkpoints
from search.study.record import NewTrial
from search.study.study import RunStudy
from search.tune.callbacks import CheckpointCallback, NodeCallback, ReportCallback
from search.tune.cluster import ray_cluster
from search.tune.searcher import RunSearcher, StudySearcher
from search.tune.trial_scheduler import StudyScheduler
from search.tune.tuner import Train, make_trainable, run_trials
from search.worker.trainable import Report, TrialPlan, train_trial

_SLEEPING_S = (3.0, 2.0, 1.5, 1.0)
_SLEEPING_SLOTS = 4


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--epochs", type=int, default=4, help="epochs of a training (4)")
    arguments = options.parse_args()
    sleeping = _sleeping(arguments.epochs)
    print("sleeping: " + ", ".join(f"{name} {value:.3f}" for name, value in sleeping.items()), flush=True)
    engine, _ = choose_engine("cpu", num_threads=arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        preparation = _prepared(Path(folder), engine, num_slots=arguments.threads, max_epochs=arguments.epochs)
        pairs = measure_pairs(
            "seconds of two trainings side by side, over one after another",
            partial(_real_side_by_side, preparation),
            partial(_one_after_another, preparation, arguments.threads),
            num_pairs=arguments.repeats,
        )
    print(pairs)
    write_result(arguments.out, {"benchmark": "retraining", "sleeping": sleeping, "results": [pairs.summary()]})


def _sleeping(max_epochs: int) -> dict[str, float]:
    """Trainings that sleep: their wall time, and over the ideal."""
    with tempfile.TemporaryDirectory() as folder:
        preparation = _prepared(Path(folder), Engine(), num_slots=_SLEEPING_SLOTS, max_epochs=max_epochs, size=3)
        given = [_trial({"seconds": seconds}, round(seconds * 1000)) for seconds in _SLEEPING_S]
        queue, wall_s = _stage(preparation, given, {3: given[3]}, _sleep)
        total_s = sum(queue.record(task.key).seconds for task in queue.tasks)
    return {"trainings": len(queue.tasks), "wall_s": wall_s, "over_ideal": wall_s * _SLEEPING_SLOTS / total_s}


def _sleep(assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan, report: Report) -> None:
    epoch_s = assignment["config"]["seconds"] / plan.max_epochs
    for epoch in range(1, plan.max_epochs + 1):
        time.sleep(epoch_s)
        report({"epoch": epoch, "val_score": 0.5, "val_accuracy": 0.5, "train_loss": 1.0, "seconds": epoch_s})


def _after_all_started(
    train: Train,
    folder: Path,
    num_slots: int,
    assignment: Mapping[str, Any],
    images: ImageTensors,
    plan: TrialPlan,
    report: Report,
) -> None:
    """Holds the trials back until each slot has a worker, which takes seconds of computing each."""
    if "retraining" not in assignment:
        (folder / f"started-{assignment['trial_number']}").touch()
        while len(list(folder.glob("started-*"))) < num_slots:
            time.sleep(0.1)
    train(assignment, images, plan, report)


def _real_side_by_side(preparation: Preparation) -> float:
    with tempfile.TemporaryDirectory() as folder:
        moved = dataclasses.replace(preparation, settings=preparation.settings.changed(results_dir=Path(folder)))
        given = preparation.given_trials
        queue, wall_s = _stage(moved, given, {0: given[0]}, train_trial)
    assert len(queue.tasks) == len(given)
    return wall_s


def _one_after_another(preparation: Preparation, num_threads: int) -> float:
    """The same trainings in this process."""
    engine = dataclasses.replace(preparation.machine.engine, num_threads=num_threads)
    plan = dataclasses.replace(preparation.trial_plan(), engine=engine)
    images = on_device(retrain_splits(preparation)[ALL_IMAGES], torch.device("cpu"))
    start = time.perf_counter()
    for number, trial in enumerate(preparation.given_trials):
        assignment = {"retraining": f"retrain:{number}:0", "trial_seed": number, "epochs_recorded": 0}
        train_trial({**assignment, "config": trial.config}, images, plan, lambda metrics: None)
    return time.perf_counter() - start


def _stage(
    preparation: Preparation, given: Sequence[NewTrial], baselines: Mapping[int, NewTrial], train: Train
) -> tuple[RetrainQueue, float]:
    """Trains the given trials and then their retrainings; the queue, and the seconds of these from first to last."""
    settings, slots, plan = preparation.settings, preparation.machine.slots, preparation.trial_plan()
    settings.run_dir.mkdir(parents=True)
    study = RunStudy.in_database(settings.storage_url, settings.run_name)
    queue = RetrainQueue(settings, study, baselines)
    checkpoints = Checkpoints(settings.run_dir)
    scheduler = StudyScheduler(settings, study, queue, checkpoints)
    sampler = partial(make_sampler, seed=0, score_epochs=(settings.max_epochs,))
    search = StudySearcher(
        Proposer(preparation.space, study, 0, sampler, given=given),
        study,
        Steering(num_trials=len(given), num_slots=slots.num_concurrent),
        promotions=scheduler.promotions,
    )
    times: list[float] = []
    with ray_cluster(slots, settings.run_dir / "ray.log") as scratch:
        run_trials(
            make_trainable(
                partial(_after_all_started, train, scratch, slots.num_concurrent),
                preparation.images,
                plan,
                slots,
                retrain_splits(preparation),
            ),
            RunSearcher(search, queue, on_search_end=lambda: times.append(time.perf_counter())),
            scheduler,
            max_failures=0,
            scratch=scratch,
            callbacks=[
                ReportCallback(lambda trial, metrics: None, lambda trial: times.append(time.perf_counter())),
                CheckpointCallback(checkpoints, scheduler),
                NodeCallback(slots),
            ],
        )
    return queue, times[-1] - times[len(given)]


def _prepared(folder: Path, engine: Engine, *, num_slots: int, max_epochs: int, size: int = 1) -> Preparation:
    """Digits, of which trials see few; the default and a random config, which is the only one to win."""
    settings = SearchSettings(
        run_name="r", results_dir=folder, num_trials=2, max_epochs=max_epochs, grace_period=max_epochs,
        dataset="digits", search_examples=64, retrain_top=size, retrain_seeds=size,
    )  # fmt: skip
    data = load_training_data("digits", image_size=None, seed=0, data_dir=folder)
    image_size = int(data.examples.images.shape[1])
    limits = Limits(max_params=1_000_000, min_receptive_field=44, num_classes=10, image_size=image_size)
    space = network_space(None, limits, num_train=STAND_IN_EXAMPLES)
    configs = [space.default_config(), _drawn(space)]
    slots = Slots(num_concurrent=num_slots, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
    return Preparation(
        settings=settings,
        data=data,
        survey=ImageSurvey(train={}, test={}, contrast=0.0),
        images=split_images(settings, data),
        space=space,
        machine=Machine(engine=dataclasses.replace(engine, num_threads=1), slots=slots),
        measurements={},
        given_trials=[
            _trial(
                config,
                describe_config(config, num_classes=10, image_size=image_size)["multiply_adds"],
                excess=number == 0,
            )
            for number, config in enumerate(configs)
            if config is not None
        ],
        warnings=[],
        notes=[],
    )


def _drawn(space: SearchSpace) -> dict[str, Any]:
    rng = random.Random(0)
    return next(one for one in iter(lambda: space.draw(rng), {}) if max(space.violations(one).values()) <= 0)


def _trial(config: dict[str, Any], multiply_adds: int, *, excess: bool = False) -> NewTrial:
    profile = {"num_params": 1, "multiply_adds": multiply_adds, "receptive_field": 1}
    return NewTrial(config=config, seed=1, origin="default", profile=profile, violations={"limit": float(excess)})


if __name__ == "__main__":
    main()
