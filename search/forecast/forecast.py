"""A run's forecast: expected epochs from the schedule of rungs, times the speed that packing measured.

It does not foresee trials that fail or diverge, nor that the sampler comes to prefer slower or faster configs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from model.engine import Engine
from model.engine_choice import measure_step
from model.probe import Probe
from search.machine.slots import Slots
from search.schedulers.expected_epochs import expected_epochs, least_epochs
from search.settings import SearchSettings
from search.setup.disk_space import run_bytes
from search.setup.retrain_size import RetrainCost
from search.study.finals import RetrainPlan

COST_POWER = 0.7
"""Seconds per image grow as multiply-adds to this power: between 0, where layers cost the same, and 1."""
THREADS_POWER = 0.85
"""The speed of a training grows as its CPU threads to this power. Assumed where it was not measured."""
EVALUATION_SHARE = 1 / 3
"""The time to evaluate an image, relative to training on it."""
START_S = 12.0
"""Ray's start and its workers' first step, on an idle machine."""
LOW, HIGH = 0.6, 2.0
"""The interval around a forecast, as factors: config costs, Ray's start and the machine's load all vary."""
WORKER_BYTES, BYTES_PER_NUMBER = 750_000_000, 8.0
"""Memory of a CPU worker: with torch loaded, and per number that its training holds."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The facts that a forecast is computed from."""

    settings: SearchSettings
    engine: Engine
    slots: Slots
    measurements: Mapping[str, Sequence[Mapping[str, Any]]]
    """What engine and slots were chosen by; see `Preparation.measurements`."""
    num_train: int
    num_val: int
    multiply_adds: Sequence[int]
    """Of some configs of the space; the first is the config that packing measured."""
    probe: Probe
    """The network that the choice of the engine measures."""
    probe_multiply_adds: int
    retrain_cost: RetrainCost
    memory_need: int
    """Numbers that training one config holds."""
    preparation_s: float
    """Seconds already spent before the first trial."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The expected cost of a run; seconds are wall time."""

    num_trials: int
    num_concurrent: int
    cpus_per_trial: int
    gpus: int
    epochs: float
    """Epochs of all trials together."""
    retraining: str
    """What is retrained, in words."""
    retrain_epochs: float
    search_s: float
    retrain_s: float
    wall_s: float
    low_s: float
    high_s: float
    over_budget_s: float
    """Seconds by which the run exceeds its time budget, because what it trains in any case takes longer; else 0."""
    device_s: float
    """Seconds of all GPUs together, or of all CPU cores if no GPU is used."""
    disk_bytes: int
    free_disk_bytes: int
    memory_bytes: int
    """Of all trials that run side by side."""
    slowdown: float
    """Wall time over computing time while speeds were measured: the load of the machine."""

    def table(self) -> dict[str, Any]:
        """The [forecast] section of run.toml."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The speed of a config with the first of `Workload.multiply_adds`, among as many trials as run side by side."""

    image_s: float
    """Seconds per training image on an otherwise idle machine."""
    slowdown: float
    memory_bytes: float


def make_forecast(work: Workload) -> Forecast:
    """The forecast; takes no time unless nothing was measured yet, and then a few training steps."""
    settings, slots, speed = work.settings, work.slots, _speed(work)
    epochs = expected_epochs(settings, settings.num_trials)
    # The last trials run at the same time, so a search takes at least as long as one full training.
    search_epochs = max(epochs / slots.num_concurrent, settings.max_epochs)
    epoch_s = _epoch_s(work, speed)
    retrain_s = work.retrain_cost.wall_epochs * epoch_s
    certain_s = work.preparation_s + START_S * speed.slowdown + retrain_s
    unlimited_s = certain_s + search_epochs * epoch_s
    # The budget starts no more trials, but one trains to the end whatever that takes, and the retraining follows.
    least_s = certain_s + min(search_epochs, least_epochs(settings)) * epoch_s
    limit_s = settings.time_budget_s or float("inf")
    wall_s, high_s = (min(factor * unlimited_s, max(limit_s, factor * least_s)) for factor in (1.0, HIGH))
    search_s = wall_s - certain_s
    busy_s = slots.num_concurrent * slots.cpus_per_trial * (search_s + retrain_s)
    return Forecast(
        num_trials=settings.num_trials,
        num_concurrent=slots.num_concurrent,
        cpus_per_trial=slots.cpus_per_trial,
        gpus=slots.gpus,
        epochs=epochs,
        retraining=f"the retraining of {RetrainPlan.of(settings).words(has_baselines=settings.baseline)}",
        retrain_epochs=work.retrain_cost.epochs,
        search_s=search_s,
        retrain_s=retrain_s,
        wall_s=wall_s,
        low_s=LOW * wall_s,
        high_s=high_s,
        over_budget_s=max(0.0, wall_s - limit_s),
        device_s=slots.gpus * (search_s + retrain_s) if slots.gpus else busy_s,
        disk_bytes=run_bytes(num_unfinished=settings.num_trials, num_params=settings.max_params, epochs=epochs),
        free_disk_bytes=_free_disk(settings),
        memory_bytes=round(slots.num_concurrent * _trial_bytes(work, speed)),
        slowdown=speed.slowdown,
    )


def _epoch_s(work: Workload, speed: Speed) -> float:
    """Wall time of a trial's epoch, the mean over the configs."""
    typical = max(1, work.multiply_adds[0])
    cost: float = sum((max(1, one) / typical) ** COST_POWER for one in work.multiply_adds) / len(work.multiply_adds)
    num_images = work.num_train + EVALUATION_SHARE * work.num_val
    return num_images * speed.image_s * cost * speed.slowdown


def _speed(work: Workload) -> Speed:
    """From the packing that was chosen, or else from a step of the seed network."""
    per_device = max(1, work.slots.num_concurrent // max(1, work.slots.gpus))
    packings = {row["num_trials"]: row for row in work.measurements.get("packing", ()) if row["images_per_s"]}
    chosen = packings.get(per_device)
    if chosen is not None:
        return Speed(image_s=chosen["image_s"], slowdown=chosen["slowdown"], memory_bytes=chosen["memory_bytes"])
    names = ("precision", "channels_last", "compile")
    engine_rows = work.measurements.get("engine", ())
    rows = [row for row in engine_rows if all(row[name] == getattr(work.engine, name) for name in names)]
    row = rows[0] if rows else measure_step(work.engine, work.probe)
    ratio = max(1, work.multiply_adds[0]) / work.probe_multiply_adds
    one_s = row["step_ms"] / 1000 / row["batch_size"] * ratio**COST_POWER
    # As if the trials shared a GPU without loss or gain.
    image_s = one_s * per_device if work.slots.gpus else one_s / work.slots.cpus_per_trial**THREADS_POWER
    return Speed(image_s=image_s, slowdown=row["slowdown"], memory_bytes=0.0)


def _trial_bytes(work: Workload, speed: Speed) -> float:
    if work.slots.gpus:
        return speed.memory_bytes or BYTES_PER_NUMBER * work.memory_need
    return WORKER_BYTES + BYTES_PER_NUMBER * work.memory_need


def _free_disk(settings: SearchSettings) -> int:
    folder = settings.results_dir.absolute()
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if os.path.lexists(path))).free
