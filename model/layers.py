"""Faster versions of PyTorch layers with the same results: ReLU, convolution, ghost batch norm, dropout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.batch_norm import ghost_batch_norm
from model.blocks import block_length


class ReLU(nn.ReLU):
    """`nn.ReLU` with another backward pass: PyTorch's takes five times as long in bf16 on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; same shape and dtype out."""
        return _ReLU.apply(x) if self.training else F.relu(x)


class _ReLU(torch.autograd.Function):
    """The backward pass of a clamp to 0..infinity, which is vectorised, unlike that of PyTorch's ReLU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        output = torch.relu(x)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grad_outputs[0], output, 0.0, math.inf)  # type: ignore[no-any-return]


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` that pads its input first if the padding exceeds the kernel's reach, such as padding 1 around 1x1.

    oneDNN has only slow code for that case.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) to (N, C_out, H', W')."""
        assert not isinstance(self.padding, str)
        reach = [step * (size - 1) for step, size in zip(self.dilation, self.kernel_size, strict=True)]
        beyond = [max(0, padding - pixels) for padding, pixels in zip(self.padding, reach, strict=True)]
        if not any(beyond):
            return super().forward(x)
        rows, columns = beyond
        within = [padding - pixels for padding, pixels in zip(self.padding, beyond, strict=True)]
        padded = F.pad(x, (columns, columns, rows, rows))
        return F.conv2d(padded, self.weight, self.bias, self.stride, within, self.dilation, self.groups)


class GhostBatchNorm(nn.Module):
    """Batch norm over (N, C, H, W) that normalises each of `num_splits` parts of a batch separately.

    The noisier statistics regularise like those of a small batch (Hoffer et al. 2017, arXiv 1705.08741). The parts are
    consecutive images, and their sizes differ by at most one; a batch with fewer than two images per part has fewer
    parts. The running statistics, used in evaluation, follow the average of the parts' means and unbiased variances.
    With one split this is `nn.BatchNorm2d`.
    """

    eps = 1e-5
    momentum = 0.1
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, *, num_splits: int = 1, frozen_scale: bool = False) -> None:
        """`num_splits` is at least 1; `frozen_scale` fixes the scale at 1, so that only the shift is learned."""
        super().__init__()
        self.num_splits = num_splits
        self.weight = nn.Parameter(torch.ones(num_features), requires_grad=not frozen_scale)
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), same shape, dtype and memory format out."""
        if not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, self.momentum, self.eps
            )
        sizes = _part_sizes(len(x), max(1, min(self.num_splits, len(x) // 2)))
        output, means, variances = ghost_batch_norm(x, self.weight, self.bias, sizes=sizes, eps=self.eps)
        self.running_mean.lerp_(means.mean(dim=0), self.momentum)
        self.running_var.lerp_(variances.mean(dim=0), self.momentum)
        return output

    def extra_repr(self) -> str:
        return f"{len(self.bias)}, num_splits={self.num_splits}, frozen_scale={not self.weight.requires_grad}"


def _part_sizes(num_images: int, num_parts: int) -> list[int]:
    """The sizes that `tensor_split` gives. Its backward pass sums padded gradients, but `split`'s only joins them."""
    size, num_larger = divmod(num_images, num_parts)
    return [size + 1] * num_larger + [size] * (num_parts - num_larger)


class Dropout(nn.Module):
    """Dropout that, on the CPU, draws one random byte per element from the layer's own generator.

    The drop probability is `p` rounded to a multiple of 1/256 (0.1 becomes 26/256 = 0.1016), and kept elements are
    scaled to match it exactly, so the expectation equals that of evaluation. PyTorch's CPU mask takes many times as
    long: it uses one thread and a Mersenne Twister. Other devices use PyTorch's dropout with the rounded probability
    and the device's default generator.
    """

    def __init__(self, p: float) -> None:
        """0 <= p < 1; a value that would round to 1 becomes 255/256."""
        super().__init__()
        self._threshold = min(round(256 * p), 255)
        self.p = self._threshold / 256
        self.seed(np.random.SeedSequence(0))

    def seed(self, seed_sequence: np.random.SeedSequence) -> None:
        """Restart the layer's generator. On the CPU the masks depend only on it and on the shapes of the inputs."""
        self._generator = np.random.SFC64(seed_sequence)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; same shape and dtype out."""
        if not self.training or self._threshold == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return _MaskAndScale.apply(x, self._mask(x), 1 / (1 - self.p))  # type: ignore[no-any-return]

    def _mask(self, x: Tensor) -> Tensor:
        """uint8, 1 for a kept element, in the memory layout of `x` so that multiplying them takes one sweep."""
        random_bytes = self._generator.random_raw(-(-x.numel() // 8)).view(np.uint8)[: x.numel()]
        mask = torch.from_numpy((random_bytes >= self._threshold).view(np.uint8))
        if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
            batch, channels, height, width = x.shape
            return mask.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return mask.view(x.shape)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class _MaskAndScale(torch.autograd.Function):
    """x * mask * scale that saves one byte per element for the backward pass; plain products save x's dtype."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return _mask_and_scale(x, mask, scale)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return _mask_and_scale(grad_outputs[0], mask, ctx.scale), None, None


def _mask_and_scale(x: Tensor, mask: Tensor, scale: float) -> Tensor:
    # `addcmul` takes one sweep and multiplies bf16 in float32, which does not round the scale. Two products take twice
    # as long, `where` or a bool mask three times (8 million bf16 elements, one thread). In blocks, the mask in x's
    # dtype stays in the cache, which saves a fifth of the time.
    output, zero = torch.empty_like(x), x.new_zeros(())
    blocks = (torch.split(each, block_length(x)) for each in (x, mask, output))
    for block, block_mask, out in zip(*blocks, strict=True):
        torch.addcmul(zero, block, block_mask.to(x.dtype), value=scale, out=out)
    return output


def seed_dropout(network: nn.Module, seed: int) -> None:
    """Seed each Dropout layer of the network from `seed` (>= 0) and the layer's position."""
    layers = [module for module in network.modules() if isinstance(module, Dropout)]
    for layer, sequence in zip(layers, np.random.SeedSequence(seed).spawn(len(layers)), strict=True):
        layer.seed(sequence)
