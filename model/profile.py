"""Size, cost and receptive field of a network, without training or images."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from model.builder import Builder, NetworkError, built_network, error_text
from model.layer_trace import ImageTooSmallError, LayerProfile, num_params, trace_layers
from model.network import Network, build
from model.receptive_field import measured_receptive_field, receptive_field
from model.shipped_modules import user_place


@dataclass(frozen=True, kw_only=True)
class NetworkProfile:
    """A network's layers and the totals over them."""

    layers: tuple[LayerProfile, ...]
    num_params: int
    num_trainable_params: int
    """By whole layers, as layer summaries count: a norm with a frozen scale is left out, although its shift learns."""
    multiply_adds: int
    """Of all convolutions and products of matrices, for one image."""
    num_activations: int
    """Outputs of all layers for one image; training holds them in memory for each image of a batch."""
    receptive_field: int | None
    """Side in pixels of the image region seen by one unit before the average pool; the smaller of height and width.

    None for networks outside the built-in family: see `known_receptive_field`.
    """
    num_max_pools: int
    num_depthwise_separable: int
    num_dilated: int


REQUIREMENTS = {"depthwise_separable": 1, "dilated": 1, "max_pools": 3}
"""How many of these layers the assignment asks for."""


def profile_network(
    config: Mapping[str, Any], *, num_classes: int = 10, image_size: int = 32, build: Builder = build
) -> NetworkProfile:
    """Profile the network of a config (its own keys only) for square 3-channel images.

    NetworkError if the config makes no network, ImageTooSmallError if a map shrinks to nothing.
    """
    return _profile(json.dumps(dict(config)), num_classes, image_size, build)


def known_receptive_field(
    config: Mapping[str, Any], *, num_classes: int, image_size: int, above: int, build: Builder = build
) -> int | None:
    """A network's receptive field in pixels; None if it is not known.

    Of a foreign network it is measured only where a limit asks for more than `above` pixels, which takes seconds, and
    only up to twice that limit or the image's side.
    """
    exact = profile_network(config, num_classes=num_classes, image_size=image_size, build=build).receptive_field
    if exact is not None or above == 0:
        return exact
    return _measured(json.dumps(dict(config)), num_classes, image_size, build, 2 * max(above, image_size))


def limit_violations(
    config: Mapping[str, Any],
    *,
    max_params: int,
    min_receptive_field: int,
    num_classes: int,
    image_size: int,
    required: Collection[str] = tuple(REQUIREMENTS),
    build: Builder = build,
) -> dict[str, float]:
    """How far a config exceeds each limit, always with the same keys; a value <= 0 is within its limit.

    num_params: parameters above `max_params` - 1. receptive_field: pixels below `min_receptive_field` + 1, of which 0
    asks nothing. num_...: layers that are missing of those `required`. image_size: 1 if a map shrinks to nothing, and
    then no other is known. NetworkError if the config makes no network.
    """
    names = limit_names(required)
    place: dict[str, Any] = {"num_classes": num_classes, "image_size": image_size, "build": build}
    try:
        profile = profile_network(config, **place)
    except ImageTooSmallError:
        return dict.fromkeys(names, 0.0) | {"image_size": 1.0}
    seen = known_receptive_field(config, above=min_receptive_field, **place) or 0 if min_receptive_field else 1
    excesses = [
        profile.num_params + 1 - max_params,
        min_receptive_field + 1 - seen,
        *(REQUIREMENTS[name] - getattr(profile, f"num_{name}") for name in required),
        0,
    ]
    return dict(zip(names, map(float, excesses), strict=True))


def limit_names(required: Collection[str]) -> tuple[str, ...]:
    """The keys of `limit_violations`."""
    return ("num_params", "receptive_field", *(f"num_{name}" for name in required), "image_size")


@lru_cache(maxsize=1024)
def _profile(config: str, num_classes: int, image_size: int, build: Builder) -> NetworkProfile:
    network, layers = _traced(build, json.loads(config), num_classes, image_size)
    return NetworkProfile(
        layers=layers,
        num_params=num_params(network),
        num_trainable_params=sum(layer.num_params for layer in layers if layer.is_trainable),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        num_activations=sum(math.prod(layer.output_shape) for layer in layers),
        receptive_field=receptive_field(network) if isinstance(network, Network) else None,
        num_max_pools=sum(isinstance(module, nn.MaxPool2d) for module in network.modules()),
        num_depthwise_separable=_num_convs(network, lambda conv: conv.groups > 1),
        num_dilated=_num_convs(network, lambda conv: max(conv.dilation) > 1),
    )


@lru_cache(maxsize=1024)
def _measured(config: str, num_classes: int, image_size: int, build: Builder, canvas: int) -> int | None:
    with torch.random.fork_rng(devices=[]):
        network = built_network(build, json.loads(config), num_classes=num_classes, image_size=image_size)
    return measured_receptive_field(network, canvas)


def _traced(
    build: Builder, config: Mapping[str, Any], num_classes: int, image_size: int
) -> tuple[nn.Module, tuple[LayerProfile, ...]]:
    """On the meta device, where nothing is computed; on the CPU for a network that needs values to be built."""
    place = {"num_classes": num_classes, "image_size": image_size}
    try:
        with torch.device("meta"):
            network = built_network(build, config, **place)
            return network, trace_layers(network, image_size)
    except ImageTooSmallError:
        raise
    except Exception:
        with torch.random.fork_rng(devices=[]):
            network = built_network(build, config, **place)
            try:
                return network, trace_layers(network, image_size)
            except Exception as error:
                raise NetworkError(f"{user_place(error)}{error_text(error)}") from error


def _num_convs(network: nn.Module, is_counted: Callable[[nn.Conv2d], bool]) -> int:
    return sum(isinstance(module, nn.Conv2d) and is_counted(module) for module in network.modules())
