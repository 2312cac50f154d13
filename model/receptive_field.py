"""How much of an image one unit of a network sees."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from model.network import Network

_MAX_POOLS = (torch.max_pool2d, nn.functional.max_pool2d)


def receptive_field(network: Network) -> int:
    """Of the built-in family: the side in pixels, the smaller of height and width, from the layers alone."""
    seen, stride = [1, 1], 1
    for module in network.blocks.modules():
        if isinstance(module, nn.Conv2d):
            for axis in (0, 1):
                seen[axis] += stride * module.dilation[axis] * (module.kernel_size[axis] - 1)
        elif isinstance(module, nn.MaxPool2d):
            seen = [length + stride for length in seen]
            stride *= 2
    return min(seen)


def measured_receptive_field(network: nn.Module, canvas: int) -> int | None:
    """Of any network: the extent of one unit's gradient on a `canvas` x `canvas` image; `canvas` if it fills that.

    The unit is the middle one of the last map before the network averages or flattens it. Weights become equal and
    positive and max-pools average, so that every pixel a unit can depend on shows. None where that is not known: no
    such map, or tokens after it. Changes the network, which must be on the CPU.
    """
    network.double().eval().requires_grad_(False)
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_weight = parameter.ndim > 1
            value = 1 / parameter[0].numel() if is_weight else float("bias" not in name)
            parameter.fill_(value)
    image = torch.ones(1, 3, canvas, canvas, dtype=torch.float64, requires_grad=True)
    with _last_outputs(network) as outputs, _AveragingPools(), contextlib.suppress(Exception):
        network(image)
    maps = [output for output in outputs if output.ndim == 4 and min(output.shape[2:]) > 1]
    if not maps or any(output.ndim == 3 for output in outputs) or not maps[-1].requires_grad:
        return None
    middle = maps[-1][0, :, maps[-1].shape[2] // 2, maps[-1].shape[3] // 2].sum()
    (gradient,) = torch.autograd.grad(middle, image)
    touched = gradient[0].abs().sum(dim=0) > 0
    extents = [torch.nonzero(touched.any(dim=axis)).flatten() for axis in (0, 1)]
    if any(len(lines) == 0 for lines in extents):
        return None
    if any(lines.min() == 0 or lines.max() == canvas - 1 for lines in extents):
        return canvas
    return min(int(lines.max() - lines.min()) + 1 for lines in extents)


@contextlib.contextmanager
def _last_outputs(network: nn.Module) -> Iterator[list[Tensor]]:
    """What the layers give, in order, up to the first that fails on so large an image."""
    outputs: list[Tensor] = []

    def note(_layer: nn.Module, _inputs: Any, output: object) -> None:
        if isinstance(output, Tensor):
            outputs.append(output)

    handles = [module.register_forward_hook(note) for module in network.modules()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


class _AveragingPools(TorchFunctionMode):
    """Every value in a max-pool's window counts, not just the largest at hand."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _MAX_POOLS:
            return _average(*args, **kwargs)
        return func(*args, **kwargs)


def _average(
    images: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, *_others: Any, **_: Any
) -> Tensor:
    del dilation  # hardly any network has one
    return nn.functional.avg_pool2d(images, kernel_size, stride or kernel_size, padding)
