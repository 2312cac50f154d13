"""The images of a search as plain arrays, and as tensors on a device. Holds training images only."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from model.training import SharedImages


@dataclass(frozen=True, kw_only=True)
class SearchArrays:
    """What every trial trains on; Ray keeps one copy a machine and maps it into each worker."""

    images: np.ndarray
    """uint8 (N, H, W, 3)."""
    labels: np.ndarray
    """int64 (N,)."""
    train_indices: np.ndarray
    val_indices: np.ndarray
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    num_classes: int
    split_hash: str


def shared_images(arrays: SearchArrays, device: torch.device) -> SharedImages:
    """The arrays on a device; on the CPU without a copy."""
    return SharedImages(
        images=_tensor(arrays.images, device),
        labels=_tensor(arrays.labels, device),
        train_indices=_tensor(arrays.train_indices, device),
        val_indices=_tensor(arrays.val_indices, device),
        mean=arrays.mean,
        std=arrays.std,
        num_classes=arrays.num_classes,
    )


def _tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    with warnings.catch_warnings():
        # Ray maps arrays read-only, and nothing writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
