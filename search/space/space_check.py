"""What a search space must satisfy before a run: values that make configs, and some configs within the limits."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.config import TrainConfig, network_values
from model.network_config import NetworkConfig
from model.network_source import BUILT_IN, NetworkSource, builder_of
from model.profile import REQUIREMENTS, limit_names, limit_violations, profile_network
from model.recipe import Recipe
from search.errors import SpaceError
from search.space.parameter import Value
from search.space.space import SearchSpace

DEFAULTS = NetworkConfig().flat() | dataclasses.asdict(Recipe())
"""Of the built-in networks and the recipe."""
NUM_PROBES = 100
"""Random configs, and as many with every range at its lower bound, tried before a space is refused for its limits."""
_NUM_DRAWS = 30
"""Random configs tried before a value is refused: each may have to build a network."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What every trial's network must keep; see `limit_violations`. Called with a flat config, gives its excesses."""

    max_params: int
    min_receptive_field: int
    num_classes: int
    image_size: int
    required: tuple[str, ...] = tuple(REQUIREMENTS)
    network: NetworkSource = BUILT_IN

    def __call__(self, config: Mapping[str, Any]) -> dict[str, float]:
        """ "invalid_config" and the limit_violations of a flat config; the same names for valid and invalid ones."""
        try:
            self.check(config)
            return {"invalid_config": 0.0} | limit_violations(
                network_values(config),
                max_params=self.max_params,
                min_receptive_field=self.min_receptive_field,
                num_classes=self.num_classes,
                image_size=self.image_size,
                required=self.required,
                build=builder_of(self.network),
            )
        except ValueError:  # a network that cannot be built breaks no limit
            return {"invalid_config": 1.0} | dict.fromkeys(limit_names(self.required), 0.0)

    def check(self, config: Mapping[str, Any]) -> None:
        """ValueError unless the values make a network and a recipe."""
        values = TrainConfig.from_flat(config).network
        if self.network.is_built_in:
            NetworkConfig.from_flat(values)
        else:
            profile_network(
                values,
                num_classes=self.num_classes,
                image_size=self.image_size,
                build=builder_of(self.network),
            )


def check_values(space: SearchSpace, limits: Limits) -> None:
    """SpaceError if the space's defaults make no config, or if a fixed value, bound or choice never makes one.

    A value that only fits with some others is left to the search, which rejects the configs that it makes invalid.
    """
    candidates = [(key, value) for key, value in space.fixed.items()]
    for key, parameter in space.parameters.items():
        candidates += [(key, value) for value in parameter.extremes()]
    for rest in ([DEFAULTS] if limits.network.is_built_in else []) + [space.typical_config()]:
        try:
            limits.check(rest)
        except ValueError as error:
            raise SpaceError(f"the defaults of the search space cannot be trained together: {error}") from None
        problems: dict[str, None] = {}  # a dict, so that no line appears twice
        for key, value in candidates:
            try:
                limits.check({**rest, key: value})
            except ValueError as error:
                if not _can_be_drawn(space, limits, key, value):
                    problems[f"`{key}` = {value!r} cannot be trained: {error}"] = None
        if problems:
            raise SpaceError("\n".join(problems))


def _can_be_drawn(space: SearchSpace, limits: Limits, key: str, value: Value) -> bool:
    """Whether some random config with the value can be trained."""
    rng = random.Random(0)  # the same space always gets the same answer
    for _ in range(_NUM_DRAWS):
        with contextlib.suppress(ValueError):
            limits.check({**space.draw(rng), key: value})
            return True
    return False


def check_limits_can_be_kept(space: SearchSpace, limits: Limits) -> None:
    """SpaceError if no config within the limits is found: a sampler would search such a space for ever."""
    rng = random.Random(0)  # the same space always gets the same answer
    lowest = {key: parameter.low for key, parameter in space.parameters.items() if parameter.low is not None}
    broken: Counter[str] = Counter()
    least: dict[str, float] = {}
    for _ in range(NUM_PROBES):
        drawn = space.draw(rng)
        for config in (drawn, drawn | lowest):
            excesses = {name: excess for name, excess in space.violations(config).items() if excess > 0}
            if not excesses:
                return
            least |= {name: min(excess, least.get(name, excess)) for name, excess in excesses.items()}
        broken.update(excesses.keys())
    counts = ", ".join(
        f"{name} in {count} of {NUM_PROBES} (by {least[name]:,.0f} or more)" for name, count in broken.most_common()
    )
    raise SpaceError(
        f"no config within the limits was found in the search space; the smallest ones break: {counts}. "
        f"{_advice({name: least[name] for name in broken}, limits)}."
    )


def _advice(least: Mapping[str, float], limits: Limits) -> str:
    """What to do about the limits that are broken. `least`: the smallest excess of each."""
    options = []
    if "num_params" in least:
        enough = round(limits.max_params + least["num_params"])
        options.append(f"--max-params {enough} or more (the smallest network found has {enough - 1:,} parameters)")
    if "receptive_field" in least:
        options.append("a smaller --min-receptive-field")
    if any(f"num_{name}" in least for name in limits.required):
        options.append("fewer layers in --require")
    if "image_size" in least:
        options.append("a larger --image-size")
    return f"Give {' and '.join(options)}{', or ' if options else ''}a space with other networks"
