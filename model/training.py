"""One training: a config, shared images and a seed in, one `EpochMetrics` per epoch out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.augment import Augmentation, Draws, augment, to_device
from model.builder import Builder
from model.class_weights import loss_weights, training_loss
from model.config import TrainConfig
from model.engine import Engine, give_back_memory, synchronise
from model.evaluation import validate
from model.layers import seed_dropout
from model.metrics import METRICS
from model.network import build
from model.objective import ACCURACY, Objective
from model.optim import ParameterAverage, build_optimizer, learning_rate, set_learning_rate
from model.seeds import derive_seed
from model.split_images import ImageTensors
from model.training_state import collect_tensors, restore_tensors
from model.whitening import fit_whitening

_STEPS_BETWEEN_CHECKS = 50


class DivergedError(ArithmeticError):
    """The loss was not finite. `epoch` and `step`, both from 1, say when this was noticed."""

    def __init__(self, epoch: int, step: int) -> None:
        super().__init__(epoch, step)  # the bare arguments, so that the error can be pickled
        self.epoch, self.step = epoch, step

    def __str__(self) -> str:
        return f"diverged: the loss was not finite by step {self.step} of epoch {self.epoch}"


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """Results of one epoch."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean loss in nats over the epoch's steps, with class weights, label smoothing and augmentation."""
    val_loss: float | None
    """Cross-entropy in nats without label smoothing; None without a validation split."""
    val_accuracy: float | None
    """Fraction, 0..1; None without a validation split."""
    val_score: float | None
    """Score by the objective's metric, larger is better; None without a validation split."""
    val_error: float | None
    """Standard error of the score over the choice of validation images."""
    lr: float
    """Learning rate of the epoch's last step."""
    seconds: float
    """Training and evaluation together."""
    images_per_s: float
    """Training images per second of `seconds`."""


class Training:
    """Trains one network for up to `max_epochs`, the length of the learning-rate schedule.

    Each epoch shuffles the images and trains on as many full batches as they fill; left-over images sit that epoch
    out. A split smaller than a batch makes one step. All randomness of epoch k comes from (seed, k). On a CPU with the
    same number of threads, a training resumed from `state()` equals the uninterrupted one bit for bit.
    """

    def __init__(
        self,
        config: TrainConfig,
        images: ImageTensors,
        *,
        max_epochs: int,
        seed: int,
        engine: Engine,
        build: Builder = build,
        on_step: Callable[[int, int, int], None] | None = None,
        objective: Objective = ACCURACY,
    ) -> None:
        """`on_step(epoch, step, steps_per_epoch)` is called after each step, counted from 1; it must be fast."""
        engine.apply()
        give_back_memory(engine)
        self._on_step, self._build = on_step, build
        self.config, self.images, self.engine = config, images, engine
        self.max_epochs, self.seed = max_epochs, seed
        self._metric = METRICS[objective.metric_name]
        train_labels = images.labels[images.train_indices]
        self._loss_weights = loss_weights(objective.class_weights, train_labels, images.num_classes)
        self.epoch = 0
        num_train = len(images.train_indices)
        recipe = config.recipe
        self.batch_size = min(recipe.batch_size, num_train)
        self.steps_per_epoch = num_train // self.batch_size
        _, height, width, _ = images.images.shape
        self.trained_network = self._build_network(height)
        self._step_network = self._compiled() if engine.compile else self.trained_network
        self._optimizer = build_optimizer(self.trained_network, recipe)
        self._average = ParameterAverage(self.trained_network, recipe.ema_decay) if recipe.ema_decay > 0 else None
        self._augmentation = Augmentation(recipe, height=height, width=width, device=engine.device)

    @property
    def network(self) -> nn.Module:
        """The network to evaluate and keep: the moving average if the config has one, else the trained network."""
        return self._average.network if self._average else self.trained_network

    def train_epoch(self) -> EpochMetrics:
        """Train and evaluate the next epoch. DivergedError at most 50 steps after the loss stops being finite."""
        self.engine.apply()
        start = time.perf_counter()
        epoch = self.epoch + 1
        train_loss, lr = self._train_steps(epoch)
        validated = validate(self.network, self.images, metric=self._metric, engine=self.engine)
        if validated["val_loss"] is not None and not np.isfinite(validated["val_loss"]):
            raise DivergedError(epoch, self.steps_per_epoch)
        synchronise(self.engine)
        seconds = time.perf_counter() - start
        self.epoch = epoch
        return EpochMetrics(
            epoch=epoch,
            train_loss=train_loss,
            **validated,
            lr=lr,
            seconds=seconds,
            images_per_s=self.steps_per_epoch * self.batch_size / seconds,
        )

    def learning_rate(self, step: int) -> float:
        """The learning rate of optimizer step `step`, counted from 0 over all epochs."""
        return learning_rate(self.config.recipe, step, steps_per_epoch=self.steps_per_epoch, max_epochs=self.max_epochs)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """A snapshot: contiguous CPU tensors of networks and optimizer, and the epoch and settings they belong to."""
        return collect_tensors(self._networks(), self._optimizer), {"epoch": self.epoch, **self._identity()}

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Continue from a `state()`. ValueError if its config, seed, length or number of images differs."""
        for name, value in self._identity().items():
            if meta.get(name) != value:
                raise ValueError(
                    f"`{name}` of the checkpoint is {meta.get(name)!r} but this training's is {value!r}. "
                    "Delete the checkpoint or train with its settings."
                )
        restore_tensors(tensors, self._networks(), self._optimizer)
        self.epoch = int(meta["epoch"])

    def _build_network(self, image_size: int) -> nn.Module:
        """Initialise the network from the seed, always on the CPU, without changing the caller's random state."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed(self.seed, "initial weights"))  # the CPU's alone
            network = self._build(dict(self.config.network), num_classes=self.images.num_classes, image_size=image_size)
        fit_whitening(network, self.images)
        return network.to(self.engine.device).to(memory_format=self.engine.memory_format)

    def _compiled(self) -> nn.Module:
        torch.compiler.reset()  # otherwise the ninth network of a process runs uncompiled, without a word
        return torch.compile(self.trained_network)  # type: ignore[return-value]

    def _train_steps(self, epoch: int) -> tuple[float, float]:
        """Mean loss and last learning rate of one epoch."""
        order, draws = self.draw_epoch(epoch)
        self.trained_network.train()
        total_loss = torch.zeros((), device=self.engine.device)
        first_step = (epoch - 1) * self.steps_per_epoch
        for step in range(self.steps_per_epoch):
            lr = self.learning_rate(first_step + step)
            set_learning_rate(self._optimizer, lr)
            part = slice(step * self.batch_size, (step + 1) * self.batch_size)
            total_loss += self.train_step(order[part], draws[part])
            if self._average:
                self._average.update(first_step + step)
            if self._on_step:
                self._on_step(epoch, step + 1, self.steps_per_epoch)
            is_last = step + 1 == self.steps_per_epoch
            if (is_last or (step + 1) % _STEPS_BETWEEN_CHECKS == 0) and not total_loss.isfinite().item():
                raise DivergedError(epoch, step + 1)
        return total_loss.item() / self.steps_per_epoch, lr

    def draw_epoch(self, epoch: int) -> tuple[Tensor, Draws]:
        """Seed dropout and draw the order of the images and their augmentation, all at once on the device."""
        generator = np.random.default_rng(derive_seed(self.seed, "epoch", epoch))
        num_images = self.steps_per_epoch * self.batch_size
        permutation = generator.permutation(len(self.images.train_indices))[:num_images]
        positions = to_device(torch.from_numpy(permutation), self.engine.device)
        order = self.images.train_indices.index_select(0, positions)
        torch.manual_seed(derive_seed(self.seed, "dropout", epoch))  # seeds the generator of every device
        seed_dropout(self.trained_network, derive_seed(self.seed, "dropout", epoch))
        mirrored = self._mirrored_first()[permutation] ^ (epoch % 2) if self.config.recipe.alternating_flip else None
        return order, self._augmentation.draw(num_images, generator, mirrored=mirrored)

    def _mirrored_first(self) -> NDArray[np.int64]:
        """1 for each training image that alternating flip mirrors in even epochs, 0 for those of odd epochs."""
        generator = np.random.default_rng(derive_seed(self.seed, "alternating flip"))
        return generator.integers(2, size=len(self.images.train_indices))

    def train_step(self, indices: Tensor, draws: Draws) -> Tensor:
        """One optimizer step on the images at `indices`. The loss stays on the device so that nothing waits for it."""
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
        smoothing = self.config.recipe.label_smoothing
        loss = training_loss(logits.float(), labels, self._loss_weights, label_smoothing=smoothing)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimizer.step()
        return loss.detach()

    def _networks(self) -> dict[str, nn.Module]:
        networks = {"network": self.trained_network}
        return networks | {"average": self._average.network} if self._average else networks

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "max_epochs": self.max_epochs,
            "num_train_images": len(self.images.train_indices),
            "config": self.config.flat(),
        }


def train_epochs(training: Training) -> Iterator[EpochMetrics]:
    """Train the remaining epochs and yield the metrics of each."""
    while training.epoch < training.max_epochs:
        yield training.train_epoch()
