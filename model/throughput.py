"""A process that measures training speed on random images: `python -m model.throughput`.

It reads one JSON object per line, {"config": flat config, "engine": Engine fields, "image_size": pixels, "seconds": s}
and optionally "num_train", the images of an epoch. It answers with one line per request, the result of `measure`, or {}
if the config cannot be trained or "seconds" is 0. Several such processes at once measure trials side by side.
"""

from __future__ import annotations

import contextlib
import json
import resource
import statistics
import sys
import time
from collections.abc import Iterable
from typing import Any

import torch

from model.config import TrainConfig
from model.engine import Engine
from model.split_images import ImageTensors
from model.training import DivergedError, Training

_STEPS_PER_EPOCH = 4
_MIN_EPOCHS = 2
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss


def measure(request: dict[str, Any]) -> dict[str, float]:
    """Measure for at least `seconds` and two epochs after a warm-up epoch; an epoch is four steps by default.

    `images_per_s` is by the wall clock. `image_s`, seconds per image, excludes other load on the machine: on a CPU it
    is the computing time of the main thread in the fastest epoch. `slowdown` is wall time over computing time, at least
    1. `memory_bytes` is the peak memory.
    """
    config = TrainConfig.from_flat(request["config"])
    engine = Engine(**request["engine"])
    num_train = request.get("num_train", config.batch_size * _STEPS_PER_EPOCH)
    images = _random_images(num_train, request["image_size"], torch.device(engine.device))
    training = Training(config, images, max_epochs=1_000_000, seed=0, engine=engine)
    is_cpu = engine.device_type == "cpu"
    clock = time.thread_time if is_cpu else time.perf_counter
    _train_epoch(training)
    if not request["seconds"]:
        return {}
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


def _random_images(num_images: int, image_size: int, device: torch.device) -> ImageTensors:
    generator = torch.Generator().manual_seed(0)
    shape = (num_images, image_size, image_size, 3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return ImageTensors(
        images=images.to(device),
        labels=torch.randint(0, 10, (num_images,), generator=generator).to(device),
        train_indices=torch.arange(num_images, device=device),
        val_indices=torch.arange(0, device=device),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        num_classes=10,
    )


def memory_bytes(engine: Engine) -> float:
    """Peak memory of this process in bytes: GPU memory if the engine uses CUDA, else main memory."""
    if engine.device_type == "cuda":
        return float(torch.cuda.max_memory_reserved(engine.device))
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT)


def serve(requests: Iterable[str]) -> None:
    """Answer each request on standard output."""
    for line in requests:
        try:
            answer = measure(json.loads(line))
        except (RuntimeError, ValueError):  # from torch, usually out of memory
            answer = {}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.stdin)
