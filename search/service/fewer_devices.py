"""What a run keeps when it is asked for fewer trials side by side; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from search.machine.slots import Slots
from search.service.queue import Devices
from search.service.store import RunEntry


def needed(entry: RunEntry, slots: Slots, num_slots: int) -> tuple[int, int]:
    """The GPUs and CPU cores with which a run of so many `slots` trains `num_slots` trials side by side."""
    num_gpus = math.ceil(round(num_slots * slots.gpus_per_trial, 6))
    # With GPUs a run's cores are the GPUs' share; without, each trial has its own.
    cores = math.ceil(entry.cores * num_gpus / entry.num_gpus) if num_gpus else num_slots * slots.cpus_per_trial
    return num_gpus, cores


def fits(entry: RunEntry, slots: Slots, num_slots: int) -> bool:
    """Whether a run's devices are enough for so many trials side by side."""
    num_gpus, cores = needed(entry, slots, num_slots)
    return num_gpus <= entry.num_gpus and cores <= entry.cores


def kept(entry: RunEntry) -> Devices | None:
    """What a running run holds on to; None if it has nothing to give back."""
    gpus, cores = entry.devices.get("gpus", ()), entry.devices.get("cores", ())
    if len(gpus) <= entry.num_gpus and len(cores) <= entry.cores:
        return None
    return Devices(tuple(gpus[: entry.num_gpus]), tuple(cores[: entry.cores]))


def as_held(devices: Devices) -> Mapping[str, Sequence[str | int]]:
    """Devices as a run's entry names them."""
    return {"gpus": devices.gpus, "cores": devices.cores}
