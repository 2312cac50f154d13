"""How many trials to run side by side: more, until a measurement shows that their summed images/s stop growing."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from model.config import TrainConfig
from model.engine import Engine
from model.network_source import BUILT_IN, NetworkSource
from search.errors import UserError
from search.machine.measuring import measuring_processes
from search.machine.slots import Slots
from search.settings import SearchSettings

MEASURE_S = 2.0
QUICK_S = 0.7
"""A first look, which decides where one candidate is `CLEAR` times as fast as the other."""
CLEAR = 1.2
_NUM_STARTED = 2
"""Processes that load their libraries side by side; the second candidate is nearly always measured."""
MAX_BATCH_SIZE = 128
"""Smaller than in most configs, so that the fixed cost of a step shows."""
MOST_PER_GPU = 8
MIN_GROWTH = 1.03
"""Doubling the trials must speed up by this factor; less could be noise of so short a measurement."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """A measurement of some trials side by side on one device."""

    num_trials: int
    cpus_per_trial: int
    images_per_s: float
    """Summed over the trials, in wall time; 0 if one of them could not train."""
    image_s: float = 0.0
    """Seconds of one trial for an image, without the load of other programs."""
    slowdown: float = 1.0
    """Wall time as a multiple of that."""
    memory_bytes: float = 0.0
    """Peak memory of the hungriest trial."""
    seconds: float = 0.0
    """How long it was measured."""
    error: str = ""
    """Why one of them could not train."""


Measure = Callable[[int, int, float], Packing]
"""(trials, CPU cores of each, seconds) -> the measurement."""


def measure_packings(candidates: Sequence[tuple[int, int]], measure: Measure) -> tuple[Packing, list[Packing]]:
    """Measures candidates (num_trials, cpus_per_trial), fewest trials first, up to the first that gains too little.

    Each for `QUICK_S`, and longer where that leaves it open. Returns the best and all measurements; the first if even
    that cannot train.
    """
    tried: list[Packing] = []
    best: Packing | None = None
    for candidate in candidates:
        tried.append(measure(*candidate, QUICK_S))
        if best is not None and best.images_per_s / CLEAR < tried[-1].images_per_s < best.images_per_s * CLEAR:
            if best.seconds < MEASURE_S:
                best = tried[-2] = measure(best.num_trials, best.cpus_per_trial, MEASURE_S)
            tried[-1] = measure(*candidate, MEASURE_S)
        if best is not None and tried[-1].images_per_s < MIN_GROWTH * best.images_per_s:
            break
        best = tried[-1]
        if not best.images_per_s:  # then more side by side cannot train either
            break
    if best is None:
        raise ValueError("`candidates` must not be empty; got none.")
    return best, tried


def cpu_candidates(num_cpus: int) -> list[tuple[int, int]]:
    """One trial on all cores, then double the trials on half the cores each, down to one core each."""
    counts = [2**power for power in range(num_cpus.bit_length()) if 2**power < num_cpus]
    return [(count, num_cpus // count) for count in [*counts, num_cpus]]


def gpu_candidates(num_cpus: int, gpus: int, most: int = MOST_PER_GPU) -> list[tuple[int, int]]:
    """1, 2, 4 ... `most` trials on one GPU, and the CPU cores of each when all GPUs run as many."""
    counts = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [(count, max(1, num_cpus // (count * gpus))) for count in [*counts, most]]


@contextlib.contextmanager
def throughput_processes(
    config: TrainConfig,
    engine: Engine,
    image_size: int,
    *,
    num_classes: int = 10,
    network: NetworkSource = BUILT_IN,
    deadline: float = math.inf,
) -> Iterator[Measure]:
    """Yields the function that measures one candidate on real processes.

    A measurement that has not ended by `deadline` (by time.monotonic()) counts as not trainable.
    """
    with measuring_processes(_NUM_STARTED) as ask:

        def measure(num_trials: int, cpus_per_trial: int, seconds: float) -> Packing:
            request: dict[str, Any] = {
                "config": {**config.flat(), "batch_size": min(MAX_BATCH_SIZE, config.recipe.batch_size)},
                "engine": asdict(replace(engine, num_threads=cpus_per_trial)),
                "image_size": image_size,
                "network": asdict(network),
                "num_classes": num_classes,
            }
            # A warm-up: all processes load their libraries before any is measured. On a GPU it takes a step of the
            # config's own batch, because trials have to share the card's memory.
            whole = request["config"] if engine.device_type == "cpu" else config.flat()
            batch_size = whole["batch_size"]
            answers = ask(num_trials, {**request, "config": whole, "num_train": batch_size, "seconds": 0.0}, deadline)
            if all("error" not in answer for answer in answers):
                answers = ask(num_trials, {**request, "seconds": seconds}, deadline)
            return _packing(answers, cpus_per_trial, seconds)

        yield measure


def _packing(answers: Sequence[Mapping[str, Any]], cpus_per_trial: int, seconds: float) -> Packing:
    """The measurement made of the answer of each process."""
    if errors := [str(answer["error"]) for answer in answers if "error" in answer]:
        return Packing(num_trials=len(answers), cpus_per_trial=cpus_per_trial, images_per_s=0.0, error=errors[0])
    return Packing(
        num_trials=len(answers),
        cpus_per_trial=cpus_per_trial,
        images_per_s=sum(answer["images_per_s"] for answer in answers),
        image_s=statistics.median(answer["image_s"] for answer in answers),
        slowdown=statistics.median(answer["slowdown"] for answer in answers),
        memory_bytes=max(answer["memory_bytes"] for answer in answers),
        seconds=seconds,
    )


def choose_slots(
    settings: SearchSettings,
    engine: Engine,
    config: TrainConfig,
    *,
    num_cpus: int,
    image_size: int,
    num_classes: int = 10,
    network: NetworkSource = BUILT_IN,
    deadline: float = math.inf,
) -> tuple[Slots, list[Packing]]:
    """The slots of a run: as the settings say, else as measured with `config`. Returns them and the measurements.

    One trial for each CPU core or each GPU if that is not done by `deadline` (by time.monotonic()). UserError for more
    cores than there are.
    """
    if settings.cpus_per_trial is not None and settings.cpus_per_trial > num_cpus:
        raise UserError(
            f"--cpus-per-trial {settings.cpus_per_trial}: this machine has {num_cpus}. Ask for {num_cpus} or fewer."
        )
    is_cpu = engine.device_type == "cpu"
    if is_cpu and (settings.cpus_per_trial is not None or num_cpus == 1):
        cpus = settings.cpus_per_trial or 1
        return _cpu_slots(num_cpus // cpus, cpus), []
    if not is_cpu and settings.trials_per_gpu is not None:
        return _gpu_slots(settings, settings.trials_per_gpu, num_cpus), []
    candidates = cpu_candidates(num_cpus) if is_cpu else _fair_gpu_candidates(settings, num_cpus)
    with throughput_processes(
        config, engine, image_size, num_classes=num_classes, network=network, deadline=deadline
    ) as measure:
        best, tried = measure_packings(candidates, measure)
    num_trials, cpus_per_trial = best.num_trials, best.cpus_per_trial
    if time.monotonic() >= deadline:
        num_trials, cpus_per_trial = candidates[-1] if is_cpu else candidates[0]
        tried = [packing for packing in tried if packing.images_per_s]
    slots = _cpu_slots(num_trials, cpus_per_trial) if is_cpu else _gpu_slots(settings, num_trials, num_cpus)
    return slots, tried


def _fair_gpu_candidates(settings: SearchSettings, num_cpus: int) -> list[tuple[int, int]]:
    """Up to the trials that each GPU gets: Ray fills one after the other, and with more slots some would stay idle."""
    fair = math.ceil(settings.num_trials / settings.gpus)
    return gpu_candidates(num_cpus, settings.gpus, min(fair, MOST_PER_GPU))


def _cpu_slots(num_concurrent: int, cpus_per_trial: int) -> Slots:
    return Slots(num_concurrent=num_concurrent, cpus_per_trial=cpus_per_trial, gpus_per_trial=0.0, gpus=0)


def _gpu_slots(settings: SearchSettings, trials_per_gpu: int, num_cpus: int) -> Slots:
    num_concurrent = settings.gpus * trials_per_gpu
    return Slots(
        num_concurrent=num_concurrent,
        cpus_per_trial=settings.cpus_per_trial or max(1, num_cpus // num_concurrent),
        gpus_per_trial=1 / trials_per_gpu,
        gpus=settings.gpus,
    )
