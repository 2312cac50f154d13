"""Everything a run needs before its first trial: images, split, space, engine; anything wrong is named here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.config import SEED_CONFIG, TrainConfig
from model.data import TrainingData, channel_statistics, load_training_data, stratified_split, stratified_subset
from model.engine import STEPS_PER_TRAINING, Engine, choose_engine
from model.profile import profile_network
from model.seeds import derive_seed
from model.split_images import ImageArrays
from search.errors import UserError
from search.machine.hardware import choose_device, num_cpus
from search.machine.packing import choose_slots
from search.machine.slots import Slots
from search.settings import SearchSettings
from search.setup.document import DataRecord, RunDocument, new_document
from search.space.network_space import network_space
from search.space.space import SearchSpace
from search.study.finals import RetrainPlan
from search.study.record import NewTrial

SEED_IMAGE_SIZE = 32
"""Side in pixels of the images that the seed network was made for."""
VAL_FRACTION = 0.1
NUMBERS_PER_PARAMETER = 4
"""The weight, its gradient and the optimizer's two moments."""
STAND_IN_EXAMPLES = 512
"""Of the digits that stand in for CIFAR-10, as many as trials on a CPU train on."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a run uses its machine; measured when it starts and kept for as long as it is resumed."""

    engine: Engine
    """For trials, which share the machine."""
    slots: Slots


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What a run works with; `data` holds training images only."""

    settings: SearchSettings
    data: TrainingData
    arrays: ImageArrays
    space: SearchSpace
    machine: Machine
    retrain_engine: Engine
    """For retrainings, one at a time on the whole machine."""
    measurements: dict[str, list[dict[str, Any]]]
    """What engine and slots were chosen by: `engine`, ms a step; `packing`, summed images/s of trials side by side."""
    given_trials: list[NewTrial]
    """Trained first: the seed config (on 32x32 images), then the space's default."""
    warnings: list[str]

    @property
    def image_size(self) -> int:
        return int(self.data.examples.images.shape[1])

    @property
    def data_record(self) -> DataRecord:
        """The images, as run.toml describes them."""
        return DataRecord.of(self.data, self.arrays)

    def document(self) -> RunDocument:
        """The description of a new run."""
        return new_document(
            self.settings,
            self.data_record,
            self.machine.engine,
            self.machine.slots,
            measurements=self.measurements,
            warnings=self.warnings,
        )

    @property
    def baselines(self) -> dict[int, NewTrial]:
        """The given trials by number, where they are to be retrained as well: the seed config, the space's default."""
        return dict(enumerate(self.given_trials)) if self.settings.baseline else {}

    @property
    def retrain_epochs_of_trial(self) -> float:
        """What all retrainings cost, in epochs of a trial; counted as if they ran at a trial's speed."""
        plan = RetrainPlan.of(self.settings)
        num_images, num_val = len(self.data.examples), len(self.arrays.val_indices)
        num_shown = (1 + len(self.baselines)) * num_images
        if plan.has_finals:
            num_shown += min(plan.num_top, self.settings.num_trials) * (num_images - num_val)
        return plan.num_seeds * self.settings.max_epochs * num_shown / len(self.arrays.train_indices)

    def describe(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters, multiply-adds of an image and receptive field of a config."""
        return describe_config(config, num_classes=self.arrays.num_classes, image_size=self.image_size)

    def memory_need(self, config: Mapping[str, Any]) -> int:
        """Numbers that training a config holds: what layers put out for a batch, then weights and what goes with them.

        An order of configs rather than a measure: libraries take memory of their own.
        """
        train_config = TrainConfig.from_flat(dict(config))
        profile = profile_network(train_config, num_classes=self.arrays.num_classes, image_size=self.image_size)
        return train_config.batch_size * profile.num_activations + NUMBERS_PER_PARAMETER * profile.num_params


def prepare(settings: SearchSettings, *, kept: Machine | None = None, deadline: float = math.inf) -> Preparation:
    """Loads and checks everything, and measures the machine unless that was done when the run began.

    `deadline`, by time.monotonic(): the slots are not measured any longer, and compiling is not tried.
    UserError, DataError or SpaceError say what is wrong before work begins.
    """
    space_text = _read_space(settings)
    device, warnings = choose_device(settings)
    settings = settings.resolved(device)
    data = load_training_data(
        settings.dataset, image_size=settings.image_size, seed=settings.seed, data_dir=settings.data_dir
    )
    settings = _shortened_for_stand_in(settings, data, device)
    arrays = search_arrays(settings, data)
    image_size = int(data.examples.images.shape[1])
    space = network_space(
        space_text,
        max_params=settings.max_params,
        min_receptive_field=settings.min_receptive_field,
        num_classes=arrays.num_classes,
        image_size=image_size,
    )
    if settings.search_examples is not None:
        warnings.append(
            f"trials train on {len(arrays.train_indices):,} of the training images (--search-examples); "
            "the retrain uses all"
        )
    measurements: dict[str, list[dict[str, Any]]] = {}
    if kept is None or kept.engine.device != device:
        kept, measurements = _measure_machine(settings, device, space, image_size, deadline)
    return Preparation(
        settings=settings,
        data=data,
        arrays=arrays,
        space=space,
        machine=kept,
        retrain_engine=dataclasses.replace(kept.engine, num_threads=num_cpus()),
        measurements=measurements,
        given_trials=_given_trials(settings, space, arrays.num_classes, image_size),
        warnings=[*data.warnings, *warnings],
    )


def _shortened_for_stand_in(settings: SearchSettings, data: TrainingData, device: str) -> SearchSettings:
    """Nobody asked for the digits: there they show that all works, and on two CPU cores that should take minutes."""
    is_stand_in = settings.dataset == "auto" and data.name == "digits"
    if not is_stand_in or device != "cpu" or settings.search_examples is not None:
        return settings
    return settings.changed(search_examples=STAND_IN_EXAMPLES)


def _measure_machine(
    settings: SearchSettings, device: str, space: SearchSpace, image_size: int, deadline: float
) -> tuple[Machine, dict[str, list[dict[str, Any]]]]:
    engine, engine_rows = choose_engine(
        device,
        num_threads=num_cpus(),
        precision=settings.precision,
        steps_per_training=STEPS_PER_TRAINING if math.isinf(deadline) else 0,
    )
    typical = TrainConfig.from_flat(space.default_config() or SEED_CONFIG.flat())
    slots, packings = choose_slots(
        settings, engine, typical, num_cpus=num_cpus(), image_size=image_size, deadline=deadline
    )
    machine = Machine(engine=dataclasses.replace(engine, num_threads=slots.cpus_per_trial), slots=slots)
    return machine, {"engine": engine_rows, "packing": [dataclasses.asdict(packing) for packing in packings]}


def search_arrays(settings: SearchSettings, data: TrainingData) -> ImageArrays:
    """The images with their split, drawn from the run's seed; the training part cut to `search_examples`."""
    labels = data.examples.labels
    split = stratified_split(labels, val_fraction=VAL_FRACTION, seed=settings.seed)
    train = split.train_indices
    if settings.search_examples is not None:
        if settings.search_examples > len(train):
            raise UserError(
                f"--search-examples {settings.search_examples}: the training split has {len(train)} images. "
                "Give fewer or leave it out."
            )
        train = stratified_subset(labels, train, settings.search_examples, seed=settings.seed)
    mean, std = channel_statistics(data.examples.images, train)
    return ImageArrays(
        images=data.examples.images,
        labels=labels,
        train_indices=np.ascontiguousarray(train),
        val_indices=split.val_indices,
        mean=mean,
        std=std,
        num_classes=len(data.class_names),
        split_hash=split.hash,
    )


def describe_config(config: Mapping[str, Any], *, num_classes: int, image_size: int) -> dict[str, Any]:
    """Parameters, multiply-adds of an image and receptive field of a flat config."""
    profile = profile_network(TrainConfig.from_flat(dict(config)), num_classes=num_classes, image_size=image_size)
    return {
        "num_params": profile.num_params,
        "multiply_adds": profile.multiply_adds,
        "receptive_field": profile.receptive_field,
    }


def _given_trials(settings: SearchSettings, space: SearchSpace, num_classes: int, image_size: int) -> list[NewTrial]:
    """A good default first: later trials are compared with it."""
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


def _read_space(settings: SearchSettings) -> str | None:
    if settings.space is None:
        return None
    try:
        return settings.space.read_text()
    except OSError as error:
        raise UserError(f"--space {settings.space} cannot be read ({error.strerror}). Give a TOML file.") from None
    except UnicodeDecodeError:
        raise UserError(f"--space {settings.space} is not text. Give a TOML file.") from None
