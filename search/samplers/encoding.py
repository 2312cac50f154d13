"""Configs as points of the unit cube, for models over them, and small steps from one config to another; pure."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.space.parameter import Parameter, Value


def coordinates(parameters: Mapping[str, Parameter], configs: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """A row for each config: 0..1 for each range, along its logarithm where it is drawn so; for each choice 0 or 1."""
    columns: list[Any] = []
    for key, parameter in parameters.items():
        values = [params[key] for params in configs]
        if parameter.kind == "choice":
            columns += [[float(value == known) for value in values] for known in parameter.values]
        else:
            columns.append(_to_unit(parameter, np.array(values, dtype=float)))
    return np.column_stack(columns)


def vary(
    parameters: Mapping[str, Parameter], params: Mapping[str, Any], rng: random.Random, *, spread: float
) -> dict[str, Any]:
    """About half of the values moved: in a range by a normal step of `spread` (of its width), in a choice anywhere."""
    chosen = [key for key in parameters if rng.random() < 0.5] or [rng.choice(list(parameters))]
    varied = dict(params)
    for key in chosen:
        parameter = parameters[key]
        if parameter.kind == "choice":
            varied[key] = parameter.draw(rng)
        else:
            unit = float(_to_unit(parameter, params[key])) + rng.gauss(0, spread)
            varied[key] = _from_unit(parameter, min(max(unit, 0.0), 1.0))
    return varied


def _to_unit(parameter: Parameter, value: Any) -> Any:
    """Of a number or an array of them."""
    low, high = (float(bound) for bound in parameter.extremes())
    if parameter.kind.startswith("log"):
        return np.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _from_unit(parameter: Parameter, unit: float) -> Value:
    low, high = (float(bound) for bound in parameter.extremes())
    is_log = parameter.kind.startswith("log")
    value = low * (high / low) ** unit if is_log else low + unit * (high - low)
    if parameter.step is not None:
        value = low + round((value - low) / parameter.step) * parameter.step
    value = min(max(value, low), high)
    return round(value) if "int" in parameter.kind else value
