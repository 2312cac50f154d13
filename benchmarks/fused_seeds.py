"""Several seeds of one config trained as one network: all channels side by side, every convolution grouped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.references import replaced
from model.augment import Augmentation, Draws, augment
from model.config import TrainConfig
from model.engine import Engine, synchronise
from model.layers import Conv2d, GhostBatchNorm
from model.network import build
from model.optim import build_optimizer
from model.split_images import ImageTensors


def fused_network(config: TrainConfig, num_classes: int, num_seeds: int) -> nn.Module:
    """(N, seeds * 3, H, W) to logits (N, seeds * num_classes). `fused_state` gives it the weights of trained seeds."""

    def replacement(module: nn.Module) -> nn.Module | None:
        if isinstance(module, GhostBatchNorm):
            is_frozen = not module.weight.requires_grad
            return GhostBatchNorm(num_seeds * len(module.bias), num_splits=module.num_splits, frozen_scale=is_frozen)
        if not isinstance(module, nn.Conv2d):
            return None
        made = Conv2d if isinstance(module, Conv2d) else nn.Conv2d
        return made(
            num_seeds * module.in_channels,
            num_seeds * module.out_channels,
            module.kernel_size,  # type: ignore[arg-type]
            padding=module.padding,  # type: ignore[arg-type]
            dilation=module.dilation,  # type: ignore[arg-type]
            groups=num_seeds * module.groups,
            bias=module.bias is not None,
        )

    return replaced(build(config.network, num_classes=num_classes, image_size=32), replacement)


def fused_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The state of the fused network whose seeds have these states."""
    return {name: torch.cat([state[name] for state in states]) for name in states[0]}


def fused_epoch(config: TrainConfig, images: ImageTensors, engine: Engine, num_seeds: int) -> Callable[[], float]:
    """Returns a function that trains an epoch of every seed, each on its own order, and returns summed images/s."""
    engine.apply()
    network = fused_network(config, images.num_classes, num_seeds).to(engine.device)
    network = network.to(memory_format=engine.memory_format).train()
    forward = torch.compile(network) if engine.compile else network
    optimizer = build_optimizer(network, config.recipe)
    _, height, width, _ = images.images.shape
    augmentation = Augmentation(config.recipe, height=height, width=width, device=engine.device)
    generator = np.random.default_rng(0)
    num_steps = len(images.train_indices) // config.recipe.batch_size

    def step(chosen: Tensor, draws: Draws) -> None:
        """`chosen`: images of the first seed, then of the next."""
        batch = augment(
            images.images[chosen], draws, augmentation, mean=images.mean, std=images.std, dtype=engine.dtype
        )
        beside = batch.view(num_seeds, -1, *batch.shape[1:]).transpose(0, 1).flatten(1, 2)
        with engine.autocast():
            logits = forward(beside.contiguous(memory_format=engine.memory_format))
        labels = images.labels[chosen].view(num_seeds, -1).t().flatten()
        logits = logits.float().view(-1, images.num_classes)
        # Summed over the seeds, so that each gets the gradient of its own mean.
        loss = functional.cross_entropy(logits, labels, label_smoothing=config.recipe.label_smoothing) * num_seeds
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()

    def epoch() -> float:
        start = time.perf_counter()
        orders = torch.rand(num_seeds, len(images.train_indices), device=engine.device).argsort(1)
        used = images.train_indices[orders[:, : num_steps * config.recipe.batch_size]]
        per_step = used.view(num_seeds, num_steps, -1).transpose(0, 1).flatten(1)
        draws = augmentation.draw(per_step.numel(), generator)
        for index, chosen in enumerate(per_step):
            step(chosen, draws[index * len(chosen) : (index + 1) * len(chosen)])
        synchronise(engine)
        return per_step.numel() / (time.perf_counter() - start)

    return epoch
