"""Two things measured in turn, A B A B, so that whatever else the machine does meets both alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pairs:
    """Readings of two things, pair by pair."""

    name: str
    """What is compared, e.g. "images/s, project over reference"."""
    ours: tuple[float, ...]
    reference: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        return [one / other for one, other in zip(self.ours, self.reference, strict=True)]

    def summary(self) -> dict[str, Any]:
        """Median ratio with minimum and maximum, medians of both sides and every reading."""
        return {
            "name": self.name,
            "median_ratio": statistics.median(self.ratios),
            "min_ratio": min(self.ratios),
            "max_ratio": max(self.ratios),
            "median_ours": statistics.median(self.ours),
            "median_reference": statistics.median(self.reference),
            "ours": list(self.ours),
            "reference": list(self.reference),
        }

    def __str__(self) -> str:
        low, middle, high = min(self.ratios), statistics.median(self.ratios), max(self.ratios)
        ours, reference = statistics.median(self.ours), statistics.median(self.reference)
        return f"{self.name}: {middle:.2f} ({low:.2f} to {high:.2f}, n={len(self.ours)}); {ours:.4g} / {reference:.4g}"


def measure_pairs(name: str, ours: Callable[[], float], reference: Callable[[], float], *, num_pairs: int) -> Pairs:
    """Each reading is what the call returns; one pair before the first is thrown away as warm-up."""
    ours(), reference()
    readings = [(ours(), reference()) for _ in range(num_pairs)]
    return Pairs(name, tuple(one for one, _ in readings), tuple(other for _, other in readings))
