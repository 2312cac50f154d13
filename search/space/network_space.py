"""The search space of networks and recipes: the default file, an own network's keys, and a user's changes to both."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.config import CONFIG_KEYS, TrainConfig, ordered_keys
from model.network_check import check_network
from model.network_source import NetworkSource, builder_of, space_of
from model.recipe import OPTIMIZERS_OF_KEYS, RECIPE_KEYS
from search.errors import SpaceError
from search.space.batch_scaling import SCALED_KEYS, scale_batches
from search.space.parameter import Parameter, Value
from search.space.space import SearchSpace, parse_entries, parse_tables, parse_toml
from search.space.space_check import DEFAULTS, Limits, check_limits_can_be_kept, check_values

DEFAULT_SPACE_FILE = Path(__file__).with_name("default_space.toml")
BASES = ("default", "none")
Entries = tuple[dict[str, Parameter], dict[str, Value]]
"""Searched and fixed keys."""


def network_space(text: str | None, limits: Limits, *, num_train: int | None = None) -> SearchSpace:
    """The search space over every key of the network and of the recipe, for square images of `limits.image_size`.

    num_train: training images of a trial; where they are few, the default space's batches are smaller (see
    `scale_batches`), unless the user's file names batches or learning rates.

    text: a user's space file, or None for the default space. Its entries replace those of the default space; an entry
    without `default` keeps the default space's, if that is one of its values. Missing keys keep the default space's
    entry or, with `base = "none"`, are fixed at their default value. An own network's keys come from its `SPACE` and
    from [network] in the file. `to_toml` writes an equal space.

    The constraint is `limits`. SpaceError names, one a line, the entries that are wrong and the values that make no
    config; NetworkError says what an own network does wrong.
    """
    parameters, fixed = _lay_over_base(text, num_train, limits.network)
    space = SearchSpace(parameters, fixed, limits)
    if not limits.network.is_built_in:
        typical = TrainConfig.from_flat(space.typical_config())
        build = builder_of(limits.network)
        check_network(build, typical, num_classes=limits.num_classes, image_size=limits.image_size)
    check_values(space, limits)
    check_limits_can_be_kept(space, limits)
    return space


def default_entries() -> Entries:
    """The searched and the fixed keys of the default space."""
    return parse_entries(parse_toml(DEFAULT_SPACE_FILE.read_text(encoding="utf-8")), CONFIG_KEYS)


def _lay_over_base(text: str | None, num_train: int | None, network: NetworkSource) -> Entries:
    """The user's entries, completed from the base; in a stable order, so that files are easy to compare."""
    entries, under_network = parse_tables(text or "")
    base = entries.pop("base", "default")
    if base not in BASES:
        raise SpaceError(f'`base` must be "default" or "none"; got {base!r}.')
    base_parameters, base_fixed = _base_entries(network, is_default=base == "default")
    known = (*base_parameters, *base_fixed, *(under_network if _has_free_keys(network) else ()))
    _check_keys(under_network, "", "Rename it, or move it above [network]")
    parameters, fixed = parse_entries({**entries, **under_network}, tuple(ordered_keys(set(known))))

    defaults = base_fixed | {key: parameter.default for key, parameter in base_parameters.items()}
    for key, parameter in parameters.items():
        default = defaults.get(key)
        if parameter.default is None and default is not None and parameter.allows(default):
            parameters[key] = dataclasses.replace(parameter, default=default)
    given = {*parameters, *fixed}
    if base == "default" and num_train is not None and given.isdisjoint(SCALED_KEYS):
        base_parameters = scale_batches(base_parameters, num_train)
    parameters |= {key: parameter for key, parameter in base_parameters.items() if key not in given}
    fixed |= {key: value for key, value in base_fixed.items() if key not in given}
    _fix_ignored(parameters, fixed, given)
    return (
        {key: parameters[key] for key in ordered_keys(parameters)},
        {key: fixed[key] for key in ordered_keys(fixed)},
    )


def _fix_ignored(parameters: dict[str, Parameter], fixed: dict[str, Value], given: set[str]) -> None:
    """Search no key that the fixed optimizer ignores. SpaceError if the user's file does."""
    optimizer = fixed.get("optimizer")
    for key, optimizers in OPTIMIZERS_OF_KEYS.items():
        if key not in parameters or optimizer is None or optimizer in optimizers:
            continue
        if key in given:
            raise SpaceError(
                f'`{key}` is searched, but `optimizer` = "{optimizer}" ignores it. Leave it out or set `optimizer` to '
                f"{' or '.join(optimizers)}."
            )
        default = parameters.pop(key).default
        assert default is not None  # only a user's entry lacks one
        fixed[key] = default


def _base_entries(network: NetworkSource, *, is_default: bool) -> Entries:
    """The default space, or each key's default value; with an own network's `SPACE` for the network's part."""
    parameters, fixed = default_entries() if is_default else ({}, DEFAULTS)
    if network.is_built_in:
        return parameters, dict(fixed)
    space = space_of(network) or {}
    _check_keys(space, f"SPACE of {network.name}: ", "Rename it")
    try:
        own_parameters, own_fixed = parse_entries(space, None)
    except SpaceError as error:
        lines = [f"SPACE of {network.name}: {line}" for line in str(error).splitlines()]
        raise SpaceError("\n".join(lines)) from None
    return (
        {key: parameter for key, parameter in parameters.items() if key in RECIPE_KEYS} | own_parameters,
        {key: value for key, value in fixed.items() if key in RECIPE_KEYS} | own_fixed,
    )


def _has_free_keys(network: NetworkSource) -> bool:
    """Whether only [network] in the file says which keys the network has."""
    return not network.is_built_in and space_of(network) is None


def _check_keys(entries: Mapping[str, Any], place: str, advice: str) -> None:
    """SpaceError if a key of the network is one of the recipe's. `place` goes before the line, `advice` ends it."""
    for key in entries:
        if key in RECIPE_KEYS:
            raise SpaceError(f"{place}`{key}` is a key of the recipe, so no network can have it. {advice}.")
