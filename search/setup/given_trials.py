"""The first trials of a run, which are its baselines: the seed config and the space's default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from model.config import SEED_CONFIG, network_values
from model.network_source import BUILT_IN, NetworkSource, builder_of
from model.profile import known_receptive_field, profile_network
from model.seeds import derive_seed
from search.space.space import SearchSpace
from search.study.record import NewTrial

SEED_IMAGE_SIZE = 32
"""Side in pixels of the images that the seed config was made for."""


def describe_config(
    config: Mapping[str, Any], *, num_classes: int, image_size: int, above: int = 0, network: NetworkSource = BUILT_IN
) -> dict[str, Any]:
    """Parameters, multiply-adds of an image and receptive field (None: not known) of a flat config.

    `above`: the limit of the receptive field; see `known_receptive_field`.
    """
    values = network_values(config)
    place: dict[str, Any] = {"num_classes": num_classes, "image_size": image_size, "build": builder_of(network)}
    profile = profile_network(values, **place)
    return {
        "num_params": profile.num_params,
        "multiply_adds": profile.multiply_adds,
        "receptive_field": known_receptive_field(values, above=above, **place),
    }


def given_trials(
    seed: int, space: SearchSpace, describe: Callable[[Mapping[str, Any]], dict[str, Any]], *, has_seed_config: bool
) -> list[NewTrial]:
    """The baselines come first, so that later trials are compared with them. A default over the limits is left out."""
    candidates: list[tuple[str, dict[str, Any] | None, bool]] = [
        ("seed", SEED_CONFIG.flat() if has_seed_config else None, False),
        ("default", space.default_config(), True),
    ]
    trials: list[NewTrial] = []
    for origin, config, is_in_space in candidates:
        if config is None:
            continue
        violations = space.violations(config)
        if is_in_space and any(excess > 0 for excess in violations.values()):
            continue
        trials.append(
            NewTrial(
                config=config,
                seed=derive_seed(seed, "trial", len(trials)),
                origin=origin,
                params={key: config[key] for key in space.distributions} if is_in_space else {},
                distributions=space.distributions if is_in_space else {},
                violations=violations,
                profile=describe(config),
            )
        )
    return trials
