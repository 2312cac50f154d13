"""Everything a run works with, from its first trial to its report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from model.config import TrainConfig, network_values
from model.data import TrainingData
from model.metrics import METRICS
from model.network_source import BUILT_IN, NetworkSource, builder_of
from model.objective import Objective
from model.profile import NetworkProfile, profile_network
from model.split_images import ImageArrays
from model.survey import ImageSurvey
from search.machine.hardware import describe_hardware, describe_versions
from search.machine.machine import Machine, Workpiece
from search.machine.machine_cache import Measurements
from search.schedulers.rungs import rungs_of
from search.settings import SearchSettings
from search.setup.document import DataRecord, HardwareRecord, NetworkRecord, RunDocument
from search.setup.floor import Floor, floor_of
from search.setup.given_trials import describe_config
from search.setup.retrain_size import RetrainCost, retrain_cost
from search.space.space import SearchSpace
from search.study.record import NewTrial
from search.worker.trainable import TrialPlan

if TYPE_CHECKING:
    from search.tune.joined_cluster import JoinedCluster
NUMBERS_PER_PARAMETER = 4
"""In memory: the weight, its gradient and the optimizer's two moments."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Everything a run works with. `data` has training images only."""

    settings: SearchSettings
    network: NetworkSource = BUILT_IN
    """What builds the networks of all trials."""
    data: TrainingData
    survey: ImageSurvey
    """What was read, of all splits."""
    images: ImageArrays
    space: SearchSpace
    machine: Machine
    measurements: Measurements
    """See `RunDocument`; empty if the machine was not measured."""
    given_trials: list[NewTrial]
    """The first trials: the seed config (on 32x32 images), then the space's default."""
    warnings: list[str]
    """What should be known before trusting the result."""
    notes: list[str]
    """What was adapted to the images."""
    cluster: JoinedCluster | None = None
    """Where trials run, if not on this machine alone."""

    def num_slots(self) -> int:
        """Trials that may run side by side now; the nodes of a cluster come and go."""
        slots = self.machine.slots
        return slots.num_concurrent if self.cluster is None else self.cluster.num_slots(slots)

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
            notes=tuple(self.notes),
            settings=self.settings,
            network=NetworkRecord.of(self.network),
            data=self.data_record,
            engine=self.machine.engine,
            slots=self.machine.slots,
            engines=dict(self.machine.engines),
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
            network=self.network,
        )

    def describe(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters, multiply-adds of an image and receptive field of a config."""
        return describe_config(
            config, above=self.settings.min_receptive_field, network=self.network, **self._images_kind
        )

    @property
    def _images_kind(self) -> dict[str, int]:
        return {"num_classes": self.images.num_classes, "image_size": self.image_size}

    @property
    def workpiece(self) -> Workpiece:
        """A typical config."""
        return workpiece(self.network, self.space, self.images)

    def profile(self, config: Mapping[str, Any]) -> NetworkProfile:
        """The network of a flat config."""
        return profile_network(network_values(config), build=builder_of(self.network), **self._images_kind)

    def memory_need(self, config: Mapping[str, Any]) -> int:
        """Numbers that training a config keeps in memory: activations of a batch, weights, gradients and moments.

        Good for comparing configs only: libraries take memory as well.
        """
        profile = self.profile(config)
        return int(config["batch_size"]) * profile.num_activations + NUMBERS_PER_PARAMETER * profile.num_params


def workpiece(network: NetworkSource, space: SearchSpace, images: ImageArrays) -> Workpiece:
    """A typical config of the space."""
    return Workpiece(
        network=network,
        config=TrainConfig.from_flat(space.typical_config()),
        num_classes=images.num_classes,
        image_size=int(images.images.shape[1]),
    )


def _command(settings: SearchSettings) -> str:
    """The command line of this process, without what only it may know."""
    secret = settings.notify
    return shlex.join(["python", *(word.replace(secret, "...") if secret else word for word in sys.argv)])
