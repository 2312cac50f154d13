"""Tries a user's network before a run begins, so that what is wrong with it is one line and not a lost night."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from model.builder import Builder, NetworkError, built_network, error_text, place_of
from model.config import TrainConfig
from model.engine import Engine
from model.shipped_modules import user_place
from model.split_images import ImageTensors
from model.training import DivergedError, Training

_NUM_IMAGES = 8
_SEED = 0


@dataclass(frozen=True)
class _Trial:
    """One config of a builder on some noise."""

    build: Builder
    config: TrainConfig
    num_classes: int
    image_size: int

    def images(self) -> ImageTensors:
        generator = torch.Generator().manual_seed(_SEED)
        shape = (_NUM_IMAGES, self.image_size, self.image_size, 3)
        return ImageTensors(
            images=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
            labels=torch.arange(_NUM_IMAGES) % self.num_classes,
            train_indices=torch.arange(_NUM_IMAGES),
            val_indices=torch.arange(0),
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            num_classes=self.num_classes,
        )

    def training(self) -> Training:
        # The smallest batch that every norm takes, two steps an epoch, and all that a recipe may keep between them.
        config = self.config.changed(batch_size=_NUM_IMAGES // 2, ema_decay=0.9)
        engine = Engine(num_threads=torch.get_num_threads())
        return Training(config, self.images(), max_epochs=2, seed=_SEED, engine=engine, build=self.build)


def check_network(build: Builder, config: TrainConfig, *, num_classes: int, image_size: int) -> None:
    """NetworkError if the network of `config` cannot be built, trained, repeated under a seed, or resumed exactly."""
    with torch.random.fork_rng(devices=[]):
        _check_signature(build)
        network = built_network(build, config.network, num_classes=num_classes, image_size=image_size)
        _check_parameters(build, network)
        check_output(build, network, num_classes=num_classes, image_size=image_size)
        _check_repeats(_Trial(build, config, num_classes, image_size))


def check_output(build: Builder, network: nn.Module, *, num_classes: int, image_size: int) -> None:
    """NetworkError unless images become finite logits (N, num_classes), one by one in evaluation."""
    images = torch.randn(_NUM_IMAGES, 3, image_size, image_size, generator=torch.Generator().manual_seed(_SEED))
    for mode, batch in (("training", images), ("evaluation", images), ("evaluation", images[:1])):
        network.train(mode == "training")
        try:
            with torch.no_grad():
                logits: object = network(batch)
        except Exception as error:
            raise NetworkError(
                f"{user_place(error) or place_of(build)}fails on images {tuple(batch.shape)} in {mode}: "
                f"{error_text(error)}"
            ) from error
        where, expected = place_of(type(network)) or place_of(build), (len(batch), num_classes)
        if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise NetworkError(f"{where}must give logits of shape {expected} in {mode}; got {got}")
        if not logits.is_floating_point() or not logits.isfinite().all():
            raise NetworkError(f"{where}gives {_bad_values(logits)} in {mode} before it is trained")


def _check_signature(build: Builder) -> None:
    try:
        inspect.signature(build).bind({}, num_classes=1, image_size=1)
    except TypeError:
        raise NetworkError(
            f"{place_of(build)}must take (config, *, num_classes, image_size); it takes {inspect.signature(build)}"
        ) from None
    except ValueError:
        return  # no signature to look at: the call will tell


def _check_parameters(build: Builder, network: nn.Module) -> None:
    where = place_of(type(network)) or place_of(build)
    if any(isinstance(parameter, UninitializedParameter) for parameter in network.parameters()):
        raise NetworkError(f"{where}has lazy layers, whose size is not known before the first image. Give their sizes")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise NetworkError(f"{where}has no parameters to train")
    for name, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            raise NetworkError(f"{where}has a state that is not a tensor and cannot be saved: {name}")


def _check_repeats(trial: _Trial) -> None:
    """Two epochs at once, and one epoch that another network goes on from, must end in the same bits."""
    whole, cut = trial.training(), trial.training()
    where = place_of(type(whole.trained_network)) or place_of(trial.build)
    _compare(whole, cut, f"{where}is not the same twice under one seed: draw from torch's default generator only")
    _train(whole, 1, where)
    _train(cut, 1, where)
    _compare(whole, cut, f"{where}does not train the same twice under one seed: draw from torch's default generator")
    resumed = trial.training()
    resumed.load_state(*cut.state())
    _train(whole, 1, where)
    _train(resumed, 1, where)
    _compare(whole, resumed, f"{where}does not resume exactly: keep its state in parameters and buffers")


def _train(training: Training, num_epochs: int, where: str) -> None:
    try:
        for _ in range(num_epochs):
            training.train_epoch()
    except DivergedError:
        return  # on noise, at this rate; the weights up to here are compared
    except Exception as error:
        raise NetworkError(f"{user_place(error) or where}cannot be trained: {error_text(error)}") from error


def _compare(one: Training, other: Training, message: str) -> None:
    tensors, others = one.state()[0], other.state()[0]
    for name, value in tensors.items():
        if name not in others or not torch.equal(value.nan_to_num(), others[name].nan_to_num()):
            raise NetworkError(f"{message} ({name} differs)")


def _bad_values(logits: Tensor) -> str:
    return str(logits.dtype) if not logits.is_floating_point() else "NaN or infinite logits"
