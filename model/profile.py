"""Size, cost and receptive field of a network, computed in milliseconds without weights or images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from model.network import Network, build, map_growth


@dataclass(frozen=True, kw_only=True)
class LayerProfile:
    """One layer and its output for one 3-channel image."""

    name: str
    """The layer's path in the network, as in its state dict."""
    description: str
    """Kind and shape, for example "Conv 3x3, dilation 2, padding 2"."""
    output_shape: tuple[int, int, int]
    """Channels, height, width."""
    num_params: int
    is_trainable: bool
    """Whether the layer has a weight that is learned."""
    multiply_adds: int
    """For one image; 0 for layers other than convolutions."""


@dataclass(frozen=True, kw_only=True)
class NetworkProfile:
    """A network's layers and the totals over them."""

    layers: tuple[LayerProfile, ...]
    num_params: int
    num_trainable_params: int
    """By whole layers, as layer summaries count: a norm with a frozen scale is left out, although its shift learns."""
    multiply_adds: int
    """Of all convolutions, for one image."""
    num_activations: int
    """Outputs of all layers for one image; training holds them in memory for each image of a batch."""
    receptive_field: int
    """Side in pixels of the image region seen by one unit before the average pool; the smaller of height and width."""
    num_max_pools: int
    num_depthwise_separable: int
    num_dilated: int


def profile_network(config: Mapping[str, Any], *, num_classes: int = 10, image_size: int = 32) -> NetworkProfile:
    """Profile the network of a config (its own keys only) for square 3-channel images. ValueError if a map
    shrinks to nothing at this size."""
    network = _build_on_meta(config, num_classes, image_size)
    layers = _trace_layers(network, image_size)
    return NetworkProfile(
        layers=layers,
        num_params=sum(layer.num_params for layer in layers),
        num_trainable_params=sum(layer.num_params for layer in layers if layer.is_trainable),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        num_activations=sum(math.prod(layer.output_shape) for layer in layers),
        receptive_field=_receptive_field(network),
        num_max_pools=sum(isinstance(module, nn.MaxPool2d) for module in network.modules()),
        num_depthwise_separable=_num_depthwise_separable(network),
        num_dilated=_num_dilated(network),
    )


def limit_violations(
    config: Mapping[str, Any], *, max_params: int, min_receptive_field: int, num_classes: int, image_size: int
) -> dict[str, float]:
    """How far a config exceeds each limit, always with the same keys; a value <= 0 is within its limit.

    num_params: parameters above `max_params` - 1. receptive_field: pixels below `min_receptive_field` + 1.
    num_depthwise_separable, num_dilated: 1 if the network has none. image_size: 1 if a map shrinks to nothing.
    """
    network = _build_on_meta(config, num_classes, image_size)
    try:
        _trace_layers(network, image_size)
        maps_vanish = False
    except ValueError:
        maps_vanish = True
    return {
        "num_params": float(_num_params(network) + 1 - max_params),
        "receptive_field": float(min_receptive_field + 1 - _receptive_field(network)),
        "num_depthwise_separable": float(1 - _num_depthwise_separable(network)),
        "num_dilated": float(1 - _num_dilated(network)),
        "image_size": float(maps_vanish),
    }


def _build_on_meta(config: Mapping[str, Any], num_classes: int, image_size: int) -> Network:
    with torch.device("meta"):
        return build(config, num_classes=num_classes, image_size=image_size).eval()


def _trace_layers(network: Network, image_size: int) -> tuple[LayerProfile, ...]:
    """The network's layers in the order of their registration, which is the order an image passes them.

    Computes the sizes itself: a forward pass on the meta device takes 10 ms per network, and a second the first time.
    """
    layers: list[LayerProfile] = []
    channels, height, width = 3, image_size, image_size
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
            height, width = height + map_growth(layer, 0), width + map_growth(layer, 1)
        elif isinstance(layer, nn.MaxPool2d):
            height, width = height // 2, width // 2
        elif isinstance(layer, nn.AdaptiveAvgPool2d):
            height, width = 1, 1
        elif next(layer.children(), None) is not None:
            continue
        if min(height, width) < 1:
            raise ValueError(
                f"`image_size` is too small for this network, whose maps shrink to nothing at {name}; got "
                f"{image_size}. Use larger images or another network."
            )
        layers.append(_profile_layer(name, layer, (channels, height, width)))
    return tuple(layers)


def _profile_layer(name: str, layer: nn.Module, output_shape: tuple[int, int, int]) -> LayerProfile:
    description, multiply_adds = type(layer).__name__, 0
    if isinstance(layer, nn.Conv2d):
        description = _describe_conv(layer)
        # Each weight is used once per pixel of its output map.
        multiply_adds = layer.weight.numel() * output_shape[1] * output_shape[2]
    weight = getattr(layer, "weight", None)
    return LayerProfile(
        name=name,
        description=description,
        output_shape=output_shape,
        num_params=_num_params(layer),
        is_trainable=weight is not None and weight.requires_grad,
        multiply_adds=multiply_adds,
    )


def _describe_conv(conv: nn.Conv2d) -> str:
    kind = "Depthwise conv" if conv.groups > 1 else "Conv"
    height, width = conv.kernel_size
    text = f"{kind} {height}x{width}" if height == width else f"{kind} ({height}, {width})"
    if max(conv.dilation) > 1:
        text += f", dilation {conv.dilation[0]}"
    vertical, horizontal = (int(pixels) for pixels in conv.padding)
    if vertical or horizontal:
        text += f", padding {vertical}" if vertical == horizontal else f", padding ({vertical}, {horizontal})"
    return text


def _receptive_field(network: Network) -> int:
    """The smaller of height and width, in pixels; layers are registered in the order they are applied."""
    seen, stride = [1, 1], 1
    for module in network.blocks.modules():
        if isinstance(module, nn.Conv2d):
            for axis in (0, 1):
                seen[axis] += stride * module.dilation[axis] * (module.kernel_size[axis] - 1)
        elif isinstance(module, nn.MaxPool2d):
            seen = [length + stride for length in seen]
            stride *= 2
    return min(seen)


def _num_params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _num_depthwise_separable(network: Network) -> int:
    return sum(isinstance(module, nn.Conv2d) and module.groups > 1 for module in network.modules())


def _num_dilated(network: Network) -> int:
    return sum(isinstance(module, nn.Conv2d) and max(module.dilation) > 1 for module in network.modules())
