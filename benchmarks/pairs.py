"""Two things measured in turn, A B A B, so that other load on the machine affects both alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.machine_load import DISTURBED_SHARE, others_share, read_cpu


@dataclass(frozen=True)
class Pairs:
    """Readings of two things, pair by pair."""

    name: str
    """What is compared, e.g. "images/s, project over reference"."""
    ours: tuple[float, ...]
    reference: tuple[float, ...]
    others: tuple[float, ...] = ()
    """Share of all cores that other processes used during each pair, 0..1; empty if not measured."""

    @property
    def ratios(self) -> list[float]:
        """Ours over the reference, pair by pair."""
        return [one / other for one, other in zip(self.ours, self.reference, strict=True)]

    def summary(self) -> dict[str, Any]:
        """Median ratio with minimum and maximum, medians of both sides, every reading, and the disturbed pairs."""
        return {
            "name": self.name,
            "median_ratio": statistics.median(self.ratios),
            "min_ratio": min(self.ratios),
            "max_ratio": max(self.ratios),
            "median_ours": statistics.median(self.ours),
            "median_reference": statistics.median(self.reference),
            "ours": list(self.ours),
            "reference": list(self.reference),
            "others": list(self.others),
            "disturbed": self._disturbed(),
        }

    def _disturbed(self) -> list[bool]:
        return [share > DISTURBED_SHARE for share in self.others]

    def __str__(self) -> str:
        low, middle, high = min(self.ratios), statistics.median(self.ratios), max(self.ratios)
        ours, reference = statistics.median(self.ours), statistics.median(self.reference)
        text = f"{self.name}: {middle:.2f} ({low:.2f} to {high:.2f}, n={len(self.ours)}); {ours:.4g} / {reference:.4g}"
        if any(self._disturbed()):
            text += f"; disturbed by other processes: {sum(self._disturbed())} of {len(self.others)} pairs"
        return text


def measure_pairs(name: str, ours: Callable[[], float], reference: Callable[[], float], *, num_pairs: int) -> Pairs:
    """Takes `num_pairs` readings of what each call returns, after a pair that is thrown away as warm-up."""
    ours(), reference()
    readings, others = [], []
    for _ in range(num_pairs):
        before = read_cpu()
        readings.append((ours(), reference()))
        others.append(others_share(before, read_cpu()))
    return Pairs(name, tuple(one for one, _ in readings), tuple(other for _, other in readings), tuple(others))
