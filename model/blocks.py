"""Blocks of a tensor that fit a core's cache, so that several sweeps over a block read memory only once."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK_VALUES = 2**16
"""Values per thread: 256 KiB in float32, so a 2 MiB cache holds the four tensors of a norm's backward pass."""


def block_length(x: Tensor) -> int:
    """Length of a block along the first axis, such as the images of a batch; at least 1."""
    return max(1, _BLOCK_VALUES * torch.get_num_threads() // max(1, x[:1].numel()))
