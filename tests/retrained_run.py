"""A run's folder with a tiny network really retrained on part of the digits, for what takes the network away."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tomli_w
from fabricated_run import make_run

from model.config import BlockConfig, TrainConfig
from model.data import TrainingData, load_training_data
from model.engine import Engine
from model.examples import Examples
from search.analysis.results import Run
from search.retrain.retrainer import Retrainer, RetrainTask
from search.settings import SearchSettings

BLOCK = BlockConfig(num_convs=1, inner_width=4, width=4)
TINY = TrainConfig(c1=BLOCK, c2=BLOCK, c3=BLOCK, output=BLOCK, batch_size=32, lr=0.05)


def some_digits(num_images: int) -> TrainingData:
    """The first training digits."""
    whole = load_training_data("digits", image_size=None, seed=0, data_dir=Path("data"))
    examples = Examples(whole.examples.images[:num_images], whole.examples.labels[:num_images])
    return dataclasses.replace(whole, examples=examples)


def make_retrained_run(folder: Path, *, config: TrainConfig = TINY, num_images: int = 320) -> Run:
    """A run's folder whose winner was retrained for two epochs in float32."""
    data = some_digits(num_images)
    run = make_run(folder, lambda study: None, class_names=data.class_names)
    (folder / "best_config.toml").write_text(tomli_w.dumps(config.flat()))
    task = RetrainTask(
        config_name="winner",
        config=config,
        trial_number=0,
        profile={"num_params": 1, "multiply_adds": 2, "receptive_field": 3},
        weights_file=folder / "model.safetensors",
    )
    retrainer = Retrainer(
        settings=SearchSettings(run_name=folder.name, results_dir=folder.parent, max_epochs=2, grace_period=1),
        data=data,
        engine=Engine(num_threads=1),
        study=run.study,
        on_epoch=lambda task, metrics: None,
    )
    retrainer.train(task)
    assert [record.config_name for record in retrainer.test([task])] == ["winner"]
    return run
