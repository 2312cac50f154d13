"""Labelled images with their split: as arrays while they travel, as tensors where a network trains."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Values = TypeVar("Values", NDArray[Any], Tensor)


@dataclass(frozen=True, kw_only=True)
class SplitImages(Generic[Values]):
    """Images, labels and split of one training; every training on a machine or device shares them without a copy."""

    images: Values
    """uint8 (N, H, W, 3)."""
    labels: Values
    """int64 (N,), 0..num_classes - 1."""
    train_indices: Values
    """int64, sorted."""
    val_indices: Values
    """int64, sorted; empty if all images are used for training."""
    mean: tuple[float, float, float]
    """Per channel of the training split, in 0..1."""
    std: tuple[float, float, float]
    num_classes: int
    split_hash: str = ""
    """sha256 of the split; equal for all trials of a run."""


ImageArrays: TypeAlias = SplitImages[NDArray[Any]]
ImageTensors: TypeAlias = SplitImages[Tensor]


def on_device(arrays: ImageArrays, device: torch.device) -> ImageTensors:
    """The images as tensors on a device; on the CPU they share the arrays' memory and must not be written to."""
    return SplitImages(
        images=_tensor(arrays.images, device),
        labels=_tensor(arrays.labels, device),
        train_indices=_tensor(arrays.train_indices, device),
        val_indices=_tensor(arrays.val_indices, device),
        mean=arrays.mean,
        std=arrays.std,
        num_classes=arrays.num_classes,
        split_hash=arrays.split_hash,
    )


def resplit(tensors: ImageTensors, arrays: ImageArrays) -> ImageTensors:
    """The split of `arrays` over the same images, which `tensors` has on its device already."""
    device = tensors.images.device
    return replace(
        tensors,
        train_indices=_tensor(arrays.train_indices, device),
        val_indices=_tensor(arrays.val_indices, device),
        mean=arrays.mean,
        std=arrays.std,
        split_hash=arrays.split_hash,
    )


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # Ray maps arrays read-only, and nothing here writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
