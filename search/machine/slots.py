"""How trials share a machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Slots:
    """The trials that run side by side, and what each gets."""

    num_concurrent: int
    """Trials at a time."""
    cpus_per_trial: int
    gpus_per_trial: float
    """Fraction of a GPU; 0 trains on CPU cores."""
    gpus: int
    """GPUs in use."""
