"""Layers that compute what PyTorch's do, faster: ReLU, convolutions, ghost batch norm, dropout."""

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
    """PyTorch's, but for the backward pass, which takes five times as long there in bf16 on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, to the same shape and dtype."""
        return _ReLU.apply(x) if self.training else F.relu(x)


class _ReLU(torch.autograd.Function):
    """Backward as of a clamp to 0..infinity, whose vectorised code PyTorch's own ReLU lacks."""

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
    """PyTorch's, but for padding beyond the kernel's reach, as of 1 around 1x1: oneDNN has only slow code for that."""

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
    """Batch norm over (N, C, H, W) in which each of `num_splits` parts of a batch is normalised apart.

    The noisier statistics regularise as a small batch's do (Hoffer et al. 2017, arXiv 1705.08741). The parts are runs
    of neighbouring images whose sizes differ by one at most; a batch too small to give each part two images is cut into
    fewer. The running statistics follow the parts' average mean and average unbiased variance, and alone serve
    evaluation; so with one split this is `nn.BatchNorm2d`.
    """

    eps = 1e-5
    momentum = 0.1
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, *, num_splits: int = 1, frozen_scale: bool = False) -> None:
        """`num_splits` is at least 1; `frozen_scale` keeps the scale at 1 and leaves the shift to be learnt."""
        super().__init__()
        self.num_splits = num_splits
        self.weight = nn.Parameter(torch.ones(num_features), requires_grad=not frozen_scale)
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape, dtype and memory format."""
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
    """Those of `tensor_split`, whose backward pass adds up padded gradients in the default format; `split`'s joins."""
    size, num_larger = divmod(num_images, num_parts)
    return [size + 1] * num_larger + [size] * (num_parts - num_larger)


class Dropout(nn.Module):
    """Dropout whose mask, on the CPU, comes from one random byte an element of a generator that belongs to the layer.

    The drop probability is therefore `p` rounded to a multiple of 1/256 (0.1 becomes 26/256 = 0.1016) and the kept
    elements are scaled by exactly its counterpart, so that the expectation is that of evaluation. PyTorch's own mask
    takes many times as long there: one thread, a Mersenne Twister. On other devices PyTorch's own is fast and is used,
    with the rounded probability and the device's default generator.
    """

    def __init__(self, p: float) -> None:
        """`p` in 0 <= p < 1; what would round to 1 becomes 255/256."""
        super().__init__()
        self._threshold = min(round(256 * p), 255)
        self.p = self._threshold / 256
        self.seed(np.random.SeedSequence(0))

    def seed(self, seed_sequence: np.random.SeedSequence) -> None:
        """Start the layer's generator anew; the CPU's masks depend on nothing else but the inputs' shapes."""
        self._generator = np.random.SFC64(seed_sequence)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, to the same shape and dtype."""
        if not self.training or self._threshold == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return _MaskAndScale.apply(x, self._mask(x), 1 / (1 - self.p))  # type: ignore[no-any-return]

    def _mask(self, x: Tensor) -> Tensor:
        """uint8, 1 where an element is kept, laid out in memory like `x` so that multiplying them is one sweep."""
        random_bytes = self._generator.random_raw(-(-x.numel() // 8)).view(np.uint8)[: x.numel()]
        mask = torch.from_numpy((random_bytes >= self._threshold).view(np.uint8))
        if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
            batch, channels, height, width = x.shape
            return mask.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return mask.view(x.shape)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class _MaskAndScale(torch.autograd.Function):
    """x * mask * scale that keeps a byte an element for the backward pass; plain products keep one in x's dtype."""

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
    # `addcmul` does both in one sweep, and in bf16 it multiplies in float32, so that the scale is not rounded. Two
    # products take twice as long, `where` or a bool mask three times (8 million bf16 elements, one thread). By blocks
    # the mask in x's dtype stays in the cache: a fifth less time.
    output, zero = torch.empty_like(x), x.new_zeros(())
    blocks = (torch.split(each, block_length(x)) for each in (x, mask, output))
    for block, block_mask, out in zip(*blocks, strict=True):
        torch.addcmul(zero, block, block_mask.to(x.dtype), value=scale, out=out)
    return output


def seed_dropout(network: nn.Module, seed: int) -> None:
    """Give every Dropout of the network a generator of its own, derived from `seed` (>= 0) and the layer's position."""
    layers = [module for module in network.modules() if isinstance(module, Dropout)]
    for layer, sequence in zip(layers, np.random.SeedSequence(seed).spawn(len(layers)), strict=True):
        layer.seed(sequence)
