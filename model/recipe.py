"""How a network is trained: optimizer, learning rates and augmentation, whatever the network."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from model.config_checks import check_range, check_types


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The training of one trial. The run, not the recipe, sets the number of epochs.

    ValueError for a value of the wrong type or out of range.
    """

    optimizer: Literal["sgd", "nesterov", "adamw", "muon"] = "nesterov"
    """muon: Muon for the kernels of convolutions, AdamW for the first and the last layer, thin kernels, biases and
    norms (see `model.muon`)."""
    lr: float = 0.1
    """Peak learning rate of SGD, with or without Nesterov, above 0; ignored by the others."""
    momentum: float = 0.9
    """Momentum of SGD and Muon, 0 <= momentum < 1; ignored by AdamW."""
    weight_decay: float = 5e-4
    """L2 penalty of SGD, coupled with its learning rate, 0..100; ignored by the others."""
    adamw_lr: float = 5e-3
    """Peak learning rate of AdamW, alone or beside Muon, above 0; ignored by SGD."""
    adamw_weight_decay: float = 0.05
    """Decoupled weight decay of AdamW, alone or beside Muon, 0..100; ignored by SGD."""
    muon_lr: float = 0.14
    """Peak learning rate of Muon, the relative change of a kernel in one step, above 0; ignored by the others."""
    batch_size: int = 256
    """Images per optimizer step, 1..65536."""
    schedule: Literal["step", "cosine", "one_cycle"] = "one_cycle"
    """step: times 0.92 every 2 epochs. cosine: from the peak to 0. one_cycle: linear to the peak, then linear to 0."""
    warmup_fraction: float = 0.2
    """Warm-up of cosine and one_cycle as a fraction of all steps, 0 <= fraction < 1; ignored by step."""
    label_smoothing: float = 0.0
    """Probability mass spread evenly over all classes, 0 <= label_smoothing < 1."""
    ema_decay: float = 0.0
    """Decay per step of a moving average of the parameters, which is then evaluated, 0 <= decay < 1; 0: off."""

    crop_padding: int = 4
    """Pixels of padding before a random crop back to the image's size, 0..64; 0: off."""
    crop_border: Literal["black", "reflected"] = "black"
    """What the padding shows: black, or the image mirrored at its outermost pixels."""
    flip: bool = True
    """Mirror each image left to right with probability 1/2."""
    alternating_flip: bool = False
    """Mirror a random half of the images in the first epoch, the other half in the next, and so on, so that two epochs
    show every image both ways (Jordan 2024, arXiv 2404.00498); ignored without `flip`."""
    rotation_degrees: float = 0.0
    """Largest rotation in either direction, in degrees, 0..180; 0: off."""
    cutout_size: int = 0
    """Side in pixels of a random square set to the mean colour, 0..256; 0: off."""

    def __post_init__(self) -> None:
        check_types(self)
        check_range("batch_size", self.batch_size, 1, 65536)
        check_range("crop_padding", self.crop_padding, 0, 64)
        check_range("cutout_size", self.cutout_size, 0, 256)
        check_range("rotation_degrees", self.rotation_degrees, 0, 180)
        for name in ("warmup_fraction", "label_smoothing", "ema_decay", "momentum"):
            check_range(name, getattr(self, name), 0, 1, below=True)
        for name in ("weight_decay", "adamw_weight_decay"):
            check_range(name, getattr(self, name), 0, 100)
        for name in ("lr", "adamw_lr", "muon_lr"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{name}` must be a finite number above 0; got {value}.")


OPTIMIZERS_OF_KEYS = {
    "lr": ("sgd", "nesterov"),
    "momentum": ("sgd", "nesterov", "muon"),
    "weight_decay": ("sgd", "nesterov"),
    "adamw_lr": ("adamw", "muon"),
    "adamw_weight_decay": ("adamw", "muon"),
    "muon_lr": ("muon",),
}
"""The optimizers that use a key; the others ignore it."""
RECIPE_KEYS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Recipe))
"""Every key of a recipe, in a stable order."""
