"""Speed of training at batch 256: `python -m benchmarks.training --out F`.

First the seed network against R0 (the usual script): images a second of whole epochs, evaluation included. Then the
seed network and the space's default against R1 (the convolutions and max-pools alone in our precision, forward and
backward): a step's time with everything that belongs to it. Random images unless --dataset names a folder; the speed
is the same.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from benchmarks.conditions import parser, write_result
from benchmarks.pairs import measure_pairs
from benchmarks.references import BATCH_SIZE, MEAN, STD, convolutions_alone, default_config, loader, usual_network
from model.config import SEED_CONFIG, TrainConfig
from model.data import load_training_data
from model.engine import Engine, synchronise
from model.engine_choice import choose_engine
from model.network_config import NetworkConfig
from model.split_images import ImageTensors
from model.training import Training

_FOREVER = 1_000_000


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--device", default="cpu", help="cpu, cuda or mps (cpu)")
    options.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto", help="of ours (auto)")
    options.add_argument("--dataset", help="folder of images (random ones)")
    options.add_argument("--steps", type=int, default=10, help="steps of 256 images an epoch (10)")
    arguments = options.parse_args()
    engine, choices = choose_engine(
        arguments.device, num_threads=arguments.threads, precision=arguments.precision, steps_per_training=5000
    )
    print(engine)
    images, labels = _images(arguments.dataset, arguments.steps * BATCH_SIZE * 10 // 9)
    num_val = len(images) - arguments.steps * BATCH_SIZE
    against_usual = measure_pairs(
        "images/s of training and evaluation over R0's",
        _our_epoch(images, labels, num_val, engine),
        usual_epoch(images, labels, num_val, engine),
        num_pairs=arguments.repeats,
    )
    print(against_usual)
    over_floor = [
        measure_pairs(
            f"seconds a step of the {name} over R1's",
            _our_step(config, images, labels, engine),
            _floor_step(config, engine),
            num_pairs=arguments.repeats * 2,
        )
        for name, config in (("seed config", SEED_CONFIG), ("space's default", default_config()))
    ]
    for pairs in over_floor:
        print(pairs)
    results = [pairs.summary() for pairs in (against_usual, *over_floor)]
    setting = {"benchmark": "training", "engine": dataclasses.asdict(engine), "engine_choices": choices}
    write_result(arguments.out, {**setting, "results": results})


def random_images(num_images: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """uint8 (N, 32, 32, 3) and labels 0..9."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (num_images, 32, 32, 3), dtype=np.uint8), generator.integers(0, 10, num_images)


def _images(dataset: str | None, num_images: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if dataset is None:
        return random_images(num_images)
    data = load_training_data(dataset, image_size=32, seed=0, data_dir=Path("data"))
    return data.examples.images[:num_images], data.examples.labels[:num_images]


def shared_images(images: NDArray[np.uint8], labels: NDArray[np.int64], num_val: int, engine: Engine) -> ImageTensors:
    """The images on the engine's device, the first `num_val` for validation."""
    return ImageTensors(
        images=torch.from_numpy(images).to(engine.device),
        labels=torch.from_numpy(labels).to(engine.device),
        train_indices=torch.arange(num_val, len(images), device=engine.device),
        val_indices=torch.arange(num_val, device=engine.device),
        mean=MEAN,
        std=STD,
        num_classes=10,
    )


def _our_epoch(
    images: NDArray[np.uint8], labels: NDArray[np.int64], num_val: int, engine: Engine
) -> Callable[[], float]:
    shared = shared_images(images, labels, num_val, engine)
    training = Training(SEED_CONFIG, shared, max_epochs=_FOREVER, seed=0, engine=engine)
    return lambda: training.train_epoch().images_per_s


def _our_step(
    config: TrainConfig, images: NDArray[np.uint8], labels: NDArray[np.int64], engine: Engine
) -> Callable[[], float]:
    shared = shared_images(images[: 3 * BATCH_SIZE], labels[: 3 * BATCH_SIZE], 0, engine)
    training = Training(config, shared, max_epochs=_FOREVER, seed=0, engine=engine)
    return lambda: training.train_epoch().seconds / 3


def usual_epoch(
    images: NDArray[np.uint8], labels: NDArray[np.int64], num_val: int, engine: Engine
) -> Callable[[], float]:
    """R0: images a second of one epoch in plain fp32, its evaluation included."""
    train = loader(images[num_val:], labels[num_val:], num_workers=engine.num_threads, is_training=True)
    val = loader(images[:num_val], labels[:num_val], num_workers=engine.num_threads, is_training=False)
    network = usual_network().to(engine.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=SEED_CONFIG.recipe.lr, momentum=SEED_CONFIG.recipe.momentum)

    def epoch() -> float:
        torch.set_num_threads(engine.num_threads)
        start = time.perf_counter()
        num_images = 0
        network.train()
        for batch, targets in train:
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(batch.to(engine.device)), targets.to(engine.device))
            torch.autograd.backward(loss)
            optimizer.step()
            num_images += len(batch)
            loss.item()
        network.eval()
        with torch.no_grad():
            for batch, targets in val:
                (network(batch.to(engine.device)).argmax(1) == targets.to(engine.device)).sum().item()
        return num_images / (time.perf_counter() - start)

    return epoch


def _floor_step(config: TrainConfig, engine: Engine) -> Callable[[], float]:
    """R1: seconds of one forward and backward pass, averaged over three, of the convolutions and max-pools."""
    network = (
        convolutions_alone(NetworkConfig.from_flat(config.network))
        .to(engine.device)
        .to(memory_format=engine.memory_format)
    )
    batch = torch.randn(BATCH_SIZE, 3, 32, 32, dtype=engine.dtype, device=engine.device)
    batch = batch.to(memory_format=engine.memory_format)

    def step() -> float:
        engine.apply()
        start = time.perf_counter()
        for _ in range(3):
            with engine.autocast():
                logits = network(batch)
            torch.autograd.backward(logits.float().sum())
            network.zero_grad(set_to_none=True)
        synchronise(engine)
        return (time.perf_counter() - start) / 3

    return step


if __name__ == "__main__":
    main()
