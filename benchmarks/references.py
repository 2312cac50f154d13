"""The references, written as their users write them.

R0, the usual script: torchvision transforms an image at a time, a DataLoader with a worker a core, eager fp32, the
seed network with a ghost norm made by `view` and torch's Dropout.
R1, the floor: a network's convolutions and max-pools alone, forward and backward.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from model.config import TrainConfig
from model.layers import Conv2d, Dropout, GhostBatchNorm
from model.network import build_network
from model.network_config import SEED_NETWORK, NetworkConfig
from search.space.network_space import default_entries

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
BATCH_SIZE = 256
_BETWEEN = (GhostBatchNorm, Dropout, nn.ReLU, nn.GELU, nn.SiLU, nn.CELU)


def default_config() -> TrainConfig:
    """The default of the space that comes with the program."""
    searched, fixed = default_entries()
    return TrainConfig.from_flat(fixed | {key: parameter.default for key, parameter in searched.items()})


class ImageDataset(Dataset[tuple[Tensor, int]]):
    """uint8 images (N, H, W, 3), each made a PIL image and transformed when it is asked for."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64], *, is_training: bool) -> None:
        self.images, self.labels = images, labels
        augmentations = [
            transforms.RandomCrop(images.shape[1:3], padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.RandomRotation(8),
        ]
        self.transform = transforms.Compose(
            [*(augmentations if is_training else []), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def loader(
    images: NDArray[np.uint8], labels: NDArray[np.int64], *, num_workers: int, is_training: bool
) -> DataLoader[tuple[Tensor, int]]:
    """R0's, workers kept between epochs."""
    return DataLoader(
        ImageDataset(images, labels, is_training=is_training),
        batch_size=BATCH_SIZE,
        shuffle=is_training,
        drop_last=is_training,
        num_workers=num_workers,
        persistent_workers=True,
        pin_memory=torch.cuda.is_available(),
    )


class ViewGhostBatchNorm(nn.BatchNorm2d):
    """The notebook's way: the batch's parts become channels of one batch norm."""

    def __init__(self, num_features: int, num_splits: int) -> None:
        super().__init__(num_features)
        self.weight.requires_grad_(False)
        self.num_splits = num_splits
        self.register_buffer("running_mean", torch.zeros(num_features * num_splits))
        self.register_buffer("running_var", torch.ones(num_features * num_splits))

    def forward(self, x: Tensor) -> Tensor:
        splits = self.num_splits
        assert self.running_mean is not None
        assert self.running_var is not None
        if not self.training:
            mean = self.running_mean.view(splits, -1).mean(0)
            variance = self.running_var.view(splits, -1).mean(0)
            return functional.batch_norm(x, mean, variance, self.weight, self.bias, False, 0.1, self.eps)
        num_images, channels, height, width = x.shape
        return functional.batch_norm(
            x.view(-1, channels * splits, height, width),
            self.running_mean,
            self.running_var,
            self.weight.repeat(splits),
            self.bias.repeat(splits),
            True,
            0.1,
            self.eps,
        ).view(num_images, channels, height, width)


def usual_network() -> nn.Module:
    """R0's network: the seed network's layers in PyTorch's own versions."""

    def replacement(module: nn.Module) -> nn.Module | None:
        if isinstance(module, GhostBatchNorm):
            return ViewGhostBatchNorm(len(module.bias), module.num_splits)
        if isinstance(module, Dropout):
            return nn.Dropout(SEED_NETWORK.dropout)
        return _plain_conv(module)

    return replaced(build_network(SEED_NETWORK, 10), replacement)


def convolutions_alone(config: NetworkConfig) -> nn.Module:
    """R1's network: every convolution and max-pool of `config` at its shapes, and nothing between them."""

    def replacement(module: nn.Module) -> nn.Module | None:
        return nn.Identity() if isinstance(module, _BETWEEN) else _plain_conv(module)

    return replaced(build_network(dataclasses.replace(config, residual=False), 10), replacement)


def _plain_conv(module: nn.Module) -> nn.Conv2d | None:
    """PyTorch's own in place of this project's."""
    if not isinstance(module, Conv2d):
        return None
    return nn.Conv2d(
        module.in_channels,
        module.out_channels,
        module.kernel_size,  # type: ignore[arg-type]
        padding=module.padding,  # type: ignore[arg-type]
        dilation=module.dilation,  # type: ignore[arg-type]
        groups=module.groups,
        bias=module.bias is not None,
    )


def replaced(network: nn.Module, replacement: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    """A copy with those modules replaced for which `replacement` returns another."""
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            substitute = replacement(child)
            if substitute is not None:
                setattr(parent, name, substitute)
    return network
