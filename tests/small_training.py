"""Trainings of a tiny network on a few images."""

from typing import Any

import numpy as np
import torch

from model.config import TrainConfig
from model.engine import Engine
from model.network_config import BlockConfig, NetworkConfig
from model.recipe import Recipe
from model.split_images import ImageTensors
from model.training import Training, train_epochs

PLAIN = Engine(num_threads=1)
FAST = Engine(precision="bf16", channels_last=True, num_threads=1)
BLOCK = BlockConfig(num_convs=1, inner_width=8, width=8)
TINY = TrainConfig(
    network=NetworkConfig(c1=BLOCK, c2=BLOCK, c3=BLOCK, output=BLOCK).flat(), recipe=Recipe(batch_size=16, lr=0.05)
)
# Everything that could leak into the next training or be missing from a checkpoint, all at once.
BUSY = TINY.changed(
    norm="ghost",
    norm_splits=2,
    frozen_norm_scale=True,
    dropout=0.2,
    ema_decay=0.9,
    rotation_degrees=8.0,
    cutout_size=4,
    label_smoothing=0.1,
    weight_decay=1e-3,
)


def shared(num: int = 80, num_val: int = 24, size: int = 16) -> ImageTensors:
    """Two classes that differ by brightness, so that a few steps learn something."""
    generator = np.random.default_rng(0)
    labels = np.arange(num) % 2
    images = generator.integers(0, 160, (num, size, size, 3)) + 80 * labels[:, None, None, None]
    return ImageTensors(
        images=torch.from_numpy(images.astype(np.uint8)),
        labels=torch.from_numpy(labels),
        train_indices=torch.arange(num_val, num),
        val_indices=torch.arange(num_val),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        num_classes=2,
    )


def make(
    config: TrainConfig = TINY,
    images: ImageTensors | None = None,
    *,
    max_epochs: int = 4,
    seed: int = 7,
    engine: Engine = PLAIN,
) -> Training:
    return Training(config, images or shared(), max_epochs=max_epochs, seed=seed, engine=engine)


def scores(training: Training) -> list[tuple[Any, ...]]:
    return [(row.epoch, row.train_loss, row.val_loss, row.val_accuracy, row.lr) for row in train_epochs(training)]


def assert_equal_states(one: Training, other: Training) -> None:
    tensors, meta = one.state()
    other_tensors, other_meta = other.state()
    assert meta == other_meta
    assert tensors.keys() == other_tensors.keys()
    assert [name for name, value in tensors.items() if not torch.equal(value, other_tensors[name])] == []
