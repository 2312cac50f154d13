"""Nine configs as they might have been measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search.forecast.calibration import Calibration, Speed

MULTIPLY_ADDS = tuple(1_000_000 * size for size in (12, 3, 8, 20, 5, 15, 4, 10, 7))
OTHER_MULTIPLY_ADDS = tuple(1_000_000 * size for size in range(2, 22) if size % 5)
"""Of configs that were not measured."""
NOISE = (1.0, 1.12, 0.9, 1.05, 0.85, 1.18, 0.97, 0.93, 1.08)
IMAGE_S = tuple(0.002 * (macs / 1e6) ** 0.7 * noise for macs, noise in zip(MULTIPLY_ADDS, NOISE, strict=True))
"""Seconds an image."""


def calibration_of(image_s: Sequence[float], configs: Sequence[Mapping[str, Any]]) -> Calibration:
    """The configs, of MULTIPLY_ADDS each, measured to take so long."""
    return Calibration(
        speeds=tuple(
            Speed(config=config, multiply_adds=macs, image_s=seconds, memory_bytes=1.0)
            for config, macs, seconds in zip(configs, MULTIPLY_ADDS, image_s, strict=True)
        )
    )
