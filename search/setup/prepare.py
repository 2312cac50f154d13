"""Loads and checks everything a run needs before its first trial: images, split, search space, engine, slots."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from model.network_source import NetworkSource, completed
from model.split_images import ImageArrays
from search.machine.gpus import choose_device
from search.machine.hardware import num_cpus
from search.machine.machine import Machine, Workpiece, measure_machine
from search.machine.machine_cache import Measurements
from search.settings import SearchSettings
from search.setup.few_images import few_images_notes, lengthened_for_few_images
from search.setup.given_trials import SEED_IMAGE_SIZE, describe_config, given_trials
from search.setup.images import shortened_for_stand_in, split_images
from search.setup.own_network import read_network
from search.setup.preparation import Preparation, workpiece
from search.setup.retrain_size import with_retrain_size
from search.setup.space_file import make_space, read_space
from search.setup.survey_text import ReadImages, read_images, survey_warnings
from search.space.space import SearchSpace
from search.study.record import NewTrial

if TYPE_CHECKING:
    from search.tune.joined_cluster import JoinedCluster


def prepare(
    settings: SearchSettings,
    *,
    read: ReadImages | None = None,
    kept: Machine | None = None,
    network: NetworkSource | None = None,
    cluster: JoinedCluster | None = None,
    deadline: float = math.inf,
    say: Callable[[str], None] = lambda _line: None,
) -> Preparation:
    """Loads and checks everything, and measures the machine unless `kept` has the measurements of an earlier start.

    `read`, `network`: what the settings name, if it was read before. `cluster`: in place of this machine. `say`: for a
    line before measuring, which `deadline` ends, by time.monotonic(). UserError, DataError or SpaceError.
    """
    device, warnings = choose_device(settings) if cluster is None else ("cuda" if settings.gpus else "cpu", [])
    asked = settings = settings.resolved()
    network, modules = (network, None) if network is not None else read_network(settings.network)
    data, survey = read or read_images(settings)
    settings = lengthened_for_few_images(shortened_for_stand_in(settings, data, device), len(data.examples))
    images = split_images(settings, data)
    space = make_space(settings, read_space(settings), images, network)
    network = completed(network, modules)
    piece = workpiece(network, space, images)
    machine, measurements, more = _measured(settings, device, piece, images, kept, cluster, deadline, say)
    first = _given_trials(settings, space, images, network)
    return Preparation(
        network=network,
        settings=with_retrain_size(settings, images, len(first) if settings.baseline else 0),
        data=data,
        survey=survey,
        images=images,
        space=space,
        machine=machine,
        measurements=measurements,
        given_trials=first,
        warnings=[*data.warnings, *survey_warnings(survey), *warnings, *more],
        notes=few_images_notes(asked, settings, space, len(images.train_indices)),
        cluster=cluster,
    )


def _measured(
    settings: SearchSettings,
    device: str,
    piece: Workpiece,
    images: ImageArrays,
    kept: Machine | None,
    cluster: JoinedCluster | None,
    deadline: float,
    say: Callable[[str], None],
) -> tuple[Machine, Measurements, list[str]]:
    """Engine and slots, what they were chosen by if that was now, and warnings."""
    if cluster is not None:
        cluster.check_memory(images.images.nbytes)
        return cluster.measured(piece, kept, say)
    if kept is not None and kept.engine.device == device:
        return kept, {}, []
    return measure_machine(settings, device, piece, deadline, num_cpus=num_cpus(), say=say)


def _given_trials(
    settings: SearchSettings, space: SearchSpace, images: ImageArrays, network: NetworkSource
) -> list[NewTrial]:
    """The space's default, after the seed config where its size of images is that of the run."""
    image_size = int(images.images.shape[1])
    describe = partial(
        describe_config,
        num_classes=images.num_classes,
        image_size=image_size,
        above=settings.min_receptive_field,
        network=network,
    )
    has_seed_config = network.is_built_in and image_size == SEED_IMAGE_SIZE
    return given_trials(settings.seed, space, describe, has_seed_config=has_seed_config)
