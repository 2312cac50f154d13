"""A Ray cluster for the service's runs: each is a driver on this machine, which trains there."""

from __future__ import annotations

import time
from collections.abc import Iterator

from search.errors import UserError
from search.service.queue import Devices
from search.service.store import RunEntry
from search.settings import SearchSettings
from search.tune.cluster_probe import cluster_problems
from search.tune.cluster_room import cluster_room

LOOK_INTERVAL_S = 15.0
"""A look starts a process for a second or two."""


class Cluster:
    """What it has, and what of it nobody uses."""

    def __init__(self, address: str) -> None:
        """UserError if runs of this machine cannot join it."""
        if problems := cluster_problems(SearchSettings(run_name="service", cluster=address)):
            raise UserError("\n".join(problems))
        self.address = address
        self.total, self._free = (_devices(*room) for room in cluster_room(address))
        self._looked_at = time.monotonic()

    def look(self) -> None:
        """Asks again, if the last answer is old. UserError, and nothing counts as free, if there is none."""
        if time.monotonic() - self._looked_at < LOOK_INTERVAL_S:
            return
        self._looked_at, self._free = time.monotonic(), Devices((), ())
        self.total, self._free = (_devices(*room) for room in cluster_room(self.address))

    def fitting(self, unheld: Devices) -> Devices:
        """What no run of the service holds, as far as nobody else uses it either."""
        return Devices(unheld.gpus[: len(self._free.gpus)], unheld.cores[: len(self._free.cores)])

    def words(self, entry: RunEntry, *, is_new: bool) -> Iterator[str]:
        """More words for the command line of a run, which keep it within its part."""
        yield f"--cluster={self.address}"
        if is_new and entry.num_gpus == 0 and entry.request.get("cores") and "workers" not in entry.request:
            per_trial = entry.request.get("cpus_per_trial", 1)
            yield f"--cpus-per-trial={per_trial}"
            yield f"--workers={max(1, entry.cores // per_trial)}"


def _devices(num_cores: float, num_gpus: float) -> Devices:
    return Devices(tuple(map(str, range(int(num_gpus)))), tuple(range(int(num_cores))))
