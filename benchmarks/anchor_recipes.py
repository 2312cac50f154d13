"""Published networks with their published recipes, written from their descriptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from benchmarks import airbench
from model.augment import normalise
from model.split_images import ImageTensors

SIDE = 32
_WHITENED_IMAGES = 2000


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A network and its recipe."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    batch_size: int
    label_smoothing: float
    reduction: Literal["mean", "sum"]
    """Of the loss over a batch: the learning rate belongs to it."""
    factor: Callable[[float], float]
    """Learning rate over its peak, from the fraction of all steps that is done."""
    augment: Callable[[Tensor, Tensor, int], Tensor]
    """Normalised images (B, 3, H, W) from uint8 ones (B, H, W, 3), their indices and the epoch, from 1."""
    after_step: Callable[[int, float], None] = lambda step, done: None
    """Called with the number of steps and the fraction of all steps that is done."""


class _Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return y + x


def convmixer(images: ImageTensors) -> Anchor:
    """ConvMixer-256/8, kernel 5, patches of 2 (Trockman and Kolter 2022, arXiv 2201.09792), and its authors' recipe.

    The recipe is for 25 epochs; the rate rises over two fifths of them, then falls in two straight lines.
    """
    width, kernel_size, depth = 256, 5, 8

    def followed(conv: nn.Conv2d) -> list[nn.Module]:
        return [conv, nn.GELU(), nn.BatchNorm2d(width)]

    layers = followed(nn.Conv2d(3, width, 2, stride=2))
    for _ in range(depth):
        depthwise = nn.Conv2d(width, width, kernel_size, groups=width, padding="same")
        layers += [_Residual(*followed(depthwise)), *followed(nn.Conv2d(width, width, 1))]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, images.num_classes))
    moved = v2.Compose(
        [
            v2.RandomResizedCrop(SIDE, scale=(0.75, 1.0), ratio=(1.0, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandAugment(num_ops=1, magnitude=8),
            v2.ColorJitter(0.1, 0.1, 0.1),
        ]
    )
    erased = v2.RandomErasing(p=0.25)

    def augment(batch: Tensor, indices: Tensor, epoch: int) -> Tensor:
        one_by_one = torch.stack([moved(image) for image in batch.permute(0, 3, 1, 2)]).permute(0, 2, 3, 1)
        return torch.stack([erased(image) for image in _normalised(one_by_one, images)])

    return Anchor(
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.01),
        batch_size=512,
        label_smoothing=0.0,
        reduction="mean",
        factor=lambda done: float(np.interp(done, [0, 0.4, 0.8, 1], [0, 1, 0.05, 0])),
        augment=augment,
    )


def airbench_cut(images: ImageTensors) -> Anchor:
    """airbench94's network (Jordan 2024, arXiv 2404.00498) at widths 48, 176 and 176, and its recipe."""
    network = airbench.build(torch.float32, (48, 176, 176))
    whitened = images.images.index_select(0, images.train_indices[:_WHITENED_IMAGES])
    airbench.whiten(network, _normalised(whitened, images))
    fast = [value for value in network.state_dict().values() if value.is_floating_point()]
    slow = [value.clone() for value in fast]
    is_first_mirrored = torch.rand(len(images.images)) < 0.5

    def augment(batch: Tensor, indices: Tensor, epoch: int) -> Tensor:
        cropped = airbench.cropped(functional.pad(_normalised(batch, images), (airbench.PADDING,) * 4, mode="reflect"))
        is_mirrored = is_first_mirrored[indices] ^ (epoch % 2 == 0)
        return torch.where(is_mirrored.view(-1, 1, 1, 1), cropped.flip(-1), cropped)

    def after_step(step: int, done: float) -> None:
        if step % airbench.LOOKAHEAD_STEPS == 0:
            airbench.look_ahead(slow, fast, 1 - 0.95**5 * done**3)

    return Anchor(
        network=network,
        optimizer=airbench.optimizer(network),
        batch_size=airbench.BATCH_SIZE,
        label_smoothing=airbench.SMOOTHING,
        reduction="sum",
        factor=lambda done: float(np.interp(done, [0, 0.23, 1], [0.2, 1, 0.07])),
        augment=augment,
        after_step=after_step,
    )


def _normalised(batch: Tensor, images: ImageTensors) -> Tensor:
    return normalise(batch, mean=images.mean, std=images.std, dtype=torch.float32)
