"""What trials cost on this machine: from some configs that were measured to any of the space; pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

MIN_TO_JUDGE = 5
"""Measured configs from which on one may be wrong and is not believed."""
USUAL_POWER = 0.7
"""Between 0, where each layer costs the same, and 1, where only arithmetic counts."""
ASSUMED_FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)
"""How far configs lie from the line if too few were measured to see."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One config as it was measured."""

    config: Mapping[str, Any]
    multiply_adds: int
    image_s: float
    """Seconds of a trial for each image it trains on, evaluation included, with all slots busy and nothing else."""
    memory_bytes: float
    """Most that one trial held, of the GPU's memory where it trains on one."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was measured, and what follows for configs that were not.

    Another program may have got in the way of one measurement and made it wrong by any factor. So the line goes by
    medians, and none counts as further from it than the second furthest on its side.
    """

    speeds: tuple[Speed, ...]
    alone: float = 1.0
    """How many times as fast as a trial among others a retraining is, alone on the whole machine."""
    slowdown: float = 1.0
    """How many times as long everything took by the clock, for what else this machine did meanwhile."""

    def image_s(self, config: Mapping[str, Any], multiply_adds: int) -> float:
        """As measured, else from the line through all that were measured."""
        for speed, factor in zip(self.speeds, self._kept, strict=True):
            if speed.config == config:
                return factor * self._on_line(speed.multiply_adds)
        return self._on_line(multiply_adds)

    def is_measured(self, config: Mapping[str, Any]) -> bool:
        return any(speed.config == config for speed in self.speeds)

    @property
    def factors(self) -> Sequence[float]:
        """How many times the line's seconds other configs may take: any of those measured, as likely as the others."""
        return self._kept if len(self.speeds) >= MIN_TO_JUDGE else ASSUMED_FACTORS

    @property
    def memory_bytes(self) -> float:
        """Of the hungriest trial that was measured."""
        return max(speed.memory_bytes for speed in self.speeds)

    @cached_property
    def _kept(self) -> list[float]:
        """Measured seconds over the line's, the furthest drawn in to the second furthest."""
        factors = [speed.image_s / self._on_line(speed.multiply_adds) for speed in self.speeds]
        if len(factors) < MIN_TO_JUDGE:
            return factors
        _, low, *_, high, _ = sorted(factors)
        return [min(high, max(low, factor)) for factor in factors]

    def _on_line(self, multiply_adds: int) -> float:
        factor, power = self._line
        return factor * float(max(1, multiply_adds) ** power)

    @cached_property
    def _line(self) -> tuple[float, float]:
        """(factor, power) of seconds = factor * multiply-adds ** power, by medians: no one measurement tilts it.

        Theil and Sen's estimate on logarithms, with half as many slopes again that nobody measured: nine points give a
        slope that one of them can move by much, and the usual one is no worse.
        """
        points = [(math.log(max(1, speed.multiply_adds)), math.log(speed.image_s)) for speed in self.speeds]
        slopes = [
            (high[1] - low[1]) / (high[0] - low[0]) for low, high in combinations(sorted(points), 2) if high[0] > low[0]
        ]
        power = statistics.median([*slopes, *[USUAL_POWER] * (1 + len(slopes) // 2)])
        power = min(1.0, max(0.0, power))
        return math.exp(statistics.median(seconds - power * cost for cost, seconds in points)), power


def epoch_images(config: Mapping[str, Any], num_train: int) -> int:
    """How many images an epoch trains on: whole batches."""
    batch_size = min(int(config["batch_size"]), num_train)
    return num_train // batch_size * batch_size
