"""How busy other processes keep the machine while something is measured."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

DISTURBED_SHARE = 0.1
"""Share of all cores from which on other processes disturb a measurement."""


@dataclass(frozen=True)
class CpuReading:
    """CPU seconds since some fixed moment; only the difference of two readings has a meaning."""

    wall_s: float
    stolen_s: float
    """What a hypervisor withheld from all cores."""
    others_s: Mapping[tuple[int, float], float]
    """Of each process, by its number and start, but for this one and its descendants.

    Our own time cannot be subtracted from the machine's instead: the time of a descendant that was killed, such as one
    of Ray's workers, is counted nowhere.
    """


def read_cpu() -> CpuReading:
    """Reads the counters now."""
    process = psutil.Process()
    own = {process.pid, *(child.pid for child in process.children(recursive=True))}
    others_s = {}
    for other in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if other.pid not in own:
                others_s[other.pid, other.create_time()] = sum(other.cpu_times()[:2])
    return CpuReading(time.monotonic(), getattr(psutil.cpu_times(), "steal", 0.0), others_s)


def others_share(before: CpuReading, after: CpuReading, *, num_cpus: int | None = None) -> float:
    """Share of all cores, 0..1, that other processes used between two readings; those that ended in between are missed.

    `num_cpus`: the machine's own.
    """
    cores_s = (after.wall_s - before.wall_s) * (num_cpus or os.cpu_count() or 1)
    used_s = sum(seconds - before.others_s.get(key, 0.0) for key, seconds in after.others_s.items())
    return min(1.0, (used_s + after.stolen_s - before.stolen_s) / cores_s) if cores_s > 0 else 0.0
