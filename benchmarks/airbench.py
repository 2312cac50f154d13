"""airbench94 as its paper describes it (Jordan 2024, arXiv 2404.00498): its parts, and its training loop for its speed.

1.97 million parameters, half precision, channels_last, batches of 1,024, Nesterov SGD with label smoothing, lookahead
every 5 steps; crop and mirror of the whole epoch at once. Where only speed is measured, the frozen first layer has
random weights, which cost the same. Compiled, the loop uses CUDA graphs, but does not search for the fastest kernels,
which would take minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.engine import Engine, synchronise

BATCH_SIZE = 1024
SMOOTHING, PADDING, LOOKAHEAD_STEPS = 0.2, 2, 5
_WIDTHS, _WHITENED = (64, 256, 256), 24
_MOMENTUM, _BIAS_SCALE = 0.85, 64.0
_STEP_LENGTH = 1 + 1 / (1 - _MOMENTUM)  # how much further Nesterov's momentum carries a step
_LR, _DECAY = 11.5 / BATCH_SIZE / _STEP_LENGTH, 0.0153 / _STEP_LENGTH


def airbench_epoch(images: Tensor, labels: Tensor, engine: Engine) -> Callable[[], float]:
    """`images` (N, 32, 32, 3) uint8. Returns a function that trains an epoch and returns its images/s."""
    dtype = torch.float16 if engine.device_type == "cuda" else torch.float32
    network = build(dtype, _WIDTHS).to(engine.device).to(memory_format=torch.channels_last).train()
    forward = torch.compile(network, mode="reduce-overhead") if engine.compile else network
    stepper = optimizer(network)
    fast = [value for value in network.state_dict().values() if value.is_floating_point()]
    slow = [value.clone() for value in fast]
    normalised = ((images.permute(0, 3, 1, 2).to(dtype) / 255) - 0.45) / 0.25
    padded = functional.pad(normalised, (PADDING,) * 4, mode="reflect")
    batch_size = min(BATCH_SIZE, len(images))

    def epoch() -> float:
        start = time.perf_counter()
        inputs = cropped(padded).contiguous(memory_format=torch.channels_last)
        order = torch.split(torch.randperm(len(inputs), device=inputs.device), batch_size)
        for step, indices in enumerate(part for part in order if len(part) == batch_size):
            logits = forward(inputs[indices])
            loss = functional.cross_entropy(logits, labels[indices], label_smoothing=SMOOTHING, reduction="sum")
            stepper.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            stepper.step()
            if (step + 1) % LOOKAHEAD_STEPS == 0:
                look_ahead(slow, fast, 1 - 0.95**5)
        synchronise(engine)
        return len(images) // batch_size * batch_size / (time.perf_counter() - start)

    return epoch


class _Norm(nn.BatchNorm2d):
    """Its scale is fixed, and it stays in float32."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-12, momentum=0.4)
        self.weight.requires_grad_(False)


class _Scale(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 9


def build(dtype: torch.dtype, widths: tuple[int, int, int]) -> nn.Sequential:
    """(N, 3, 32, 32) in `dtype` to logits (N, 10)."""
    first = nn.Conv2d(3, _WHITENED, 2)
    first.weight.requires_grad_(False)
    layers: list[nn.Module] = [first, nn.GELU()]
    channels = _WHITENED
    for width in widths:
        layers += [_conv(channels, width), nn.MaxPool2d(2), _Norm(width), nn.GELU()]
        layers += [_conv(width, width), _Norm(width), nn.GELU()]
        channels = width
    layers += [nn.MaxPool2d(3), nn.Flatten(), nn.Linear(channels, 10, bias=False), _Scale()]
    network = nn.Sequential(*layers).to(dtype)
    for layer in network:
        if isinstance(layer, _Norm):
            layer.float()
    return network


def _conv(fed: int, width: int) -> nn.Conv2d:
    conv = nn.Conv2d(fed, width, 3, padding=1, bias=False)
    nn.init.dirac_(conv.weight.data[:fed])
    return conv


def optimizer(network: nn.Module) -> torch.optim.Optimizer:
    """Steps of the summed loss of a batch; biases learn faster. The decay is in units of the learning rate."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in trained if one.ndim == 1], "lr": _LR * _BIAS_SCALE},
        {"params": [one for one in trained if one.ndim > 1], "lr": _LR},
    ]
    for group in groups:
        group["weight_decay"] = _DECAY / group["lr"]  # type: ignore[operator]
    return torch.optim.SGD(groups, lr=_LR, momentum=_MOMENTUM, nesterov=True)


def look_ahead(slow: list[Tensor], fast: list[Tensor], share: float) -> None:
    """Moves the slow weights by `share` towards the fast ones, which then go on from there."""
    torch._foreach_lerp_(slow, fast, share)
    torch._foreach_copy_(fast, slow)


@torch.no_grad()
def whiten(network: nn.Sequential, images: Tensor) -> None:
    """Set the first layer to the principal directions of the 2x2 patches of normalised images, with both signs."""
    first = network[0]
    assert isinstance(first, nn.Conv2d)
    patches = functional.unfold(images, 2).transpose(1, 2).flatten(0, 1).double()
    variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (directions / (variances + 5e-4).sqrt()).T.flip(0).view(_WHITENED // 2, 3, 2, 2)
    first.weight.copy_(torch.cat([filters, -filters]))


def cropped(padded: Tensor) -> Tensor:
    """A random crop and mirror of each image: one copy for each of the 25 offsets."""
    side = padded.shape[2] - 2 * PADDING
    num_offsets = 2 * PADDING + 1
    output = padded.new_empty(len(padded), 3, side, side)
    offsets = torch.randint(num_offsets, (len(padded), 2), device=padded.device)
    for row in range(num_offsets):
        for column in range(num_offsets):
            chosen = (offsets == offsets.new_tensor([row, column])).all(1)
            output[chosen] = padded[chosen, :, row : row + side, column : column + side]
    mirrored = torch.rand(len(padded), device=padded.device) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), output.flip(-1), output)
