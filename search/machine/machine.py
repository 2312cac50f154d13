"""Engine and slots of a run, measured with a network such as it trains."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model.builder import error_text
from model.config import TrainConfig
from model.engine import Engine
from model.engine_choice import STEPS_PER_TRAINING, choose_engine
from model.network_source import NetworkSource, builder_of
from model.probe import SEED_PROBE, Probe
from model.shipped_modules import user_place
from search.errors import UserError
from search.machine import hardware
from search.machine.gpus import choose_gpu_engine
from search.machine.machine_cache import Measurements, cache_key, keep_measured, read_measured
from search.machine.packing import choose_slots
from search.machine.slots import Slots
from search.settings import SearchSettings


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a run uses its machine or cluster: measured when it starts, kept when it is resumed."""

    engine: Engine
    """Of the trials and retrainings, which share the machine."""
    slots: Slots
    engines: Mapping[str, Engine] = field(default_factory=dict)
    """On a cluster: the engine of each kind of accelerator."""


@dataclass(frozen=True, kw_only=True)
class Workpiece:
    """A typical config of a run, and the images it is for."""

    network: NetworkSource
    config: TrainConfig
    num_classes: int
    image_size: int

    @property
    def probe(self) -> Probe:
        """What engines are compared on: the seed network, or an own one."""
        if self.network.is_built_in:
            return SEED_PROBE
        return Probe(
            build=builder_of(self.network),
            config=self.config.network,
            num_classes=self.num_classes,
            image_size=self.image_size,
        )


def measure_machine(
    settings: SearchSettings,
    device: str,
    piece: Workpiece,
    deadline: float,
    *,
    num_cpus: int,
    say: Callable[[str], None] = lambda _line: None,
) -> tuple[Machine, Measurements, list[str]]:
    """Engine and slots, what they were chosen by, and warnings. UserError if the device cannot train the network.

    `num_cpus`: cores to use. `say`: for a line before the measuring begins.
    """
    asked = settings.model_dump(mode="json", include={"precision", "cpus_per_trial"})
    job = {"config": piece.config.flat(), "network": piece.network.sha256, "image_size": piece.image_size}
    # A GPU is measured each time: who else uses its memory is seen at the same time.
    key = cache_key(**job, **asked) if device == "cpu" and num_cpus == hardware.num_cpus() else None
    if key is not None and (found := read_measured(key)) is not None:
        return Machine(engine=found.engine, slots=found.slots), found.reused(), []
    say("measuring how fast this machine trains")
    choose = {"num_threads": num_cpus, "steps_per_training": STEPS_PER_TRAINING if math.isinf(deadline) else 0}
    if device == "cpu":
        engine, engine_rows, warnings = _choose_cpu_engine(settings, piece, choose)
    else:
        engine, engine_rows, warnings = choose_gpu_engine(settings, device, piece.network, piece.probe, **choose)
    slots, packings = choose_slots(
        settings,
        engine,
        piece.config,
        num_cpus=num_cpus,
        image_size=piece.image_size,
        num_classes=piece.num_classes,
        network=piece.network,
        deadline=deadline,
    )
    if packings and packings[0].error:
        warnings = [*warnings, f"how many trials train side by side best could not be measured: {packings[0].error}"]
    machine = Machine(engine=dataclasses.replace(engine, num_threads=slots.cpus_per_trial), slots=slots)
    measurements = {"engine": engine_rows, "packing": [dataclasses.asdict(packing) for packing in packings]}
    if key is not None and not warnings and time.monotonic() < deadline:
        keep_measured(key, machine.engine, slots, measurements)
    return machine, measurements, warnings


def _choose_cpu_engine(
    settings: SearchSettings, piece: Workpiece, choose: dict[str, Any]
) -> tuple[Engine, list[dict[str, Any]], list[str]]:
    failures: list[str] = []
    try:
        engine, rows = choose_engine(
            "cpu", precision=settings.precision, probe=piece.probe, on_failure=failures.append, **choose
        )
    except Exception as error:
        if piece.network.is_built_in:
            raise
        line = f"{user_place(error)}{error_text(error)}"
        raise UserError(f"--precision {settings.precision}: the network cannot train: {line}. Leave it out.") from None
    return engine, rows, [f"the network cannot train with {failure}; it trains without" for failure in failures]
