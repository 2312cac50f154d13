"""Does the fast path learn the same? `python -m benchmarks.accuracy --dataset FOLDER --out F`.

The seed config, 3 epochs on a fixed stratified subset of 10,000 training images, validated on the split's tenth: the
engine that this machine chooses against the plain fp32 path, the same 5 seeds on both sides.
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
from model.engine import Engine, choose_engine
from model.splits import stratified_split, stratified_subset
from model.training import SharedImages, Training, train_epochs

_NUM_EXAMPLES, _MAX_EPOCHS = 10_000, 3


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--dataset", required=True, help="folder of images")
    options.add_argument("--device", default="cpu", help="cpu, cuda or mps (cpu)")
    arguments = options.parse_args()
    fast, _ = choose_engine(arguments.device, num_threads=arguments.threads)
    plain = Engine(device=arguments.device, num_threads=arguments.threads)
    images = _subset(arguments.dataset, arguments.device)
    accuracies: dict[str, list[float]] = {"fast": [], "plain": []}
    for seed in range(arguments.repeats):
        for name, engine in (("fast", fast), ("plain", plain)):
            accuracies[name].append(_val_accuracy(images, seed, engine))
            print(f"seed {seed}, {name}: {accuracies[name][-1]:.4f}", flush=True)
    differences = [one - other for one, other in zip(accuracies["fast"], accuracies["plain"], strict=True)]
    mean, error = statistics.mean(differences), statistics.stdev(differences) / math.sqrt(len(differences))
    print(f"fast minus plain: {100 * mean:+.2f} points, standard error {100 * error:.2f}, n={len(differences)}")
    result = {"fast": dataclasses.asdict(fast), "accuracies": accuracies, "mean_difference": mean}
    write_result(arguments.out, {"benchmark": "accuracy", **result, "standard_error": error})


def _subset(dataset: str, device: str) -> SharedImages:
    data = load_training_data(dataset, image_size=None, seed=0, data_dir=Path("data"))
    split = stratified_split(data.examples.labels, seed=0)
    chosen = stratified_subset(data.examples.labels, split.train_indices, _NUM_EXAMPLES, seed=0)
    mean, std = channel_statistics(data.examples.images, chosen)
    return SharedImages(
        images=torch.from_numpy(data.examples.images).to(device),
        labels=torch.from_numpy(data.examples.labels).to(device),
        train_indices=torch.from_numpy(chosen).to(device),
        val_indices=torch.from_numpy(split.val_indices).to(device),
        mean=mean,
        std=std,
        num_classes=len(data.class_names),
    )


def _val_accuracy(images: SharedImages, seed: int, engine: Engine) -> float:
    training = Training(SEED_CONFIG, images, max_epochs=_MAX_EPOCHS, seed=seed, engine=engine)
    *_, last = train_epochs(training)
    assert last.val_accuracy is not None
    return last.val_accuracy


if __name__ == "__main__":
    main()
