"""Who is next, and on which devices; pure. The service has no other scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from search.service.store import RunEntry

HALF_LIFE_S = 86_400.0
"""After a day, an hour of a GPU counts half."""
MAX_PRIORITY = 1000
"""Of a run; the lowest is as far below 0."""
LONGEST_WAIT_S = 600.0
"""More than any wait after a death."""


@dataclass(frozen=True)
class Devices:
    """Devices of this machine, by the names that CUDA_VISIBLE_DEVICES and sched_setaffinity take."""

    gpus: tuple[str, ...]
    cores: tuple[int, ...]

    def without(self, held: Iterable[Mapping[str, Sequence[str | int]]]) -> Devices:
        """What is left beside the devices that runs hold."""
        taken = [one for devices in held for kind in ("gpus", "cores") for one in devices.get(kind, ())]
        return Devices(
            tuple(gpu for gpu in self.gpus if gpu not in taken), tuple(core for core in self.cores if core not in taken)
        )


def decayed(device_s: float, age_s: float) -> float:
    """What device seconds of the past still count. A clock that was set back makes them no larger."""
    return float(device_s * 0.5 ** (max(0.0, age_s) / HALF_LIFE_S))


def in_order(waiting: Iterable[RunEntry], usage: Mapping[str, float]) -> list[RunEntry]:
    """By priority, then the owner with the least device time lately, then age."""
    return sorted(waiting, key=lambda entry: (-entry.priority, usage.get(entry.owner, 0.0), entry.created, entry.name))


def that_fit(waiting: Iterable[RunEntry], devices: Devices) -> list[RunEntry]:
    """Those for which all devices are enough. The others, as after a start with fewer, must hold nobody up for ever."""
    return [entry for entry in waiting if not shortage(entry, devices)]


def shortage(entry: RunEntry, devices: Devices) -> str:
    """What a run needs and all devices together do not have, such as "needs 4 GPUs, and there are 2"; else empty."""
    for name, needed, there in (
        ("GPU", entry.num_gpus, len(devices.gpus)),
        ("CPU core", entry.cores, len(devices.cores)),
    ):
        if needed > there:
            return (
                f"needs {needed} {name}{'s' if needed > 1 else ''}, and there {'is' if there == 1 else 'are'} {there}"
            )
    return ""


def next_to_start(ordered: Iterable[RunEntry], free: Devices, now: float) -> tuple[RunEntry, Devices] | None:
    """The first run that fits beside all that those before it wait for, and its devices; None if none does."""
    num_gpus, num_cores = len(free.gpus), len(free.cores)
    for entry in ordered:
        if 0 < entry.not_before - now <= LONGEST_WAIT_S:  # more only if the clock was set back
            continue
        if entry.num_gpus <= num_gpus and entry.cores <= num_cores:
            return entry, Devices(free.gpus[: entry.num_gpus], free.cores[: entry.cores])
        num_gpus, num_cores = max(0, num_gpus - entry.num_gpus), max(0, num_cores - entry.cores)
    return None
