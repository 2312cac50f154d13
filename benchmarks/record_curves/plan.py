"""What is recorded: the images, the configs, and the order of the trainings."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.record_curves.fidelities import FIDELITIES, FIRST, FULL
from model.config import SEED_CONFIG
from model.data import TrainingData, channel_statistics
from model.split_images import ImageArrays
from model.splits import stratified_split, stratified_subset
from search.settings import SearchSettings
from search.space.network_space import network_space
from search.space.space import SearchSpace
from search.space.space_check import Limits

NUM_COMPARED = 40
"""Configs that are recorded with the first fidelities before any other training."""
NUM_REPEATED, REPEAT_SEEDS = 20, (1, 2, 3)


class Job(NamedTuple):
    """One training."""

    config: int
    """Its place in the list of configs."""
    fidelity: str
    seed: int


def recorded_images(data: TrainingData, *, num_train: int, num_val: int, seed: int) -> ImageArrays:
    """Stratified images for training and validation, and no others. DataError if there are too few."""
    labels = data.examples.labels
    split = stratified_split(labels, val_fraction=num_val / len(labels), seed=seed)
    train = stratified_subset(labels, split.train_indices, num_train, seed=seed)
    mean, std = channel_statistics(data.examples.images, train)
    kept = np.concatenate([train, split.val_indices])
    return ImageArrays(
        images=data.examples.images[kept],
        labels=labels[kept],
        train_indices=np.arange(len(train)),
        val_indices=np.arange(len(train), len(kept)),
        mean=mean,
        std=std,
        num_classes=len(data.class_names),
    )


def default_space(images: ImageArrays) -> SearchSpace:
    """The default space with the default limits, its batches adapted to the images as in a search."""
    settings = SearchSettings(run_name="recorded")
    limits = Limits(
        max_params=settings.max_params,
        min_receptive_field=settings.min_receptive_field,
        num_classes=images.num_classes,
        image_size=images.images.shape[1],
    )
    return network_space(None, limits, num_train=len(images.train_indices))


def draw_configs(space: SearchSpace, count: int, *, seed: int) -> list[dict[str, Any]]:
    """The space's default, the seed config, then random configs within the limits; a longer list begins alike."""
    default, rng = space.default_config(), random.Random(seed)
    assert default is not None
    configs = [default, SEED_CONFIG.flat()]
    while len(configs) < count:
        config = space.draw(rng)
        if all(excess <= 0 for excess in space.violations(config).values()):
            configs.append(config)
    return configs[:count]


def plan_jobs(num_configs: int, names: Sequence[str]) -> list[Job]:
    """All trainings in order: `NUM_COMPARED` configs with the first fidelities, then with the second, then the rest."""
    first = {fidelity.name for fidelity in FIRST}
    names = [name for name in FIDELITIES if name in names]
    jobs = [Job(config, name, seed=0) for config in range(num_configs) for name in names]
    return sorted(jobs, key=lambda job: (job.config >= NUM_COMPARED, job.fidelity not in first, job.config))


def plan_repeats(rows: Sequence[Mapping[str, Any]]) -> list[Job]:
    """Full trainings of the best configs on more seeds, which tell the noise of their ends."""
    ended = [row for row in rows if row["fidelity"] == FULL.name and row["seed"] == 0 and not row["error"]]
    best = sorted(ended, key=lambda row: -row["scores"][-1])[:NUM_REPEATED]
    return [Job(row["config"], FULL.name, seed) for row in best for seed in REPEAT_SEEDS]


def is_inside(space: SearchSpace, config: dict[str, Any]) -> bool:
    """Whether the space can draw the config."""
    is_fixed_alike = all(config[key] == value for key, value in space.fixed.items())
    return is_fixed_alike and all(parameter.allows(config[key]) for key, parameter in space.parameters.items())
