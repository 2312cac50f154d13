"""airbench94's training loop as its paper describes it (Jordan 2024, arXiv 2404.00498), for its speed alone.

1.97 million parameters, half precision, channels_last, batches of 1,024, Nesterov SGD with label smoothing, lookahead
every 5 steps; crop and mirror of the whole epoch at once. The frozen first layer, which whitens patches of the images
there, has random weights here: they cost the same, and no accuracy is measured. Compiled, it uses CUDA graphs, but does
not search for the fastest kernels, which would take minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.engine import Engine, synchronise

BATCH_SIZE = 1024
_WIDTHS, _WHITENED = (64, 256, 256), 24
_LR, _MOMENTUM, _DECAY, _BIAS_SCALE = 11.5 / BATCH_SIZE, 0.85, 0.0153 * BATCH_SIZE, 64.0
_SMOOTHING, _PADDING, _LOOKAHEAD_STEPS, _LOOKAHEAD = 0.2, 2, 5, 0.95**5


def airbench_epoch(images: Tensor, labels: Tensor, engine: Engine) -> Callable[[], float]:
    """`images` (N, 32, 32, 3) uint8. Returns a function that trains an epoch and returns its images/s."""
    dtype = torch.float16 if engine.device_type == "cuda" else torch.float32
    network = _build(dtype).to(engine.device).to(memory_format=torch.channels_last).train()
    forward = torch.compile(network, mode="reduce-overhead") if engine.compile else network
    optimizer = _optimizer(network)
    fast = [value for value in network.state_dict().values() if value.is_floating_point()]
    slow = [value.clone() for value in fast]
    normalised = ((images.permute(0, 3, 1, 2).to(dtype) / 255) - 0.45) / 0.25
    padded = functional.pad(normalised, (_PADDING,) * 4, mode="reflect")
    batch_size = min(BATCH_SIZE, len(images))

    def epoch() -> float:
        start = time.perf_counter()
        inputs = _cropped(padded).contiguous(memory_format=torch.channels_last)
        order = torch.split(torch.randperm(len(inputs), device=inputs.device), batch_size)
        for step, indices in enumerate(part for part in order if len(part) == batch_size):
            logits = forward(inputs[indices])
            loss = functional.cross_entropy(logits, labels[indices], label_smoothing=_SMOOTHING, reduction="sum")
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            if (step + 1) % _LOOKAHEAD_STEPS == 0:
                _look_ahead(slow, fast)
        synchronise(engine)
        return len(images) // batch_size * batch_size / (time.perf_counter() - start)

    return epoch


class _Norm(nn.BatchNorm2d):
    """Its scale is fixed, and it stays in float32."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-12, momentum=0.4)
        self.weight.requires_grad_(False)


def _build(dtype: torch.dtype) -> nn.Module:
    """(N, 3, 32, 32) in `dtype` to logits (N, 10)."""
    first = nn.Conv2d(3, _WHITENED, 2)
    first.weight.requires_grad_(False)
    layers: list[nn.Module] = [first, nn.GELU()]
    channels = _WHITENED
    for width in _WIDTHS:
        layers += [_conv(channels, width), nn.MaxPool2d(2), _Norm(width), nn.GELU()]
        layers += [_conv(width, width), _Norm(width), nn.GELU()]
        channels = width
    layers += [nn.MaxPool2d(3), nn.Flatten(), nn.Linear(channels, 10, bias=False)]
    network = nn.Sequential(*layers).to(dtype)
    for layer in network:
        if isinstance(layer, _Norm):
            layer.float()
    return network


def _conv(fed: int, width: int) -> nn.Conv2d:
    conv = nn.Conv2d(fed, width, 3, padding=1, bias=False)
    nn.init.dirac_(conv.weight.data[:fed])
    return conv


def _optimizer(network: nn.Module) -> torch.optim.Optimizer:
    """Steps of the summed loss of a batch; biases learn faster. The decay is in units of the learning rate."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in trained if one.ndim == 1], "lr": _LR * _BIAS_SCALE},
        {"params": [one for one in trained if one.ndim > 1], "lr": _LR},
    ]
    for group in groups:
        group["weight_decay"] = _DECAY / BATCH_SIZE / group["lr"]  # type: ignore[operator]
    return torch.optim.SGD(groups, lr=_LR, momentum=_MOMENTUM, nesterov=True)


def _look_ahead(slow: list[Tensor], fast: list[Tensor]) -> None:
    """Moves the slow weights towards the fast ones, which then go on from there."""
    torch._foreach_lerp_(slow, fast, 1 - _LOOKAHEAD)
    torch._foreach_copy_(fast, slow)


def _cropped(padded: Tensor) -> Tensor:
    """A random crop and mirror of each image: one copy for each of the 25 offsets."""
    side = padded.shape[2] - 2 * _PADDING
    num_offsets = 2 * _PADDING + 1
    output = padded.new_empty(len(padded), 3, side, side)
    offsets = torch.randint(num_offsets, (len(padded), 2), device=padded.device)
    for row in range(num_offsets):
        for column in range(num_offsets):
            chosen = (offsets == offsets.new_tensor([row, column])).all(1)
            output[chosen] = padded[chosen, :, row : row + side, column : column + side]
    mirrored = torch.rand(len(padded), device=padded.device) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), output.flip(-1), output)
