"""Does the fast path learn the same? `python -m benchmarks.accuracy --dataset FOLDER --out F`.

The seed config, 3 epochs on a fixed stratified subset of 10,000 training images, validated on the split's tenth: the
engine that this machine chooses against the plain fp32 path, the same 5 seeds on both sides. After three epochs the
validation accuracy of one seed moves by three points with any rounding; the mean training loss of the last epoch is the
finer measure.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from pathlib import Path

import torch

from benchmarks.conditions import parser, write_result
from model.config import SEED_CONFIG
from model.data import channel_statistics, load_training_data
from model.engine import Engine
from model.engine_choice import choose_engine
from model.split_images import ImageTensors
from model.splits import stratified_split, stratified_subset
from model.training import EpochMetrics, Training, train_epochs

_NUM_EXAMPLES, _MAX_EPOCHS = 10_000, 3


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--dataset", required=True, help="folder of images")
    options.add_argument("--device", default="cpu", help="cpu, cuda or mps (cpu)")
    arguments = options.parse_args()
    fast, _ = choose_engine(arguments.device, num_threads=arguments.threads)
    plain = Engine(device=arguments.device, num_threads=arguments.threads)
    images = _subset(arguments.dataset, arguments.device)
    ends: dict[str, list[EpochMetrics]] = {"fast": [], "plain": []}
    for seed in range(arguments.repeats):
        for name, engine in (("fast", fast), ("plain", plain)):
            ends[name].append(_last_epoch(images, seed, engine))
            print(f"seed {seed}, {name}: {_values(ends[name][-1])}", flush=True)
    result: dict[str, object] = {"benchmark": "accuracy", "fast": dataclasses.asdict(fast)}
    for key, unit in (("val_accuracy", "fraction"), ("train_loss", "nats")):
        values = {name: [getattr(end, key) for end in metrics] for name, metrics in ends.items()}
        differences = [one - other for one, other in zip(values["fast"], values["plain"], strict=True)]
        mean, error = statistics.mean(differences), statistics.stdev(differences) / math.sqrt(len(differences))
        print(f"{key}, {unit}: fast minus plain {mean:+.4f}, standard error {error:.4f}, n={len(differences)}")
        result[key] = {**values, "mean_difference": mean, "standard_error": error}
    write_result(arguments.out, result)


def _subset(dataset: str, device: str) -> ImageTensors:
    data = load_training_data(dataset, image_size=None, seed=0, data_dir=Path("data"))
    split = stratified_split(data.examples.labels, seed=0)
    chosen = stratified_subset(data.examples.labels, split.train_indices, _NUM_EXAMPLES, seed=0)
    mean, std = channel_statistics(data.examples.images, chosen)
    return ImageTensors(
        images=torch.from_numpy(data.examples.images).to(device),
        labels=torch.from_numpy(data.examples.labels).to(device),
        train_indices=torch.from_numpy(chosen).to(device),
        val_indices=torch.from_numpy(split.val_indices).to(device),
        mean=mean,
        std=std,
        num_classes=len(data.class_names),
    )


def _last_epoch(images: ImageTensors, seed: int, engine: Engine) -> EpochMetrics:
    *_, last = train_epochs(Training(SEED_CONFIG, images, max_epochs=_MAX_EPOCHS, seed=seed, engine=engine))
    return last


def _values(metrics: EpochMetrics) -> str:
    return f"validation accuracy {metrics.val_accuracy:.4f}, mean training loss {metrics.train_loss:.4f}"


if __name__ == "__main__":
    main()
