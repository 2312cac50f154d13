"""One config: the values of a network, and the recipe it is trained with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from model.network_config import NETWORK_KEYS, SEED_NETWORK
from model.recipe import RECIPE_KEYS, Recipe


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What one trial trains and how. The values of the network are its builder's: only that one knows them."""

    network: Mapping[str, Any]
    recipe: Recipe

    def flat(self) -> dict[str, Any]:
        """All values by key, the network's first: the form used in search spaces, tables and files."""
        return {**self.network, **dataclasses.asdict(self.recipe)}

    def changed(self, **values: Any) -> TrainConfig:
        """A copy with other values, by key."""
        return self.from_flat({**self.flat(), **values})

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The inverse of `flat`. Keys that the recipe does not have belong to the network.

        Missing keys of the recipe take their defaults; ValueError names a bad value of it.
        """
        recipe = Recipe(**{key: value for key, value in values.items() if key in RECIPE_KEYS})
        return cls(network=network_values(values), recipe=recipe)


def network_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The network's part of a flat config."""
    return {key: value for key, value in values.items() if key not in RECIPE_KEYS}


CONFIG_KEYS = (*NETWORK_KEYS, *RECIPE_KEYS)
"""Every key of a flat config with a built-in network, in a stable order."""


def ordered_keys(keys: Iterable[str]) -> list[str]:
    """Keys of configs in the order of tables and files: those of the user's network, the built-in one, the recipe."""
    order = {key: index for index, key in enumerate(CONFIG_KEYS)}
    return sorted(keys, key=lambda key: order.get(key, -1))


SEED_CONFIG = TrainConfig(
    network=SEED_NETWORK.flat(),
    recipe=Recipe(
        optimizer="sgd",
        lr=0.016,
        momentum=0.9,
        weight_decay=0.0,
        batch_size=256,
        schedule="step",
        crop_padding=4,
        flip=True,
        rotation_degrees=8.0,
    ),
)
"""The original notebook's network and recipe: trial 0 and a baseline on 32x32 images."""
