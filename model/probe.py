"""The network that ways to train are compared on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.builder import Builder
from model.network import build
from model.network_config import SEED_NETWORK


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A config, its builder and the images it is for."""

    build: Builder
    config: Mapping[str, Any]
    num_classes: int
    image_size: int


SEED_PROBE = Probe(build=build, config=SEED_NETWORK.flat(), num_classes=10, image_size=32)
