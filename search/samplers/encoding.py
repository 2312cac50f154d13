"""Configs as points of the unit cube, for surrogate models, and small random steps from a config; pure."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.space.parameter import Parameter, Value


def coordinates(parameters: Mapping[str, Parameter], configs: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """One row per config, shape (N, D): a range as 0..1, on its own scale; a choice as one 0/1 per value."""
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
    """Changes about half of the values: a range by a normal step (`spread` times its width), a choice at random."""
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
    """Maps a number or an array from its range to 0..1."""
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
