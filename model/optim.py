"""The optimizer, the learning rate of each step and the moving average of the parameters."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from model.muon import MuonWithAdamW, muon_kernels
from model.recipe import Recipe


def build_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD (with or without Nesterov), AdamW or Muon with AdamW over the trainable parameters.

    Biases and the scales and shifts of norms are not decayed: decay on them costs accuracy and does not regularise.
    """
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    kernels = muon_kernels(network) if recipe.optimizer == "muon" else []
    weights = [parameter for parameter in trainable if parameter.ndim > 1]
    weights = [weight for weight in weights if not any(weight is kernel for kernel in kernels)]
    is_sgd = recipe.optimizer in ("sgd", "nesterov")
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay if is_sgd else recipe.adamw_weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    optimizer = _make_optimizer(kernels, groups, recipe)
    for group in optimizer.param_groups:
        group["lr_scale"] = group["lr"] / peak_learning_rate(recipe)
    return optimizer


def _make_optimizer(kernels: list[nn.Parameter], groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    if kernels:
        rates = {"muon_lr": recipe.muon_lr, "adamw_lr": recipe.adamw_lr}
        return MuonWithAdamW(kernels, groups, **rates, momentum=recipe.momentum)
    if recipe.optimizer in ("adamw", "muon"):
        return torch.optim.AdamW(groups, lr=recipe.adamw_lr, fused=True)
    is_nesterov = recipe.optimizer == "nesterov" and recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=is_nesterov, fused=True)


def peak_learning_rate(recipe: Recipe) -> float:
    """The peak learning rate of most weights: SGD's, AdamW's or Muon's."""
    return {"adamw": recipe.adamw_lr, "muon": recipe.muon_lr}.get(recipe.optimizer, recipe.lr)


def learning_rate(recipe: Recipe, step: int, *, steps_per_epoch: int, max_epochs: int) -> float:
    """The learning rate, always above 0, of optimizer step `step`, 0..steps_per_epoch * max_epochs - 1.

    step: the peak times 0.92 ** (epochs done // 2). one_cycle: linear to the peak over `warmup_fraction` of all steps,
    then linear to almost 0. cosine: the same warm-up, then half a cosine to almost 0 (Loshchilov and Hutter 2017,
    arXiv 1608.03983).
    """
    peak = peak_learning_rate(recipe)
    if recipe.schedule == "step":
        return float(peak * 0.92 ** (step // steps_per_epoch // 2))
    num_steps = steps_per_epoch * max_epochs
    num_warmup = recipe.warmup_fraction * num_steps
    if step + 1 <= num_warmup:
        return peak * (step + 1) / num_warmup
    left = min(1.0, (num_steps - step) / (num_steps - num_warmup))
    return peak * (left if recipe.schedule == "one_cycle" else 0.5 * (1 - math.cos(math.pi * left)))


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the rate of the optimizer's next step: every parameter group gets its share `lr_scale` of `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


class ParameterAverage:
    """An exponential moving average of a network, held in a second network.

    Floating-point buffers (the norms' running statistics) are averaged like the parameters they belong to; integer
    buffers are copied. The decay starts small, min(decay, (1 + n) / (10 + n)) after n updates, so that the random
    initialisation does not dominate a short training.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        self._averages = [average for average, _ in pairs if average.is_floating_point()]
        self._sources = [source for average, source in pairs if average.is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Move towards the network after its optimizer step; `num_updates` counts earlier updates, from 0."""
        decay = min(self.decay, (1 + num_updates) / (10 + num_updates))
        torch._foreach_lerp_(self._averages, self._sources, 1 - decay)
        for average, source in self._copied:
            average.copy_(source)


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
