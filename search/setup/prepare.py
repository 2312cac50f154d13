"""Loads and checks everything a run needs before its first trial: images, split, search space, engine, slots."""

from __future__ import annotations

import dataclasses
import math
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from model.config import SEED_CONFIG, TrainConfig, network_values
from model.data import TrainingData
from model.engine import STEPS_PER_TRAINING, Engine, choose_engine
from model.metrics import METRICS
from model.objective import Objective
from model.profile import profile_network
from model.seeds import derive_seed
from model.split_images import ImageArrays
from model.survey import ImageSurvey
from search.machine.gpus import choose_device, choose_gpu_engine
from search.machine.hardware import describe_hardware, describe_versions, num_cpus
from search.machine.machine_cache import cache_key, keep_measured, read_measured
from search.machine.packing import choose_slots
from search.machine.slots import Slots
from search.schedulers.rungs import rungs_of
from search.settings import SearchSettings
from search.setup.document import DataRecord, HardwareRecord, RunDocument
from search.setup.few_images import few_images_notes, lengthened_for_few_images
from search.setup.floor import Floor, floor_of
from search.setup.images import shortened_for_stand_in, split_images
from search.setup.retrain_size import RetrainCost, retrain_cost, with_retrain_size
from search.setup.space_file import make_space, read_space
from search.setup.survey_text import ReadImages, read_images, survey_warnings
from search.space.space import SearchSpace
from search.study.record import NewTrial
from search.worker.trainable import TrialPlan

SEED_IMAGE_SIZE = 32
"""Side in pixels of the images that the seed config was made for."""
NUMBERS_PER_PARAMETER = 4
"""In memory: the weight, its gradient and the optimizer's two moments."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a run uses its machine: measured when it starts, kept when it is resumed."""

    engine: Engine
    """Of the trials and retrainings, which share the machine."""
    slots: Slots


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Everything a run works with. `data` has training images only."""

    settings: SearchSettings
    data: TrainingData
    survey: ImageSurvey
    """What was read, of all splits."""
    images: ImageArrays
    space: SearchSpace
    machine: Machine
    measurements: dict[str, list[dict[str, Any]]]
    """See `RunDocument`; empty if the machine was not measured."""
    given_trials: list[NewTrial]
    """The first trials: the seed config (on 32x32 images), then the space's default."""
    warnings: list[str]

    @property
    def retrain_cost(self) -> RetrainCost:
        """What all retrainings take."""
        return retrain_cost(self.settings, self.images, len(self.baselines), self.machine.slots.num_concurrent)

    @property
    def image_size(self) -> int:
        """Side in pixels."""
        return int(self.data.examples.images.shape[1])

    @property
    def data_record(self) -> DataRecord:
        """The images, as run.toml describes them."""
        return DataRecord.of(self.data, self.images, self.survey)

    def document(self) -> RunDocument:
        """The description of a run that starts now, by this process, on this machine."""
        return RunDocument(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=_command(self.settings),
            warnings=tuple(self.warnings),
            settings=self.settings,
            data=self.data_record,
            engine=self.machine.engine,
            slots=self.machine.slots,
            measurements=self.measurements,
            versions=describe_versions(),
            hardware=HardwareRecord(**describe_hardware()),
        )

    @property
    def baselines(self) -> dict[int, NewTrial]:
        """The given trials by number, which are retrained as well; empty with --no-baseline."""
        return dict(enumerate(self.given_trials)) if self.settings.baseline else {}

    @property
    def val_floor(self) -> Floor:
        """What guesses score on the validation images."""
        counts = dict(zip(self.data.class_names, self.data_record.val_counts, strict=True))
        return floor_of(counts, self.settings.metric)

    @property
    def chance_level(self) -> float:
        """A score on the validation images that is lower may be a guess."""
        return METRICS[self.settings.metric].chance_level(np.array(self.data_record.val_counts))

    def trial_plan(self) -> TrialPlan:
        """What all trials and retrainings have in common."""
        return TrialPlan(
            max_epochs=self.settings.max_epochs,
            rung_epochs=rungs_of(self.settings),
            engine=self.machine.engine,
            objective=Objective(metric_name=self.settings.metric, class_weights=self.settings.class_weights),
        )

    def describe(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters, multiply-adds of an image and receptive field of a config."""
        return describe_config(config, num_classes=self.images.num_classes, image_size=self.image_size)

    def memory_need(self, config: Mapping[str, Any]) -> int:
        """Numbers that training a config keeps in memory: activations of a batch, weights, gradients and moments.

        Good for comparing configs only: libraries take memory as well.
        """
        profile = profile_network(
            network_values(config), num_classes=self.images.num_classes, image_size=self.image_size
        )
        return int(config["batch_size"]) * profile.num_activations + NUMBERS_PER_PARAMETER * profile.num_params


def prepare(
    settings: SearchSettings, *, read: ReadImages | None = None, kept: Machine | None = None, deadline: float = math.inf
) -> Preparation:
    """Loads and checks everything, and measures the machine unless `kept` has the measurements of an earlier start.

    `read`: the images of these settings, if they were read before. `deadline` (by time.monotonic()) ends the measuring
    of slots; with one, compilation is not tried.
    UserError, DataError or SpaceError before any work begins.
    """
    device, warnings = choose_device(settings)
    asked = settings = settings.resolved()
    space_text = read_space(settings)
    data, survey = read or read_images(settings)
    settings = shortened_for_stand_in(settings, data, device)
    settings = lengthened_for_few_images(settings, len(data.examples))
    images = split_images(settings, data)
    image_size, num_train = int(images.images.shape[1]), len(images.train_indices)
    space = make_space(settings, space_text, images)
    warnings += few_images_notes(asked, settings, space, num_train)
    measurements: dict[str, list[dict[str, Any]]] = {}
    if kept is None or kept.engine.device != device:
        kept, measurements, gpu_warnings = _measure_machine(settings, device, space, image_size, deadline)
        warnings += gpu_warnings
    given_trials = _given_trials(settings, space, images.num_classes, image_size)
    return Preparation(
        settings=with_retrain_size(settings, images, len(given_trials) if settings.baseline else 0),
        data=data,
        survey=survey,
        images=images,
        space=space,
        machine=kept,
        measurements=measurements,
        given_trials=given_trials,
        warnings=[*data.warnings, *survey_warnings(survey), *warnings],
    )


def _measure_machine(
    settings: SearchSettings, device: str, space: SearchSpace, image_size: int, deadline: float
) -> tuple[Machine, dict[str, list[dict[str, Any]]], list[str]]:
    """Engine and slots, what they were chosen by, and warnings."""
    typical = TrainConfig.from_flat(space.default_config() or SEED_CONFIG.flat())
    asked = settings.model_dump(mode="json", include={"precision", "cpus_per_trial"})
    # A GPU is measured each time: who else uses its memory is seen at the same time.
    key = cache_key(config=typical.flat(), image_size=image_size, **asked) if device == "cpu" else None
    if key is not None and (found := read_measured(key)) is not None:
        return Machine(engine=found.engine, slots=found.slots), found.reused(), []
    choose = {"num_threads": num_cpus(), "steps_per_training": STEPS_PER_TRAINING if math.isinf(deadline) else 0}
    warnings: list[str] = []
    if device == "cpu":
        engine, engine_rows = choose_engine(device, precision=settings.precision, **choose)
    else:
        engine, engine_rows, warnings = choose_gpu_engine(settings, device, **choose)
    slots, packings = choose_slots(
        settings, engine, typical, num_cpus=num_cpus(), image_size=image_size, deadline=deadline
    )
    machine = Machine(engine=dataclasses.replace(engine, num_threads=slots.cpus_per_trial), slots=slots)
    measurements = {"engine": engine_rows, "packing": [dataclasses.asdict(packing) for packing in packings]}
    if key is not None and time.monotonic() < deadline:
        keep_measured(key, machine.engine, slots, measurements)
    return machine, measurements, warnings


def describe_config(config: Mapping[str, Any], *, num_classes: int, image_size: int) -> dict[str, Any]:
    """Parameters, multiply-adds of an image and receptive field of a flat config."""
    profile = profile_network(network_values(config), num_classes=num_classes, image_size=image_size)
    return {
        "num_params": profile.num_params,
        "multiply_adds": profile.multiply_adds,
        "receptive_field": profile.receptive_field,
    }


def _given_trials(settings: SearchSettings, space: SearchSpace, num_classes: int, image_size: int) -> list[NewTrial]:
    """The baselines come first, so that later trials are compared with them. A default over the limits is left out."""
    candidates: list[tuple[str, dict[str, Any] | None, bool]] = [
        ("seed", SEED_CONFIG.flat() if image_size == SEED_IMAGE_SIZE else None, False),
        ("default", space.default_config(), True),
    ]
    trials: list[NewTrial] = []
    for origin, config, is_in_space in candidates:
        if config is None:
            continue
        violations = space.violations(config)
        if is_in_space and any(excess > 0 for excess in violations.values()):
            continue
        trials.append(
            NewTrial(
                config=config,
                seed=derive_seed(settings.seed, "trial", len(trials)),
                origin=origin,
                params={key: config[key] for key in space.distributions} if is_in_space else {},
                distributions=space.distributions if is_in_space else {},
                violations=violations,
                profile=describe_config(config, num_classes=num_classes, image_size=image_size),
            )
        )
    return trials


def _command(settings: SearchSettings) -> str:
    """The command line of this process, without what only it may know."""
    secret = settings.notify
    return shlex.join(["python", *(word.replace(secret, "...") if secret else word for word in sys.argv)])
