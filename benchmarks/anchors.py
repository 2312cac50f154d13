"""What published recipes reach on the same images: `python -m benchmarks.anchors NAME ...`.

Trains one network on all training images and scores it once on the test images: `default` and `seed`, the default of
the search space and the seed config, trained by this project; `convmixer`, ConvMixer-256/8; or `airbench`, airbench94's
network cut to 0.95 million parameters. Killed and started again, it goes on after the last finished epoch: the
project's own bit for bit, the others on other random draws.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.anchor_recipes import SIDE, Anchor, airbench_cut, convmixer
from benchmarks.conditions import parser, write_result
from benchmarks.references import default_config
from model.checkpoint import Checkpoint, newest_checkpoint, write_checkpoint
from model.config import SEED_CONFIG, TrainConfig
from model.data import channel_statistics, load_training_data
from model.engine import Engine
from model.evaluation import evaluate
from model.examples import Examples
from model.seeds import derive_seed
from model.split_images import ImageTensors
from model.test_data import load_test_data
from model.training import Training, train_epochs
from model.training_state import collect_tensors, restore_tensors

_ANCHORS = ("default", "seed", "convmixer", "airbench")


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("anchor", choices=_ANCHORS)
    options.add_argument("--dataset", required=True, help="folder of images")
    options.add_argument("--folder", type=Path, required=True, help="folder for checkpoints")
    options.add_argument("--epochs", type=int, default=25, help="epochs (25)")
    options.add_argument("--seed", type=int, default=0, help="seed (0)")
    arguments = options.parse_args()
    engine = Engine(precision="bf16", channels_last=True, num_threads=arguments.threads)
    engine.apply()
    images, test = _images(arguments.dataset)
    torch.manual_seed(arguments.seed)
    plan = {"num_epochs": arguments.epochs, "seed": arguments.seed, "folder": arguments.folder}
    if arguments.anchor in ("default", "seed"):
        config = SEED_CONFIG if arguments.anchor == "seed" else default_config()
        network = train_config(config, images, engine, **plan)
    else:
        anchor = convmixer(images) if arguments.anchor == "convmixer" else airbench_cut(images)
        anchor.network.to(memory_format=torch.channels_last)
        network = train(anchor, images, **plan)
    views = {"single_view": False, "flip_tta": True}
    accuracies = {name: _accuracy(network, images, test, engine, flip_tta=tta) for name, tta in views.items()}
    print(arguments.anchor, accuracies)
    num_params = sum(parameter.numel() for parameter in network.parameters())
    found = newest_checkpoint(arguments.folder)
    seconds = round(found.load()[1]["seconds"]) if found else 0
    settings = {"anchor": arguments.anchor, "epochs": arguments.epochs, "seed": arguments.seed}
    write_result(
        arguments.out,
        {"benchmark": "anchors", **settings, "num_params": num_params, "seconds": seconds, "test_accuracy": accuracies},
    )


def _images(dataset: str) -> tuple[ImageTensors, Examples]:
    """All training images, none held back, and the test images."""
    data = load_training_data(dataset, image_size=None, seed=0, data_dir=Path("data"))
    test = load_test_data(dataset, image_size=SIDE, seed=0, data_dir=Path("data"))
    every = np.arange(len(data.examples.labels))
    mean, std = channel_statistics(data.examples.images, every)
    images = ImageTensors(
        images=torch.from_numpy(data.examples.images),
        labels=torch.from_numpy(data.examples.labels),
        train_indices=torch.from_numpy(every),
        val_indices=torch.from_numpy(every[:0]),
        mean=mean,
        std=std,
        num_classes=len(data.class_names),
    )
    return images, test


def _accuracy(network: nn.Module, images: ImageTensors, test: Examples, engine: Engine, *, flip_tta: bool) -> float:
    arrays = torch.from_numpy(test.images), torch.from_numpy(test.labels)
    return evaluate(network, *arrays, None, mean=images.mean, std=images.std, engine=engine, flip_tta=flip_tta).accuracy


def train_config(
    config: TrainConfig, images: ImageTensors, engine: Engine, *, num_epochs: int, seed: int, folder: Path
) -> nn.Module:
    """Train a config with this project."""
    training = Training(config, images, max_epochs=num_epochs, seed=seed, engine=engine)
    found, seconds = newest_checkpoint(folder), 0.0
    if found is not None:
        tensors, meta = found.load()
        training.load_state(tensors, meta)
        seconds = meta["seconds"]
    for metrics in train_epochs(training):
        seconds += metrics.seconds
        tensors, meta = training.state()
        write_checkpoint(folder, Checkpoint.of(training.epoch, tensors, {**meta, "seconds": seconds}))
        print(f"epoch {metrics.epoch}: loss {metrics.train_loss:.4f}, {seconds:.0f} s in all", flush=True)
    return training.network


def train(anchor: Anchor, images: ImageTensors, *, num_epochs: int, seed: int, folder: Path) -> nn.Module:
    """Train to the end, from the newest checkpoint in `folder`."""
    found = newest_checkpoint(folder)
    networks = {"network": anchor.network}
    meta: dict[str, Any] = {"epoch": 0, "seconds": 0.0}
    if found is not None:
        tensors, meta = found.load()
        restore_tensors(tensors, networks, anchor.optimizer)
    peaks = [group["lr"] for group in anchor.optimizer.param_groups]
    num_train = len(images.train_indices)
    batch_size = min(anchor.batch_size, num_train)
    steps_per_epoch = num_train // batch_size
    for epoch in range(meta["epoch"] + 1, num_epochs + 1):
        torch.manual_seed(derive_seed(seed, "epoch", epoch))
        start, order = time.perf_counter(), images.train_indices[torch.randperm(num_train)]
        anchor.network.train()
        for index, chosen in enumerate(torch.split(order, batch_size)[:steps_per_epoch]):
            step = (epoch - 1) * steps_per_epoch + index + 1
            done = step / (steps_per_epoch * num_epochs)
            for group, peak in zip(anchor.optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * anchor.factor(done)
            _step(anchor, images, chosen, epoch)
            anchor.after_step(step, done)
        meta = {"epoch": epoch, "seconds": meta["seconds"] + time.perf_counter() - start}
        write_checkpoint(folder, Checkpoint.of(epoch, collect_tensors(networks, anchor.optimizer), meta))
        print(f"epoch {epoch}: {meta['seconds']:.0f} s in all", flush=True)
    return anchor.network


def _step(anchor: Anchor, images: ImageTensors, chosen: Tensor, epoch: int) -> None:
    batch = anchor.augment(images.images.index_select(0, chosen), chosen, epoch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = anchor.network(batch.contiguous(memory_format=torch.channels_last))
    loss = functional.cross_entropy(
        logits.float(), images.labels[chosen], label_smoothing=anchor.label_smoothing, reduction=anchor.reduction
    )
    anchor.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    anchor.optimizer.step()


if __name__ == "__main__":
    main()
