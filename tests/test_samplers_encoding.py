"""Configs as points, and steps from one config to the next that stay in the space."""

from __future__ import annotations

import random

import pytest

from search.samplers.encoding import coordinates, vary
from search.space.parameter import Parameter

PARAMETERS = {
    "log": Parameter(kind="log", low=0.01, high=1.0),
    "linear": Parameter(kind="linear", low=-1.0, high=3.0),
    "stepped": Parameter(kind="linear", low=0.0, high=0.3, step=0.1),
    "int": Parameter(kind="int", low=2, high=10, step=4),
    "log_int": Parameter(kind="log_int", low=1, high=64),
    "choice": Parameter(kind="choice", values=("a", True, 3)),
}
LOW = {"log": 0.01, "linear": -1.0, "stepped": 0.0, "int": 2, "log_int": 1, "choice": "a"}
HIGH = {"log": 1.0, "linear": 3.0, "stepped": 0.3, "int": 10, "log_int": 64, "choice": 3}
MIDDLE = {"log": 0.1, "linear": 1.0, "stepped": 0.1, "int": 6, "log_int": 8, "choice": True}


def test_ranges_run_from_0_to_1_along_their_own_scale_and_choices_are_apart() -> None:
    low, high, middle = coordinates(PARAMETERS, [LOW, HIGH, MIDDLE]).tolist()
    assert low == [0, 0, 0, 0, 0, 1, 0, 0]
    assert high == [1, 1, 1, 1, 1, 0, 0, 1]
    assert middle == pytest.approx([0.5, 0.5, 1 / 3, 0.5, 0.5, 0, 1, 0])


@pytest.mark.parametrize("start", [LOW, HIGH, MIDDLE])
@pytest.mark.parametrize("spread", [0.01, 0.5])
def test_what_is_varied_can_be_drawn_and_moves_by_the_spread(start: dict[str, object], spread: float) -> None:
    rng = random.Random(3)
    varied = [vary(PARAMETERS, start, rng, spread=spread) for _ in range(200)]
    assert all(parameter.allows(params[key]) for params in varied for key, parameter in PARAMETERS.items())
    steps = (coordinates(PARAMETERS, varied)[:, 1] - coordinates(PARAMETERS, [start])[:, 1]).tolist()
    moved = [abs(step) for step in steps if step != 0]
    assert 20 < len(moved) < 180
    assert sum(moved) / len(moved) == pytest.approx(0.8 * spread, rel=0.5)
    assert {params["choice"] for params in varied} == {"a", True, 3}
