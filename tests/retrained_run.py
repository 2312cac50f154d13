"""A run's folder with a tiny network really retrained on part of the digits, for what takes the network away."""

from __future__ import annotations

import dataclasses
import io
from functools import partial
from pathlib import Path

from fabricated_run import SPACE, make_run
from serial_retraining import train_serially

from model.config import TrainConfig
from model.data import TrainingData, load_training_data
from model.engine import Engine
from model.examples import Examples
from model.network_config import BlockConfig, NetworkConfig
from model.recipe import Recipe
from model.survey import ImageSurvey
from search.analysis.results import Run
from search.display.display import Display
from search.machine.machine import Machine
from search.machine.slots import Slots
from search.retrain.stage import evaluate_retrained, note_winner
from search.schedulers.retrain_queue import RetrainQueue
from search.settings import SearchSettings
from search.setup.images import split_images
from search.setup.preparation import Preparation
from search.study.record import NewTrial, TrialStatus
from search.study.study import RunStudy

BLOCK = BlockConfig(num_convs=1, inner_width=4, width=4)
TINY = TrainConfig(
    network=NetworkConfig(c1=BLOCK, c2=BLOCK, c3=BLOCK, output=BLOCK).flat(), recipe=Recipe(batch_size=32, lr=0.05)
)
MACHINE = Machine(
    engine=Engine(num_threads=1), slots=Slots(num_concurrent=1, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
)
PROFILE = {"num_params": 1, "multiply_adds": 2, "receptive_field": 3}


def some_digits(num_images: int) -> TrainingData:
    """The first training digits."""
    whole = load_training_data("digits", image_size=32, seed=0, data_dir=Path("data"))
    examples = Examples(whole.examples.images[:num_images], whole.examples.labels[:num_images])
    return dataclasses.replace(whole, examples=examples)


def preparation_of(settings: SearchSettings, data: TrainingData) -> Preparation:
    """As much of it as retraining needs."""
    return Preparation(
        settings=settings,
        data=data,
        survey=ImageSurvey(train={}, test={"0": 3, "1": 2}, contrast=0.0),
        images=split_images(settings, data),
        space=SPACE,
        machine=MACHINE,
        measurements={},
        given_trials=[],
        warnings=[],
        notes=[],
    )


def completed_trials(*configs: TrainConfig, max_epochs: int = 2) -> RunStudy:
    """A record of trials with these configs, each better and faster than the one before."""
    study = RunStudy.in_memory()
    for number, config in enumerate(configs):
        study.add_trial(NewTrial(config=config.flat(), seed=number, profile=PROFILE))
        score = 0.1 + number / 10
        study.record_epoch(number, epoch=max_epochs, score=score, metrics={"images_per_s": 100.0 * (1 + number)})
        study.finish(number, TrialStatus.COMPLETED, value=score)
    return study


def make_retrained_run(folder: Path, *, config: TrainConfig = TINY, num_images: int = 320) -> Run:
    """A run's folder whose winner was retrained for two epochs in float32."""
    data = some_digits(num_images)
    run = make_run(folder, lambda study: None, class_names=data.class_names)
    settings = SearchSettings(run_name=folder.name, results_dir=folder.parent, max_epochs=2, grace_period=1)
    preparation, study, display = preparation_of(settings, data), completed_trials(config), Display(io.StringIO())
    queue = RetrainQueue(settings, study, {}, partial(note_winner, settings, study, display))
    train_serially(preparation, queue)
    evaluate_retrained(preparation, queue, study, display)
    [record] = study.retrains()
    run.study.record_retrain(record)
    return run
