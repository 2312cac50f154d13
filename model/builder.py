"""What a network comes from: a function of its config, whether of the built-in family or of a user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import nn


class Builder(Protocol):
    """Builds a network: normalised images (N, 3, image_size, image_size) in, logits (N, num_classes) out.

    Takes the network's part of a config. Parameters come from PyTorch's default generator, which the caller seeds;
    the device is the default one. ValueError for a config that makes no network.
    """

    def __call__(self, config: Mapping[str, Any], *, num_classes: int, image_size: int) -> nn.Module: ...
