"""A Ray cluster that others have started: joined for the time of a run."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray

import model
from search.errors import RunFailed, UserError
from search.machine.machine import Machine, Workpiece, measure_machine
from search.machine.machine_cache import Measurements
from search.machine.slots import Slots
from search.settings import SearchSettings
from search.tune.cluster import RAY_SETTINGS, NodeDied
from search.tune.nodes import Node, check_code, check_resources, check_stores, living_nodes, trial_nodes
from search.tune.process_guard import keep_signal_handlers, redirect_output

_MEASURE_S = 300.0
"""How long a measurement may take, and wait for a node that is busy with other work."""
_LOOK_INTERVAL_S = 2.0


class JoinedCluster:
    """The cluster of this process, as far as a run may use it."""

    def __init__(self, settings: SearchSettings) -> None:
        """UserError if the cluster has not what the settings ask for, or a node cannot run the project's code."""
        self._settings = settings
        check_resources(living_nodes(), str(settings.cluster), settings.gpus, settings.accelerator)
        check_code(self._trial_nodes())
        self._num_slots = 0
        self._looked_at = -_LOOK_INTERVAL_S

    def measured(
        self, piece: Workpiece, kept: Machine | None, say: Callable[[str], None]
    ) -> tuple[Machine, Measurements, list[str]]:
        """Engine by kind of accelerator, slots, what they were chosen by, and warnings.

        A kind that `kept` knows is not measured again. All kinds get the same share of a GPU and the same cores, those
        of the kind that bears the fewest trials. `say`: for a line before each measuring.
        """
        kinds: dict[str, list[Node]] = defaultdict(list)
        for node in self._trial_nodes():
            kinds[node.kind].append(node)
        engines = dict(kept.engines) if kept else {}
        shapes = [kept.slots] if kept else []
        rows: Measurements = {}
        warnings: list[str] = []
        for kind in sorted(kinds.keys() - engines.keys()):
            say(f"measuring how fast node {kinds[kind][0].address} ({kind}) trains")
            machine, measurements, more = self._measure(kinds[kind][0], piece)
            engines[kind] = machine.engine
            shapes.append(machine.slots)
            for name, found in measurements.items():
                rows.setdefault(name, []).extend({"kind": kind, **row} for row in found)
            warnings += [f"{kind}: {line}" for line in more]
        slots = dataclasses.replace(
            min(shapes, key=lambda one: one.cpus_per_trial),
            gpus_per_trial=max(one.gpus_per_trial for one in shapes),
            gpus=self._settings.gpus,
        )
        slots = dataclasses.replace(slots, num_concurrent=max(1, self.num_slots(slots)))
        engines = {
            kind: dataclasses.replace(engine, num_threads=slots.cpus_per_trial) for kind, engine in engines.items()
        }
        return Machine(engine=engines[min(kinds)], slots=slots, engines=engines), rows, warnings

    def num_slots(self, slots: Slots) -> int:
        """Trials that may run now or, with --workers, that may run or wait for a node. Nodes come and go."""
        if self._settings.workers is not None:
            return self._settings.workers
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_INTERVAL_S:
            self._looked_at = now
            self._num_slots = sum(node.num_slots(slots) for node in self._trial_nodes())
        if not slots.gpus_per_trial:
            return self._num_slots
        return min(self._num_slots, int(self._settings.gpus / slots.gpus_per_trial + 1e-6))

    def check_memory(self, image_bytes: int) -> None:
        """UserError if the images do not fit into the object store of a node that needs them."""
        check_stores(self._trial_nodes(), image_bytes)

    def _trial_nodes(self) -> list[Node]:
        """Those that trials may run on."""
        return trial_nodes(living_nodes(), self._settings.gpus, self._settings.accelerator)

    def _measure(self, node: Node, piece: Workpiece) -> tuple[Machine, Measurements, list[str]]:
        is_gpu = self._settings.gpus > 0
        measure: Any = measure_machine
        task = ray.remote(num_cpus=int(node.cpus), num_gpus=int(is_gpu), max_retries=0)(measure)
        ref = task.options(scheduling_strategy=node.strategy()).remote(
            self._settings.changed(gpus=int(is_gpu)),
            "cuda" if is_gpu else "cpu",
            piece,
            math.inf,
            num_cpus=int(node.cpus),
        )
        try:
            answer: tuple[Machine, Measurements, list[str]] = ray.get(ref, timeout=_MEASURE_S)
        except ray.exceptions.GetTimeoutError:
            raise UserError(
                f"--cluster {self._settings.cluster}: node {node.address} was busy for {_MEASURE_S:.0f} s, so its "
                "speed could not be measured. Try again later."
            ) from None
        except ray.exceptions.RayError as error:
            raise UserError(
                f"--cluster {self._settings.cluster}: node {node.address} cannot train: "
                f"{str(error).strip().splitlines()[-1]}"
            ) from None
        return answer


@contextlib.contextmanager
def joined_cluster(settings: SearchSettings, log_file: Path) -> Iterator[JoinedCluster]:
    """Joins the cluster at `settings.cluster`, which `cluster_problems` has found fit, and leaves it at the end.

    UserError as of `JoinedCluster`; RunFailed if Ray fails.
    """
    os.environ.update(RAY_SETTINGS)
    with redirect_output(log_file):
        try:
            _join(str(settings.cluster))
            yield JoinedCluster(settings)
        except NodeDied as death:
            raise RunFailed(str(death)) from None
        finally:
            ray.shutdown()


def _join(address: str) -> None:
    """Connects this process. Workers get the project's code, so the nodes need its dependencies only."""
    code = [str(Path(model.__file__ or "").parent), str(Path(__file__).parent.parent)]
    settings_of_workers = {name: value for name, value in RAY_SETTINGS.items() if name.startswith("TUNE_")}
    try:
        with keep_signal_handlers():
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.WARNING,
                configure_logging=False,
                runtime_env={"py_modules": code, "excludes": ["__pycache__"], "env_vars": settings_of_workers},
            )
    except Exception as error:  # Ray raises plain Exceptions here
        raise UserError(f"--cluster {address}: {str(error).splitlines()[0]}") from None
