"""What each part of the default recipe is worth: `python -m benchmarks.ingredients --dataset FOLDER --out F`.

Trains the space's default and changes of it, one thing at a time, with the same seeds: on 10,000 stratified training
images, scored on 20,000 others of the training file after the last epoch. One seed of all comes before the
next. Each finished training is a line of F; killed and started again, it goes on with the next. The table is printed
at the end, or with --seeds 0 at once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.conditions import conditions
from benchmarks.record_curves.plan import default_space, recorded_images
from benchmarks.record_curves.recording import Journal
from model.config import TrainConfig
from model.data import load_training_data
from model.engine import Engine
from model.evaluation import evaluate
from model.split_images import ImageTensors, on_device
from model.training import DivergedError, Training, train_epochs

NUM_IMAGES, _NUM_VAL = 10_000, 20_000


def _widths(**widths: int) -> dict[str, int]:
    """The same width for all convolutions of a block."""
    return {f"{block}_{part}": width for block, width in widths.items() for part in ("inner_width", "width")}


_SGD = {"optimizer": "nesterov", "momentum": 0.9, "lr": 0.1, "warmup_fraction": 0.2}
INGREDIENTS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "Muon's momentum 0.9, rate 0.045": {"momentum": 0.9, "muon_lr": 0.045},
    "Muon's momentum 0.9, rate 0.02": {"momentum": 0.9, "muon_lr": 0.02},
    "Muon's rate 0.07": {"muon_lr": 0.07},
    "Muon's rate 0.14": {"muon_lr": 0.14},
    "Nesterov SGD": _SGD,
    "AdamW": {"optimizer": "adamw"},
    "a learned first layer": {"stem": "none"},
    "random flip": {"alternating_flip": False},
    "no residual additions": {"residual": False},
    "max-pool after norm and activation": {"pool_order": "pool_last"},
    "average pooling alone": {"head": "average"},
    "black borders": {"crop_border": "black"},
    "a dense convolution on the smallest map, c3 less wide": {"output_num_convs": 2, **_widths(c3=128)},
    "ReLU": {"activation": "relu"},
    "learned norm scales": {"frozen_norm_scale": False},
    "ghost norm, 2 parts": {"norm": "ghost"},
    "cosine": {"schedule": "cosine"},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "moving average 0.99": {"ema_decay": 0.99},
    "crop by 4 pixels": {"crop_padding": 4},
    "cutout of 8 pixels": {"cutout_size": 8},
    "crop by 4 pixels, cutout of 8": {"crop_padding": 4, "cutout_size": 8},
    "all of c3 dilated": {"c3_kind": "dilated"},
    "a convolution less in c2 and c3, wider": {"c2_num_convs": 2, "c3_num_convs": 2, **_widths(c2=128, c3=160)},
    "two convolutions at full resolution": {"c1_num_convs": 2},
    "one convolution at full resolution": {"c1_num_convs": 1},
    "batch 256": {"batch_size": 256, "muon_lr": 0.14, "adamw_lr": 7e-3},
}
"""Changes of the default config, by name. The default, first, is what the others are compared with."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--dataset", required=True, help="folder of images")
    options.add_argument("--out", type=Path, required=True, help="file for finished trainings, a line each")
    options.add_argument("--seeds", type=int, default=3, help="seeds of each (3)")
    options.add_argument("--epochs", type=int, default=25, help="length of a training (25)")
    options.add_argument("--only", nargs="*", help="names of ingredients, beside the default (all)")
    options.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    arguments = options.parse_args()
    if unknown := sorted(set(arguments.only or ()) - set(INGREDIENTS)):
        options.error(f"--only: unknown ingredients {', '.join(unknown)}. Known: {', '.join(INGREDIENTS)}.")
    journal = Journal(
        arguments.out,
        {"epochs": arguments.epochs, "images": NUM_IMAGES, "threads": arguments.threads},
        lambda: {"conditions": conditions()},
    )
    names = [name for name in INGREDIENTS if name == "default" or not arguments.only or name in arguments.only]
    done = {(row["ingredient"], row["seed"]) for row in journal.rows}
    jobs = [(name, seed) for seed in range(arguments.seeds) for name in names if (name, seed) not in done]
    if jobs:
        train_all(jobs, journal, arguments.dataset, arguments.epochs)
    print(table(journal.rows))


def train_all(jobs: Sequence[tuple[str, int]], journal: Journal, dataset: str, num_epochs: int) -> None:
    """Train each (ingredient, seed) and keep it."""
    data = load_training_data(dataset, image_size=None, seed=0, data_dir=Path("data"))
    arrays = recorded_images(data, num_train=NUM_IMAGES, num_val=_NUM_VAL, seed=0)
    default = default_space(arrays).default_config()
    assert default is not None
    images = on_device(arrays, torch.device("cpu"))
    for name, seed in jobs:
        config = TrainConfig.from_flat({**default, **INGREDIENTS[name]})
        row = {"ingredient": name, "seed": seed, **_train(config, images, seed, num_epochs), "config": config.flat()}
        journal.add(row)
        print({key: value for key, value in row.items() if key != "config"}, flush=True)


def _train(config: TrainConfig, images: ImageTensors, seed: int, num_epochs: int) -> dict[str, Any]:
    """Accuracy after the last epoch, None if it diverged, and the computing time in seconds."""
    engine = Engine(precision="bf16", channels_last=True)
    start = time.process_time()
    unwatched = replace(images, val_indices=images.val_indices[:0])  # scored only at the end, which saves a fourth
    training = Training(config, unwatched, max_epochs=num_epochs, seed=seed, engine=engine)
    try:
        for _ in train_epochs(training):
            pass
        accuracy = evaluate(
            training.network,
            images.images,
            images.labels,
            images.val_indices,
            mean=images.mean,
            std=images.std,
            engine=engine,
        ).accuracy
    except DivergedError:
        accuracy = None
    return {"val_accuracy": accuracy, "seconds": round(time.process_time() - start)}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: each ingredient's gain over the default in points, paired by seed, best first."""
    scores: dict[str, dict[int, float]] = {}
    for row in rows:
        scores.setdefault(row["ingredient"], {})[row["seed"]] = row["val_accuracy"] or 0.0
    default = scores.get("default", {})
    lines = []
    for name, by_seed in scores.items():
        gains = [100 * (score - default[seed]) for seed, score in by_seed.items() if seed in default]
        seconds = statistics.mean(row["seconds"] for row in rows if row["ingredient"] == name)
        spread = f"{statistics.stdev(gains):.2f}" if len(gains) > 1 else ""
        mean = statistics.mean(gains) if gains else 0.0
        accuracy = 100 * statistics.mean(by_seed.values())
        lines.append((mean, f"| {name} | {len(gains)} | {accuracy:.2f} | {mean:+.2f} | {spread} | {seconds:.0f} |"))
    head = ["| change | n | accuracy, % | gain, points | std of the gain | seconds |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *(line for _, line in sorted(lines, reverse=True))])


if __name__ == "__main__":
    main()
