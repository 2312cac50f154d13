"""Trainings that differ from the usual one in their schedule or in the weights that are evaluated."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from model.augment import Draws, normalise
from model.config import TrainConfig
from model.engine import Engine
from model.layers import GhostBatchNorm
from model.optim import peak_learning_rate
from model.split_images import ImageTensors
from model.training import Training

Kind = Literal["complete", "cooled", "constant", "averaged"]
_NUM_STATISTICS_IMAGES, _STATISTICS_BATCH = 2048, 256


class Branch(Training):
    """The usual training of `max_epochs`, ended after `num_epochs`."""

    def __init__(self, *arguments: Any, num_epochs: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.num_epochs = num_epochs


class Cooled(Branch):
    """Over the last of its epochs, the learning rate falls linearly to almost 0."""

    def learning_rate(self, step: int) -> float:
        begin = (self.num_epochs - 1) * self.steps_per_epoch
        left = 1 - max(0, step - begin) / self.steps_per_epoch
        return super().learning_rate(min(step, begin)) * left


class Constant(Branch):
    """A warm-up of half an epoch, the peak rate, then a linear decay over a fifth of the epochs, at least one."""

    def learning_rate(self, step: int) -> float:
        peak = peak_learning_rate(self.config.recipe)
        num_warmup, num_decay = self.steps_per_epoch / 2, max(1.0, self.num_epochs / 5) * self.steps_per_epoch
        left = self.num_epochs * self.steps_per_epoch - step
        return peak * min(1.0, (step + 1) / num_warmup, left / num_decay)


class Averaged(Branch):
    """Evaluates the mean of the weights after each step of an epoch, with norm statistics that belong to them."""

    _mean: AveragedModel

    @property
    def network(self) -> nn.Module:
        """The mean of the epoch that was trained last."""
        network: nn.Module = self._mean.module
        return network

    def _train_steps(self, epoch: int) -> tuple[float, float]:
        self._mean = AveragedModel(self.trained_network)
        found = super()._train_steps(epoch)
        self._recompute_statistics()
        return found

    def train_step(self, indices: Tensor, draws: Draws) -> Tensor:
        loss = super().train_step(indices, draws)
        self._mean.update_parameters(self.trained_network)
        return loss

    @torch.no_grad()
    def _recompute_statistics(self) -> None:
        """Plain averages over a few batches of training images, without augmentation or dropout."""
        norms = [module for module in self.network.modules() if isinstance(module, GhostBatchNorm)]
        self.network.eval()
        for norm in norms:
            norm.train()
        chosen = self.images.train_indices[:: max(1, len(self.images.train_indices) // _NUM_STATISTICS_IMAGES)]
        for number, part in enumerate(torch.split(chosen, _STATISTICS_BATCH), start=1):
            for norm in norms:
                norm.momentum = 1 / number
            images = self.images
            batch = normalise(
                images.images.index_select(0, part), mean=images.mean, std=images.std, dtype=torch.float32
            )
            self.network(batch.contiguous(memory_format=self.engine.memory_format))


_VARIANTS: dict[Kind, type[Branch]] = {"cooled": Cooled, "constant": Constant, "averaged": Averaged}


def make_training(
    kind: Kind,
    config: TrainConfig,
    images: ImageTensors,
    *,
    max_epochs: int,
    num_epochs: int,
    seed: int,
    engine: Engine,
) -> Training:
    """A training to be ended after `num_epochs`; `max_epochs` is the full training's length."""
    if kind == "complete":
        return Training(config, images, max_epochs=num_epochs, seed=seed, engine=engine)
    return _VARIANTS[kind](config, images, max_epochs=max_epochs, num_epochs=num_epochs, seed=seed, engine=engine)
