"""Networks of the built-in family for tests."""

from __future__ import annotations

from typing import Any, get_args

import torch

from model.network import Network, build_network
from model.network_config import BlockConfig, ConvKind, NetworkConfig

KINDS: tuple[ConvKind, ...] = get_args(ConvKind)


def network_of(config: NetworkConfig, num_classes: int = 10, *, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return build_network(config, num_classes)


def small_config(**changes: Any) -> NetworkConfig:
    """A network of 8 channels, 2 convolutions a block, with norm and dropout."""
    blocks = dict.fromkeys(("c1", "c2", "c3", "output"), BlockConfig(inner_width=8, width=8))
    return NetworkConfig(**({"dropout": 0.1} | blocks | changes))


def blocks_of(network: Network) -> Any:
    """The blocks, typed loosely so that tests can index units and layers."""
    return network.blocks
