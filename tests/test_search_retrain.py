"""The retraining: from its checkpoint, once for each winner, and the only one to see the test images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model.config import BlockConfig, TrainConfig
from model.data import TrainingData, load_training_data
from model.engine import Engine
from model.examples import Examples
from model.training import EpochMetrics
from search.retrain import RetrainTask, all_images, retrain
from search.settings import SearchSettings
from search.study import RunStudy

BLOCK = BlockConfig(num_convs=1, inner_width=4, width=4)
TINY = TrainConfig(c1=BLOCK, c2=BLOCK, c3=BLOCK, output=BLOCK, batch_size=32, lr=0.05)


class Killed(BaseException):
    """Stands for SIGKILL: nothing that handles errors may catch it."""


@pytest.fixture(scope="module")
def data() -> TrainingData:
    whole = load_training_data("digits", image_size=None, seed=0, data_dir=Path("data"))
    return dataclasses.replace(whole, examples=Examples(whole.examples.images[:96], whole.examples.labels[:96]))


def task_of(folder: Path, trial_number: int = 3, config: TrainConfig = TINY) -> RetrainTask:
    return RetrainTask(
        config_name="winner",
        config=config,
        trial_number=trial_number,
        profile={"num_params": 1, "multiply_adds": 2, "receptive_field": 3},
        weights_file=folder / "run" / "model.safetensors",
    )


def run(
    folder: Path, study: RunStudy, data: TrainingData, task: RetrainTask | None = None, kill_at: int = 99
) -> tuple[dict[str, Any], list[int]]:
    (folder / "run").mkdir(exist_ok=True)
    epochs: list[int] = []

    def on_epoch(_task: RetrainTask, metrics: EpochMetrics) -> None:
        if metrics.epoch == kill_at:
            raise Killed
        epochs.append(metrics.epoch)

    row = retrain(
        task or task_of(folder),
        settings=SearchSettings(run_name="run", results_dir=folder, max_epochs=4),
        data=data,
        engine=Engine(num_threads=1),
        study=study,
        on_epoch=on_epoch,
    )
    return row, epochs


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("seconds", "epochs")}


def test_all_images_are_trained_on_and_none_validates(data: TrainingData) -> None:
    arrays = all_images(data)
    assert len(arrays.train_indices) == len(data.examples)
    assert len(arrays.val_indices) == 0


def test_a_finished_retrain_is_recorded_and_not_done_again(data: TrainingData, tmp_path: Path) -> None:
    study = RunStudy.in_memory()
    row, epochs = run(tmp_path, study, data)
    assert epochs == [1, 2, 3, 4]
    assert row["epochs_trained"] == 4
    assert 0 <= row["test_accuracy"] <= 1
    assert study.notes()["retrain:winner:0"] == row
    assert run(tmp_path, study, data) == (row, [])
    assert not list((tmp_path / "run").glob("checkpoints/*/*"))


def test_a_new_winner_is_retrained_in_the_place_of_the_old_one(data: TrainingData, tmp_path: Path) -> None:
    study = RunStudy.in_memory()
    run(tmp_path, study, data)
    old = load_file(tmp_path / "run" / "model.safetensors")
    wider = dataclasses.replace(TINY, c3=dataclasses.replace(BLOCK, width=8))
    row, epochs = run(tmp_path, study, data, task_of(tmp_path, trial_number=9, config=wider))
    assert epochs == [1, 2, 3, 4]
    assert row["trial_number"] == study.notes()["retrain:winner:0"]["trial_number"] == 9
    new = load_file(tmp_path / "run" / "model.safetensors")
    assert {name: value.shape for name, value in new.items()} != {name: value.shape for name, value in old.items()}


def test_old_weights_do_not_outlive_their_winner(data: TrainingData, tmp_path: Path) -> None:
    study = RunStudy.in_memory()
    run(tmp_path, study, data)
    with pytest.raises(Killed):
        run(tmp_path, study, data, task_of(tmp_path, trial_number=9), kill_at=2)
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("kill_at", [1, 3, 4])
def test_a_killed_retrain_ends_as_the_undisturbed_one(data: TrainingData, tmp_path: Path, kill_at: int) -> None:
    whole, _ = run(tmp_path, RunStudy.in_memory(), data)
    weights = load_file(tmp_path / "run" / "model.safetensors")
    study = RunStudy.in_memory()
    with pytest.raises(Killed):
        run(tmp_path, study, data, kill_at=kill_at)
    row, epochs = run(tmp_path, study, data)
    assert untimed(row) == untimed(whole)
    assert [metrics["epoch"] for metrics in row["epochs"]] == [1, 2, 3, 4]
    assert epochs == list(range(5 - len(epochs), 5))
    again = load_file(tmp_path / "run" / "model.safetensors")
    assert again.keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in again.items())
