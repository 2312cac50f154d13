"""The search space: named values that are drawn or fixed, and the TOML file that says so.

A file has one line for each key: a table with a `kind` is searched, a plain value is fixed.

    lr = {kind = "log", low = 0.01, high = 1.0, default = 0.2}
    activation = {kind = "choice", values = ["relu", "gelu"], default = "gelu"}
    flip = true

    [network]
    width = {kind = "int", low = 16, high = 64}

[network] is only a heading for the keys that are no recipe's. The space knows nothing of networks: keys, values and the
constraint come from whoever makes it.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import tomli_w

from model.config_checks import unknown_key_message
from model.recipe import RECIPE_KEYS
from search.errors import SpaceError
from search.space.parameter import Parameter, Value, is_value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_NETWORK = "network"
Constraint = Callable[[dict[str, Any]], Mapping[str, float]]


@dataclass(frozen=True)
class SearchSpace:
    """What a search may draw.

    parameters: the searched keys. fixed: keys with one value. constraint: a complete config -> excess by name, where
    more than 0 is a limit broken; the same names for every config. Two spaces are equal whatever their constraints.
    """

    parameters: Mapping[str, Parameter]
    fixed: Mapping[str, Value] = field(default_factory=dict)
    constraint: Constraint | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.parameters:
            raise SpaceError("the search space has nothing to search. Give at least one key a range or a choice.")

    @classmethod
    def from_toml(
        cls, text: str, *, known_keys: tuple[str, ...] | None = None, constraint: Constraint | None = None
    ) -> SearchSpace:
        """The space that a file describes; SpaceError names all its problems. known_keys None allows every key."""
        parameters, fixed = parse_entries(parse_toml(text), known_keys)
        return cls(parameters, fixed, constraint)

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys, the searched ones first."""
        return (*self.parameters, *self.fixed)

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distribution of every searched key."""
        return {key: parameter.distribution() for key, parameter in self.parameters.items()}

    def complete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The drawn values together with the fixed ones."""
        return {**params, **self.fixed}

    def default_config(self) -> dict[str, Any] | None:
        """Every parameter's default and the fixed values; None if a parameter has no default."""
        defaults = {key: parameter.default for key, parameter in self.parameters.items()}
        return None if None in defaults.values() else self.complete(defaults)

    def draw(self, rng: random.Random) -> dict[str, Any]:
        """One complete random config, the constraint not asked."""
        return self.complete({key: parameter.draw(rng) for key, parameter in self.parameters.items()})

    def violations(self, config: dict[str, Any]) -> dict[str, float]:
        """The constraint's excess by name, of every limit: more than 0 is a limit broken."""
        return dict(self.constraint(config)) if self.constraint else {}

    def typical_config(self) -> dict[str, Any]:
        """The default config, with the first value or lower bound of a parameter that has no default."""
        usual = {
            key: parameter.extremes()[0] if parameter.default is None else parameter.default
            for key, parameter in self.parameters.items()
        }
        return self.complete(usual)

    def to_toml(self) -> str:
        """The file that `from_toml` reads back as an equal space; the network's keys under [network]."""
        entries = {key: parameter.to_table() for key, parameter in self.parameters.items()} | dict(self.fixed)
        recipe = {key: entry for key, entry in entries.items() if key in RECIPE_KEYS}
        network = {key: entry for key, entry in entries.items() if key not in RECIPE_KEYS}
        return tomli_w.dumps({**recipe, _NETWORK: network} if network else recipe)


def parse_toml(text: str) -> dict[str, Any]:
    """The entries of a space file by key, those under [network] as well; SpaceError for text that is not TOML."""
    entries, network = parse_tables(text)
    return {**entries, **network}


def parse_tables(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries of a space file: those at the top, and those under [network]. SpaceError as `parse_toml`."""
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpaceError(f"the search space is not valid TOML: {error}.") from error
    network = entries.pop(_NETWORK, {})
    if not isinstance(network, dict):
        raise SpaceError(f"`{_NETWORK}` must be a table of the network's keys; got {network!r}.")
    if both := entries.keys() & network.keys():
        raise SpaceError(f"`{min(both)}` stands both above and under [{_NETWORK}]. Keep one of them.")
    return entries, network


def parse_entries(
    entries: Mapping[str, Any], known_keys: tuple[str, ...] | None
) -> tuple[dict[str, Parameter], dict[str, Value]]:
    """Entries of a file as parameters and fixed values; SpaceError has a line for every entry that is wrong."""
    parameters: dict[str, Parameter] = {}
    fixed: dict[str, Value] = {}
    problems = []
    for key, entry in entries.items():
        if known_keys is not None and key not in known_keys:
            problems.append(unknown_key_message(key, known_keys))
        elif isinstance(entry, dict):
            try:
                parameters[key] = Parameter.from_table(entry)
            except SpaceError as error:
                problems.append(f"`{key}`: {error}")
        elif is_value(entry):
            fixed[key] = entry
        else:
            problems.append(
                f'`{key}`: must be one finite value or a table as {{kind = "choice", values = [...]}}; got {entry}.'
            )
    if problems:
        raise SpaceError("\n".join(problems))
    return parameters, fixed
