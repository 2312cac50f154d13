"""R2, Ray Tune as its documentation shows it: the data captured in the trainable, a checkpoint every epoch, no reuse.

`python -m benchmarks.usual_tuner NUM_TRIALS` prints a line `REPORT time seconds` for every epoch.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from model.data import load_training_data
from model.network import build_network
from model.network_config import BlockConfig, NetworkConfig


def main(num_trials: int) -> None:
    data = load_training_data("digits", image_size=None, seed=0, data_dir=Path("data"))
    images = torch.from_numpy(data.examples.images).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(data.examples.labels)

    def trainable(config: dict[str, Any]) -> None:
        network = build_network(_tiny(config["width"]), 10)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        start = time.perf_counter()
        for batch, targets in zip(torch.split(images, 256), torch.split(labels, 256), strict=True):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(batch), targets)
            torch.autograd.backward(loss)
            optimizer.step()
        accuracy = float((network.eval()(images).argmax(1) == labels).float().mean())
        metrics = {"val_accuracy": accuracy, "seconds": time.perf_counter() - start, "reported_at": time.time()}
        with tempfile.TemporaryDirectory() as folder:
            torch.save(network.state_dict(), Path(folder) / "model.pt")
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))

    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"width": tune.choice([4, 5, 6, 7, 8])},
        tune_config=tune.TuneConfig(
            num_samples=num_trials, metric="val_accuracy", mode="max", scheduler=ASHAScheduler(max_t=1)
        ),
    )
    results = tuner.fit()
    for index in range(len(results)):
        metrics = results[index].metrics or {}
        sys.stdout.write(f"REPORT {metrics['reported_at']} {metrics['seconds']}\n")


def _tiny(width: int) -> NetworkConfig:
    """The networks of `tiny_space.toml`."""
    return NetworkConfig(
        c1=BlockConfig(inner_width=4, width=width),
        c2=BlockConfig(kind="depthwise_separable", inner_width=8, width=8),
        c3=BlockConfig(kind="dilated", inner_width=8, width=8),
        output=BlockConfig(kind="depthwise_separable", num_convs=1, width=8),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
