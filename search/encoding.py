"""Configs as points of the unit cube, for models over them, and small steps from one config to another; pure."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from search.parameter import Parameter, Value


def coordinates(parameters: Mapping[str, Parameter], params: Mapping[str, Any]) -> list[float]:
    """0..1 for each range, along its logarithm where it is drawn so; for each value of a choice 0 or 1."""
    point: list[float] = []
    for key, parameter in parameters.items():
        if parameter.kind == "choice":
            point += [float(params[key] == known) for known in parameter.values]
        else:
            point.append(_to_unit(parameter, params[key]))
    return point


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
            unit = _to_unit(parameter, params[key]) + rng.gauss(0, spread)
            varied[key] = _from_unit(parameter, min(max(unit, 0.0), 1.0))
    return varied


def _to_unit(parameter: Parameter, value: float) -> float:
    low, high = parameter.extremes()
    if parameter.kind.startswith("log"):
        return math.log(value / float(low)) / math.log(float(high) / float(low))
    return (value - float(low)) / (float(high) - float(low))


def _from_unit(parameter: Parameter, unit: float) -> Value:
    low, high = (float(bound) for bound in parameter.extremes())
    is_log = parameter.kind.startswith("log")
    value = low * (high / low) ** unit if is_log else low + unit * (high - low)
    if parameter.step is not None:
        value = low + round((value - low) / parameter.step) * parameter.step
    value = min(max(value, low), high)
    return round(value) if "int" in parameter.kind else value
