"""How trials share a machine."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Slots:
    """Places for trials to run side by side."""

    num_concurrent: int
    """Trials at a time."""
    cpus_per_trial: int
    gpus_per_trial: float
    """Fraction of a GPU that each trial gets; 0 trains on CPU cores."""
    gpus: int
    """GPUs in use."""
