"""Augmented images a second (crop, mirror, rotation 8 degrees, normalised): `python -m benchmarks.loader --out F`.

Ours: batches of 256 in the precision the engine chooses. Reference R0: torchvision's transforms an image at a time in
a DataLoader with a worker a core. No network runs on either side.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks.conditions import parser, write_result
from benchmarks.pairs import measure_pairs
from benchmarks.references import BATCH_SIZE, MEAN, STD, loader
from model.augment import Augmentation, augment, to_device
from model.config import SEED_CONFIG

_NUM_IMAGES = 50_000


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--device", default="cpu", help="cpu, cuda or mps (cpu)")
    options.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="of our batches (bf16)")
    arguments = options.parse_args()
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (_NUM_IMAGES, 32, 32, 3), dtype=np.uint8)
    labels = generator.integers(0, 10, _NUM_IMAGES)
    usual = loader(images[:10_000], labels[:10_000], num_workers=arguments.threads, is_training=True)
    shared = torch.from_numpy(images).to(arguments.device)
    augmentation = Augmentation(SEED_CONFIG.recipe, height=32, width=32, device=arguments.device)
    torch.set_num_threads(arguments.threads)

    def ours() -> float:
        start = time.perf_counter()
        num_images = _NUM_IMAGES // BATCH_SIZE * BATCH_SIZE
        order = to_device(torch.from_numpy(generator.permutation(_NUM_IMAGES)[:num_images]), arguments.device)
        draws = augmentation.draw(num_images, generator)
        for first in range(0, num_images, BATCH_SIZE):
            part = slice(first, first + BATCH_SIZE)
            batch = augment(
                shared.index_select(0, order[part]),
                draws[part],
                augmentation,
                mean=MEAN,
                std=STD,
                dtype=getattr(torch, arguments.dtype),
            )
        batch.sum().item()  # waits for a GPU
        return num_images / (time.perf_counter() - start)

    def reference() -> float:
        start = time.perf_counter()
        num_images = sum(len(batch) for batch, _ in usual)
        return num_images / (time.perf_counter() - start)

    pairs = measure_pairs("augmented images/s over R0's", ours, reference, num_pairs=arguments.repeats)
    print(pairs)
    setting = {"device": arguments.device, "threads": arguments.threads, "dtype": arguments.dtype}
    write_result(arguments.out, {"benchmark": "loader", **setting, "results": [pairs.summary()]})


if __name__ == "__main__":
    main()
