"""One training: a config, shared images and a seed in, one `EpochMetrics` an epoch out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.augment import Augmentation, Draws, augment, to_device
from model.config import TrainConfig
from model.engine import Engine, give_back_memory, synchronise
from model.evaluation import evaluate
from model.layers import seed_dropout
from model.network import build_network
from model.optim import ParameterAverage, build_optimizer, learning_rate, set_learning_rate
from model.seeds import derive_seed

_STEPS_BETWEEN_CHECKS = 50


class DivergedError(ArithmeticError):
    """The loss was no longer finite at (epoch, step), both from 1; the step is the one that noticed."""

    def __init__(self, epoch: int, step: int) -> None:
        super().__init__(epoch, step)  # the arguments as they are, so that the error survives pickling
        self.epoch, self.step = epoch, step

    def __str__(self) -> str:
        return f"diverged: the loss was not finite by step {self.step} of epoch {self.epoch}"


@dataclass(frozen=True, kw_only=True)
class SharedImages:
    """A labelled image set and its split, all on one device, read by every training there and copied by none."""

    images: Tensor
    """uint8 (N, H, W, 3)."""
    labels: Tensor
    """int64 (N,), 0..num_classes - 1."""
    train_indices: Tensor
    """int64, sorted."""
    val_indices: Tensor
    """int64, sorted; empty when everything is trained on."""
    mean: tuple[float, float, float]
    """Of the training split's channels, in 0..1."""
    std: tuple[float, float, float]
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """What one epoch gave."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean loss in nats over the epoch's steps, with its label smoothing and augmentation."""
    val_loss: float | None
    """Cross-entropy in nats without label smoothing; None without a validation split."""
    val_accuracy: float | None
    """Fraction; None without a validation split."""
    lr: float
    """Learning rate of the epoch's last step."""
    seconds: float
    """Of training and evaluation together."""
    images_per_s: float
    """Images trained on over `seconds`."""


class Training:
    """A network on its way through `max_epochs`, which the learning-rate schedule spans.

    An epoch is the largest number of whole batches, in an order drawn anew; images left over sit that epoch out. A
    split smaller than one batch is one step. All chance of epoch k comes from (seed, k): on the CPU, a training resumed
    from `state()` equals the uninterrupted one to the bit for one number of threads.
    """

    def __init__(
        self,
        config: TrainConfig,
        images: SharedImages,
        *,
        max_epochs: int,
        seed: int,
        engine: Engine,
        on_step: Callable[[int, int, int], None] | None = None,
    ) -> None:
        """`on_step` is called with (epoch, step, steps of the epoch), from 1, after each step; it must be quick."""
        engine.apply()
        give_back_memory()
        self._on_step = on_step
        self.config, self.images, self.engine = config, images, engine
        self.max_epochs, self.seed = max_epochs, seed
        self.epoch = 0
        num_train = len(images.train_indices)
        self.batch_size = min(config.batch_size, num_train)
        self.steps_per_epoch = num_train // self.batch_size
        self.trained_network = self._build_network()
        self._step_network = torch.compile(self.trained_network) if engine.compile else self.trained_network
        self._optimizer = build_optimizer(self.trained_network, config)
        self._average = ParameterAverage(self.trained_network, config.ema_decay) if config.ema_decay > 0 else None
        _, height, width, _ = images.images.shape
        self._augmentation = Augmentation(config, height=height, width=width, device=engine.device)

    @property
    def network(self) -> nn.Module:
        """The network to evaluate and keep: the average of the parameters where the config asks for one."""
        return self._average.network if self._average else self.trained_network

    def train_epoch(self) -> EpochMetrics:
        """Train the next epoch and evaluate; DivergedError within 50 steps of a loss that is not finite."""
        self.engine.apply()
        start = time.perf_counter()
        epoch = self.epoch + 1
        train_loss, lr = self._train_steps(epoch)
        val_loss, val_accuracy = self._evaluate(epoch)
        synchronise(self.engine)
        seconds = time.perf_counter() - start
        self.epoch = epoch
        return EpochMetrics(
            epoch=epoch,
            train_loss=train_loss,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            lr=lr,
            seconds=seconds,
            images_per_s=self.steps_per_epoch * self.batch_size / seconds,
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """A snapshot: contiguous CPU tensors (networks and optimizer), and what they are a state of."""
        tensors = {f"network.{name}": value for name, value in self.trained_network.state_dict().items()}
        if self._average:
            tensors |= {f"average.{name}": value for name, value in self._average.network.state_dict().items()}
        for index, parameter in enumerate(self._parameters()):
            tensors |= {f"optimizer.{index}.{key}": value for key, value in self._optimizer.state[parameter].items()}
        snapshot = {
            name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, value in tensors.items()
        }
        return snapshot, {"epoch": self.epoch, **self._identity()}

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Go on from a `state()`; ValueError if it is of another config, seed, length or number of images."""
        for name, value in self._identity().items():
            if meta.get(name) != value:
                raise ValueError(
                    f"`{name}` of the checkpoint is {meta.get(name)!r} but this training's is {value!r}. "
                    "Delete the checkpoint or train with its settings."
                )
        self.trained_network.load_state_dict(_under("network.", tensors))
        if self._average:
            self._average.network.load_state_dict(_under("average.", tensors))
        for index, parameter in enumerate(self._parameters()):
            state = _under(f"optimizer.{index}.", tensors)
            self._optimizer.state[parameter] = {key: _laid_out_as(parameter, value) for key, value in state.items()}
        self.epoch = int(meta["epoch"])

    def _build_network(self) -> nn.Module:
        """Initialised on the CPU from the seed, whatever the device, without touching the caller's random state."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, "initial weights"))
            network = build_network(self.config, self.images.num_classes)
        return network.to(self.engine.device).to(memory_format=self.engine.memory_format)

    def _train_steps(self, epoch: int) -> tuple[float, float]:
        """(mean loss, last learning rate) of one epoch's steps."""
        order, draws = self._draw_epoch(epoch)
        self.trained_network.train()
        total_loss = torch.zeros((), device=self.engine.device)
        first_step = (epoch - 1) * self.steps_per_epoch
        for step in range(self.steps_per_epoch):
            lr = learning_rate(
                self.config, first_step + step, steps_per_epoch=self.steps_per_epoch, max_epochs=self.max_epochs
            )
            set_learning_rate(self._optimizer, lr)
            part = slice(step * self.batch_size, (step + 1) * self.batch_size)
            total_loss += self._train_step(order[part], draws[part])
            if self._average:
                self._average.update(first_step + step)
            if self._on_step:
                self._on_step(epoch, step + 1, self.steps_per_epoch)
            is_last = step + 1 == self.steps_per_epoch
            if (is_last or (step + 1) % _STEPS_BETWEEN_CHECKS == 0) and not total_loss.isfinite().item():
                raise DivergedError(epoch, step + 1)
        return total_loss.item() / self.steps_per_epoch, lr

    def _draw_epoch(self, epoch: int) -> tuple[Tensor, Draws]:
        """Seed dropout; put the images' order and their augmentation's draws on the device in one go."""
        generator = np.random.default_rng(derive_seed(self.seed, "epoch", epoch))
        num_images = self.steps_per_epoch * self.batch_size
        permutation = torch.from_numpy(generator.permutation(len(self.images.train_indices))[:num_images])
        order = self.images.train_indices.index_select(0, to_device(permutation, self.engine.device))
        torch.manual_seed(derive_seed(self.seed, "dropout", epoch))  # every device's own generator
        seed_dropout(self.trained_network, derive_seed(self.seed, "dropout", epoch))
        return order, self._augmentation.draw(num_images, generator)

    def _train_step(self, indices: Tensor, draws: Draws) -> Tensor:
        """One optimizer step; the loss stays on the device, so that nothing waits for it."""
        images = self.images
        batch = augment(
            images.images.index_select(0, indices),
            draws,
            self._augmentation,
            mean=images.mean,
            std=images.std,
            dtype=self.engine.dtype,
        )
        with self.engine.autocast():
            logits = self._step_network(batch.contiguous(memory_format=self.engine.memory_format))
        labels = images.labels.index_select(0, indices)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self.config.label_smoothing)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimizer.step()
        return loss.detach()

    def _evaluate(self, epoch: int) -> tuple[float, float] | tuple[None, None]:
        images = self.images
        if len(images.val_indices) == 0:
            return None, None
        evaluation = evaluate(
            self.network,
            images.images,
            images.labels,
            images.val_indices,
            mean=images.mean,
            std=images.std,
            engine=self.engine,
        )
        if not np.isfinite(evaluation.loss):
            raise DivergedError(epoch, self.steps_per_epoch)
        return evaluation.loss, evaluation.accuracy

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "max_epochs": self.max_epochs,
            "num_train_images": len(self.images.train_indices),
            "config": self.config.flat(),
        }


def train_epochs(training: Training) -> Iterator[EpochMetrics]:
    """Every epoch that is left, as it ends."""
    while training.epoch < training.max_epochs:
        yield training.train_epoch()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """`value` in the parameter's memory layout, which a fused optimizer takes for granted; scalars as they are."""
    if value.shape != parameter.shape:
        return value.clone()
    return torch.empty_like(parameter).copy_(value)
