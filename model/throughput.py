"""A process that trains on random images when told to and says how fast: `python -m model.throughput`.

Reads one JSON object a line, {"config": flat config, "engine": Engine fields, "image_size": pixels, "seconds": s}, and
answers each with a line {"images_per_s": x}. Several such processes told at once measure trials side by side.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import Any

import torch

from model.config import TrainConfig
from model.engine import Engine
from model.training import SharedImages, Training

_STEPS_PER_EPOCH = 4


def measure(request: dict[str, Any]) -> float:
    """Training images a second over at least `seconds`, after one epoch of four steps to warm up."""
    config = TrainConfig.from_flat(request["config"])
    engine = Engine(**request["engine"])
    images = _random_images(config.batch_size * _STEPS_PER_EPOCH, request["image_size"], torch.device(engine.device))
    training = Training(config, images, max_epochs=1_000_000, seed=0, engine=engine)
    training.train_epoch()
    num_epochs, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < request["seconds"]:
        training.train_epoch()
        num_epochs += 1
    return num_epochs * len(images.train_indices) / elapsed


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


def serve(requests: Iterable[str]) -> None:
    """Answers each request on standard output."""
    for line in requests:
        sys.stdout.write(json.dumps({"images_per_s": measure(json.loads(line))}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.stdin)
