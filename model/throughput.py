"""A process that trains on random images when told to and says how fast: `python -m model.throughput`.

Reads one JSON object a line, {"config": flat config, "engine": Engine fields, "image_size": pixels, "seconds": s} and
optionally "num_train", images of an epoch. Answers each with a line, what `measure` says, or {} if the config cannot be
trained or 0 seconds were asked for. Several such processes told at once measure trials side by side.
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
from model.training import DivergedError, SharedImages, Training

_STEPS_PER_EPOCH = 4
_MIN_EPOCHS = 2
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


def measure(request: dict[str, Any]) -> dict[str, float]:
    """Speed over at least `seconds` and two epochs, of four steps unless told otherwise, after one to warm up.

    `images_per_s` is by the clock. `image_s`, seconds for each image, is as if nothing else ran here: on a CPU, of the
    fastest epoch in the time that its main thread computed. `slowdown` is how many times as long it took by the clock.
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
    """Noise cannot be learned, and some configs diverge on it: their epochs take as long."""
    with contextlib.suppress(DivergedError):
        training.train_epoch()


def _random_images(num_images: int, image_size: int, device: torch.device) -> SharedImages:
    generator = torch.Generator().manual_seed(0)
    shape = (num_images, image_size, image_size, 3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return SharedImages(
        images=images.to(device),
        labels=torch.randint(0, 10, (num_images,), generator=generator).to(device),
        train_indices=torch.arange(num_images, device=device),
        val_indices=torch.arange(0, device=device),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        num_classes=10,
    )


def memory_bytes(engine: Engine) -> float:
    """The most that this process held so far, of the GPU's memory where the engine trains on one."""
    if engine.device_type == "cuda":
        return float(torch.cuda.max_memory_reserved(engine.device))
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT)


def serve(requests: Iterable[str]) -> None:
    """Answers each request on standard output."""
    for line in requests:
        try:
            answer = measure(json.loads(line))
        except (RuntimeError, ValueError):  # of torch: too little memory, as a rule
            answer = {}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.stdin)
