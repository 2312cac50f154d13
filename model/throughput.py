"""A process that measures training speed on random images: `python -m model.throughput`.

It reads one JSON object per line and answers each with one line: the result of `measure` or, for a request with the
key "choose", of `choose`; {"error": why} if that cannot be trained here. Several such processes at once measure trials
side by side. Whatever they do on a GPU ends with them.
"""

from __future__ import annotations

import contextlib
import json
import resource
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, TextIO

import torch

from model.builder import Builder
from model.config import TrainConfig
from model.device_errors import telling_line
from model.engine import Engine
from model.engine_choice import choose_engine, measure_step
from model.network_source import BUILT_IN, NetworkSource, builder_of
from model.probe import SEED_PROBE, Probe
from model.split_images import ImageTensors
from model.training import DivergedError, Training

_STEPS_PER_EPOCH = {"cpu": 4, "cuda": 50, "mps": 20}
"""Enough that a GPU spends its time in steps and not at the ends of epochs, where it is waited for."""
_MIN_EPOCHS = 2
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss


def choose(request: dict[str, Any]) -> dict[str, Any]:
    """The fields of the engine to use, its measurements, the [free, total] bytes of memory that each of `gpus` GPUs had
    before, and the bytes that the measurements needed.

    `choose` holds the arguments of `choose_engine`; "probe", if given, a `Probe` with a network source as
    its builder. An engine that needs no choice is measured, too: it may not work.
    """
    num_gpus = min(request["gpus"], torch.cuda.device_count())
    memory = [torch.cuda.mem_get_info(index) for index in range(num_gpus)]
    probe, left_out = _probe(request), list[str]()
    engine, rows = choose_engine(**request["choose"], probe=probe, on_failure=left_out.append)
    rows = rows or [measure_step(engine, probe)]
    answer = {"engine": asdict(engine), "rows": rows, "left_out": left_out}
    return {**answer, "memory": memory, "needed": memory_bytes(engine)}


def _probe(request: dict[str, Any]) -> Probe:
    given = request.get("probe")
    return SEED_PROBE if given is None else Probe(**{**given, "build": _builder(given["build"])})


def _builder(source: dict[str, Any]) -> Builder:
    return builder_of(NetworkSource(**source))


def measure(request: dict[str, Any]) -> dict[str, float]:
    """Measure {"config": flat config, "engine": Engine fields, "image_size": pixels, "seconds": s, "num_train": n},
    and for another network than a built-in one "network": its source, and "num_classes".

    An epoch has n images, or a number of steps that suits the device. Measures for at least `seconds` and two epochs
    after a warm-up epoch; 0 seconds are the warm-up alone. `images_per_s` is by the wall clock. `image_s`, seconds per
    image, excludes other load on the machine: on a CPU it is the computing time of the main thread in the fastest
    epoch. `slowdown` is wall time over computing time, at least 1. `memory_bytes` is the process's peak memory.
    """
    config = TrainConfig.from_flat(request["config"])
    engine = Engine(**request["engine"])
    num_train = request.get("num_train", config.recipe.batch_size * _STEPS_PER_EPOCH[engine.device_type])
    num_classes = request.get("num_classes", 10)
    images = _random_images(num_train, request["image_size"], num_classes, torch.device(engine.device))
    build = _builder(request.get("network", asdict(BUILT_IN)))
    training = Training(config, images, max_epochs=1_000_000, seed=0, engine=engine, build=build)
    is_cpu = engine.device_type == "cpu"
    clock = time.thread_time if is_cpu else time.perf_counter
    _train_epoch(training)
    if not request["seconds"]:
        return {"memory_bytes": memory_bytes(engine)}
    epochs_s: list[float] = []
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < request["seconds"] or len(epochs_s) < _MIN_EPOCHS:
        epoch_start = clock()
        _train_epoch(training)
        epochs_s.append(clock() - epoch_start)
    num_images = training.steps_per_epoch * training.batch_size
    return {
        "images_per_s": len(epochs_s) * num_images / elapsed,
        "image_s": (min(epochs_s) if is_cpu else statistics.median(epochs_s)) / num_images,
        "slowdown": max(1.0, elapsed / sum(epochs_s)) if is_cpu else 1.0,
        "memory_bytes": memory_bytes(engine),
    }


def _train_epoch(training: Training) -> None:
    """Train one epoch. Some configs diverge on random images; their epochs take just as long."""
    with contextlib.suppress(DivergedError):
        training.train_epoch()


def _random_images(num_images: int, image_size: int, num_classes: int, device: torch.device) -> ImageTensors:
    generator = torch.Generator().manual_seed(0)
    shape = (num_images, image_size, image_size, 3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return ImageTensors(
        images=images.to(device),
        labels=torch.randint(0, num_classes, (num_images,), generator=generator).to(device),
        train_indices=torch.arange(num_images, device=device),
        val_indices=torch.arange(0, device=device),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        num_classes=num_classes,
    )


def memory_bytes(engine: Engine) -> float:
    """Peak memory of this process in bytes: GPU memory if the engine uses CUDA, else main memory."""
    if engine.device_type == "cuda":
        return float(torch.cuda.max_memory_reserved(engine.device))
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT)


def serve(requests: Iterable[str], answers: TextIO) -> None:
    """Answer each request with a line."""
    for line in requests:
        try:
            request = json.loads(line)
            answer = choose(request) if "choose" in request else measure(request)
        except Exception as error:  # from torch, usually out of memory, or from a user's network
            answer = {"error": telling_line(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what a user's network prints is no answer
        serve(sys.stdin, answers)
