"""How busy other processes keep the machine while something is measured."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

import psutil

DISTURBED_SHARE = 0.1
"""Share of all cores from which on other processes disturb a measurement."""


@dataclass(frozen=True)
class CpuReading:
    """CPU seconds since some fixed moment; only the difference of two readings has a meaning."""

    wall_s: float
    busy_s: float
    """Of all processes, and what a hypervisor withheld."""
    own_s: float
    """Of this process and its children, those that have ended included."""


def read_cpu() -> CpuReading:
    """Reads the counters now."""
    machine = psutil.cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "steal")  # guests count in user and nice
    process = psutil.Process()
    own = sum(process.cpu_times()[:4])  # user, system, and both of the children that have ended
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            own += sum(child.cpu_times()[:4])
    return CpuReading(time.monotonic(), sum(getattr(machine, name, 0.0) for name in names), own)


def others_share(before: CpuReading, after: CpuReading, *, num_cpus: int | None = None) -> float:
    """Share of all cores, 0..1, that other processes used between two readings. `num_cpus`: the machine's own."""
    cores_s = (after.wall_s - before.wall_s) * (num_cpus or os.cpu_count() or 1)
    others_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    return min(1.0, max(0.0, others_s / cores_s)) if cores_s > 0 else 0.0
