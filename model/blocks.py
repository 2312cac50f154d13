"""Blocks of a tensor small enough for a core's cache, so that several sweeps over one cost as much memory as one."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK_VALUES = 2**16
"""For each thread: 256 KiB in float32; a cache of 2 MiB holds the four tensors of a norm's backward pass."""


def block_length(x: Tensor) -> int:
    """Along the first axis, such as images of a batch; at least 1."""
    return max(1, _BLOCK_VALUES * torch.get_num_threads() // max(1, x[:1].numel()))
