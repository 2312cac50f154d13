"""The layers of a network in the order an image passes them, with the shapes they give and the work they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from model.layers import GhostBatchNorm
from model.network import Network, map_growth


class ImageTooSmallError(ValueError):
    """A map shrinks to nothing."""


@dataclass(frozen=True, kw_only=True)
class LayerProfile:
    """One layer and its output for one 3-channel image."""

    name: str
    """The layer's path in the network, as in its state dict."""
    description: str
    """Kind and shape, for example "Conv 3x3, dilation 2, padding 2"."""
    output_shape: tuple[int, ...]
    """Without the image's own axis: channels, height, width of a map."""
    num_params: int
    is_trainable: bool
    """Whether the layer has a weight that is learned."""
    multiply_adds: int
    """For one image, of convolutions and products of matrices."""


def trace_layers(network: nn.Module, image_size: int) -> tuple[LayerProfile, ...]:
    """The network's layers, on whatever device its parameters are. ImageTooSmallError if a map shrinks to nothing."""
    if isinstance(network, Network):
        return _registered_layers(network, image_size)
    return _called_layers(network, image_size)


def num_params(module: nn.Module) -> int:
    """Parameters, each once."""
    return sum(parameter.numel() for parameter in module.parameters())


def _registered_layers(network: Network, image_size: int) -> tuple[LayerProfile, ...]:
    """Of a network of the built-in family, which registers its layers in the order it applies them.

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
            raise ImageTooSmallError(
                f"`image_size` is too small for this network, whose maps shrink to nothing at {name}; got "
                f"{image_size}. Use larger images or another network."
            )
        # Each weight of a convolution is used once per pixel of its output map.
        multiply_adds = layer.weight.numel() * height * width if isinstance(layer, nn.Conv2d) else 0
        layers.append(_profile_layer(name, layer, (channels, height, width), multiply_adds))
    return tuple(layers)


def _called_layers(network: nn.Module, image_size: int) -> tuple[LayerProfile, ...]:
    """Of any network, from a forward pass of one image."""
    shapes: dict[str, tuple[int, ...]] = {}
    layers = {name: layer for name, layer in network.named_modules() if next(layer.children(), None) is None}

    def note(name: str, output: object) -> None:
        if isinstance(output, Tensor) and name not in shapes:
            shapes[name] = tuple(output.shape[1:])

    handles = [
        layer.register_forward_hook(lambda _layer, _inputs, output, name=name: note(name, output))
        for name, layer in layers.items()
    ]
    like = next(network.parameters())
    image = torch.zeros(1, 3, image_size, image_size, device=like.device, dtype=like.dtype)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network.eval()(image)
    finally:
        for handle in handles:
            handle.remove()
    flops: dict[str, dict[Any, int]] = counter.get_flop_counts()
    # Work outside of any layer, such as attention written as functions, goes to the network as a whole.
    work = {name: sum(flops.get(f"{type(network).__name__}.{name}", {}).values()) // 2 for name in shapes}
    rows = [_profile_layer(name, layers[name], shape, work[name]) for name, shape in shapes.items()]
    rest = counter.get_total_flops() // 2 - sum(work.values())
    return (*rows, _profile_rest(rest)) if rest > 0 else tuple(rows)


def _profile_rest(multiply_adds: int) -> LayerProfile:
    return LayerProfile(
        name="", description="other", output_shape=(), num_params=0, is_trainable=False, multiply_adds=multiply_adds
    )


def _profile_layer(name: str, layer: nn.Module, output_shape: tuple[int, ...], multiply_adds: int) -> LayerProfile:
    weight = getattr(layer, "weight", None)
    return LayerProfile(
        name=name,
        description=_description(layer),
        output_shape=output_shape,
        num_params=num_params(layer),
        is_trainable=isinstance(weight, Tensor) and weight.requires_grad,
        multiply_adds=multiply_adds,
    )


def _description(layer: nn.Module) -> str:
    if isinstance(layer, nn.Conv2d):
        return _describe_conv(layer)
    if isinstance(layer, GhostBatchNorm) and layer.num_splits == 1:
        return "BatchNorm"
    return type(layer).__name__


def _describe_conv(conv: nn.Conv2d) -> str:
    kind = "Conv" if conv.groups == 1 else "Depthwise conv" if conv.groups == conv.in_channels else "Grouped conv"
    height, width = conv.kernel_size
    text = f"{kind} {height}x{width}" if height == width else f"{kind} ({height}, {width})"
    if max(conv.stride) > 1:
        text += f", stride {conv.stride[0]}"
    if max(conv.dilation) > 1:
        text += f", dilation {conv.dilation[0]}"
    if isinstance(conv.padding, str):
        return f"{text}, padding {conv.padding}"
    vertical, horizontal = (int(pixels) for pixels in conv.padding)
    if vertical or horizontal:
        text += f", padding {vertical}" if vertical == horizontal else f", padding ({vertical}, {horizontal})"
    return text
