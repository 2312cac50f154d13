"""The search space of networks and recipes: the default file, a user's changes to it, and the limits."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from model.config import CONFIG_KEYS, TrainConfig, network_values
from model.network_config import NetworkConfig
from model.profile import limit_violations
from model.recipe import OPTIMIZERS_OF_KEYS, Recipe
from search.errors import SpaceError
from search.space.batch_scaling import SCALED_KEYS, scale_batches
from search.space.parameter import Parameter, Value
from search.space.space import SearchSpace, parse_entries, parse_toml

DEFAULT_SPACE_FILE = Path(__file__).with_name("default_space.toml")
BASES = ("default", "none")
_DEFAULTS = NetworkConfig().flat() | dataclasses.asdict(Recipe())
NUM_PROBES = 100
"""Random configs, and as many with every range at its lower bound, tried before a space is refused for its limits."""


def network_space(
    text: str | None,
    *,
    max_params: int,
    min_receptive_field: int,
    num_classes: int,
    image_size: int,
    num_train: int | None = None,
) -> SearchSpace:
    """The search space over every key of the network and of the recipe, for square images of `image_size` pixels.

    num_train: training images of a trial; where they are few, the default space's batches are smaller (see
    `scale_batches`), unless the user's file names batches or learning rates.

    text: a user's space file, or None for the default space. Its entries replace those of the default space; an entry
    without `default` keeps the default space's, if that is one of its values. Missing keys keep the default space's
    entry or, with `base = "none"`, are fixed at their default value. `to_toml` writes an equal space.

    The constraint is `limit_violations` and "invalid_config": 1 where the combination makes no config, else 0.
    SpaceError names, one a line, the entries that are wrong and the values that make no config.
    """
    limits = {
        "max_params": max_params,
        "min_receptive_field": min_receptive_field,
        "num_classes": num_classes,
        "image_size": image_size,
    }
    parameters, fixed = _lay_over_default(text, num_train)
    space = SearchSpace(parameters, fixed, partial(_config_violations, limits=limits))
    _check_values(space)
    _check_limits_can_be_kept(space)
    return space


def default_entries() -> tuple[dict[str, Parameter], dict[str, Value]]:
    """The searched and the fixed keys of the default space."""
    return parse_entries(parse_toml(DEFAULT_SPACE_FILE.read_text(encoding="utf-8")), CONFIG_KEYS)


def _lay_over_default(text: str | None, num_train: int | None) -> tuple[dict[str, Parameter], dict[str, Value]]:
    """The user's entries, completed from the base; in the order of CONFIG_KEYS, so that files are easy to compare."""
    default_parameters, default_fixed = default_entries()
    entries = parse_toml(text or "")
    base = entries.pop("base", "default")
    if base not in BASES:
        raise SpaceError(f'`base` must be "default" or "none"; got {base!r}.')
    parameters, fixed = parse_entries(entries, CONFIG_KEYS)

    known_defaults = default_fixed | {key: parameter.default for key, parameter in default_parameters.items()}
    for key, parameter in parameters.items():
        if parameter.default is None and parameter.allows(known_defaults[key]):
            parameters[key] = dataclasses.replace(parameter, default=known_defaults[key])
    given = set(entries)
    if base == "none":
        default_parameters, default_fixed = {}, _DEFAULTS
    elif num_train is not None and given.isdisjoint(SCALED_KEYS):
        default_parameters = scale_batches(default_parameters, num_train)
    parameters |= {key: parameter for key, parameter in default_parameters.items() if key not in given}
    fixed |= {key: value for key, value in default_fixed.items() if key not in given}
    _fix_ignored(parameters, fixed, given)
    return (
        {key: parameters[key] for key in CONFIG_KEYS if key in parameters},
        {key: fixed[key] for key in CONFIG_KEYS if key in fixed},
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


def _check_values(space: SearchSpace) -> None:
    """SpaceError if a fixed value, bound or choice makes no config, alone or with the space's defaults."""
    candidates = [(key, value) for key, value in space.fixed.items()]
    for key, parameter in space.parameters.items():
        candidates += [(key, value) for value in parameter.extremes()]
    usual = {key: parameter.extremes()[0] for key, parameter in space.parameters.items() if parameter.default is None}
    usual |= {key: parameter.default for key, parameter in space.parameters.items() if parameter.default is not None}
    for rest in (_DEFAULTS, space.complete(usual)):
        try:
            _check_config(rest)
        except ValueError as error:
            raise SpaceError(f"the defaults of the search space cannot be trained together: {error}") from None
        problems: dict[str, None] = {}  # a dict, so that no line appears twice
        for key, value in candidates:
            try:
                _check_config({**rest, key: value})
            except ValueError as error:
                problems[f"`{key}` = {value!r} cannot be trained: {error}"] = None
        if problems:
            raise SpaceError("\n".join(problems))


def _check_config(config: Mapping[str, Any]) -> None:
    """ValueError unless the values make a network and a recipe."""
    NetworkConfig.from_flat(TrainConfig.from_flat(config).network)


def _check_limits_can_be_kept(space: SearchSpace) -> None:
    """SpaceError if no config within the limits is found: a sampler would search such a space for ever."""
    rng = random.Random(0)  # the same space always gets the same answer
    lowest = {key: parameter.low for key, parameter in space.parameters.items() if parameter.low is not None}
    broken: Counter[str] = Counter()
    for _ in range(NUM_PROBES):
        drawn = space.draw(rng)
        for config in (drawn, drawn | lowest):
            names = [name for name, excess in space.violations(config).items() if excess > 0]
            if not names:
                return
        broken.update(names)
    counts = ", ".join(f"{name} in {count} of {NUM_PROBES}" for name, count in broken.most_common())
    raise SpaceError(
        f"no config within the limits was found in the search space; the smallest ones break: {counts}. "
        "Loosen the limits or give a space with smaller networks."
    )


def _config_violations(config: dict[str, Any], *, limits: Mapping[str, int]) -> dict[str, float]:
    """ "invalid_config" and the limit_violations of a flat config; the same names for valid and invalid ones."""
    try:
        _check_config(config)
    except ValueError:
        names = limit_violations({}, **limits)
        return {"invalid_config": 1.0} | dict.fromkeys(names, 0.0)  # a network that cannot be built breaks no limit
    return {"invalid_config": 0.0} | limit_violations(network_values(config), **limits)
