"""The retraining: from its checkpoint, once for each winner, and the only one to see the test images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.config import BlockConfig, TrainConfig
from model.data import TrainingData, load_training_data
from model.engine import Engine
from model.examples import Examples
from model.seeds import derive_seed
from model.split_images import ImageArrays, on_device
from model.training import EpochMetrics, Training, train_epochs
from search.retrain.retrainer import Retrainer, RetrainTask, all_images
from search.settings import SearchSettings
from search.setup.images import split_images
from search.study.retrain_record import FINALIST, RetrainRecord
from search.study.study import RunStudy

BLOCK = BlockConfig(num_convs=1, inner_width=4, width=4)
OnEpoch = Callable[[RetrainTask, EpochMetrics], None]
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


def retrainer_of(folder: Path, study: RunStudy, data: TrainingData, on_epoch: OnEpoch) -> Retrainer:
    (folder / "run").mkdir(exist_ok=True)
    return Retrainer(
        settings=SearchSettings(run_name="run", results_dir=folder, max_epochs=4),
        data=data,
        engine=Engine(num_threads=1),
        study=study,
        on_epoch=on_epoch,
    )


def run(
    folder: Path, study: RunStudy, data: TrainingData, task: RetrainTask | None = None, kill_at: int = 99
) -> tuple[RetrainRecord, list[int]]:
    """The task's record, and the epochs that were trained for it."""
    epochs: list[int] = []

    def on_epoch(_task: RetrainTask, metrics: EpochMetrics) -> None:
        if metrics.epoch == kill_at:
            raise Killed
        epochs.append(metrics.epoch)

    retrainer = retrainer_of(folder, study, data, on_epoch)
    task = task or task_of(folder)
    retrainer.train(task)
    [row] = retrainer.test([task])
    return row, epochs


def val_arrays(data: TrainingData) -> ImageArrays:
    return split_images(SearchSettings(run_name="run"), data)


def untimed(record: RetrainRecord) -> RetrainRecord:
    return dataclasses.replace(record, seconds=0.0)


def test_all_images_are_trained_on_and_none_validates(data: TrainingData) -> None:
    arrays = all_images(data)
    assert len(arrays.train_indices) == len(data.examples)
    assert len(arrays.val_indices) == 0


def test_a_finished_retrain_is_recorded_and_not_done_again(data: TrainingData, tmp_path: Path) -> None:
    study = RunStudy.in_memory()
    row, epochs = run(tmp_path, study, data)
    assert epochs == [1, 2, 3, 4]
    assert row.epochs_trained == 4
    assert row.test_accuracy is not None
    assert 0 <= row.test_accuracy <= 1
    assert study.retrains() == [row]
    assert run(tmp_path, study, data) == (row, [])
    assert not list((tmp_path / "run").glob("checkpoints/*/*"))


def test_a_new_winner_is_retrained_in_the_place_of_the_old_one(data: TrainingData, tmp_path: Path) -> None:
    study = RunStudy.in_memory()
    run(tmp_path, study, data)
    old = load_file(tmp_path / "run" / "model.safetensors")
    wider = dataclasses.replace(TINY, c3=dataclasses.replace(BLOCK, width=8))
    row, epochs = run(tmp_path, study, data, task_of(tmp_path, trial_number=9, config=wider))
    assert epochs == [1, 2, 3, 4]
    assert row.trial_number == study.retrains()[0].trial_number == 9
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
    assert len(row.train_losses) == 4
    assert epochs == list(range(5 - len(epochs), 5))
    again = load_file(tmp_path / "run" / "model.safetensors")
    assert again.keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in again.items())


def test_seeds_differ_and_each_has_its_row(data: TrainingData, tmp_path: Path) -> None:
    study = RunStudy.in_memory()
    first, _ = run(tmp_path, study, data)
    weights = (tmp_path / "run" / "model.safetensors").read_bytes()
    second, _ = run(tmp_path, study, data, dataclasses.replace(task_of(tmp_path), seed_index=1, weights_file=None))
    assert [record.key for record in study.retrains()] == ["retrain:winner:0", "retrain:winner:1"]
    assert first.retrain_seed == derive_seed(0, "retrain:winner:0")
    assert second.retrain_seed == derive_seed(0, "retrain:winner:1")
    assert first.train_losses[0] != second.train_losses[0]
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == weights


def test_a_finalist_is_judged_on_the_validation_images_it_has_not_seen(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.retrain.retrainer.load_test_data", _forbidden)
    study, arrays = RunStudy.in_memory(), val_arrays(data)
    task = dataclasses.replace(task_of(tmp_path), config_name=FINALIST, seed_index=1, weights_file=None)
    retrainer = retrainer_of(tmp_path, study, data, lambda _task, _metrics: None)
    row = retrainer.validate(task, arrays)
    images = on_device(arrays, torch.device("cpu"))
    oracle = Training(TINY, images, max_epochs=4, seed=derive_seed(0, "finalist:3:1"), engine=Engine(num_threads=1))
    assert row.val_accuracy == [metrics.val_accuracy for metrics in train_epochs(oracle)][-1]
    assert (row.includes_val, row.epochs_trained) == (False, 4)
    assert row.test_accuracy is None
    assert row.key == "finalist:3:1"
    assert study.retrains() == [row] == [retrainer.validate(task, arrays)]
    assert not list((tmp_path / "run").glob("checkpoints/*/*"))


def test_training_leaves_the_test_images_closed(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.retrain.retrainer.load_test_data", _forbidden)
    study, task = RunStudy.in_memory(), task_of(tmp_path)
    retrainer = retrainer_of(tmp_path, study, data, lambda _task, _metrics: None)
    retrainer.train(task)
    assert retrainer.finished(task) is None
    with pytest.raises(AssertionError, match="the test images were opened"):
        list(retrainer.test([task]))
    monkeypatch.undo()
    row, epochs = run(tmp_path, study, data)
    assert (row.epochs_trained, epochs) == (4, [])


@pytest.mark.parametrize("name", [FINALIST, "seed"])
def test_a_training_that_diverges_counts_nothing_and_says_so(data: TrainingData, tmp_path: Path, name: str) -> None:
    study = RunStudy.in_memory()
    config = dataclasses.replace(TINY, lr=1e30)
    task = dataclasses.replace(task_of(tmp_path, config=config), config_name=name, weights_file=None)
    retrainer = retrainer_of(tmp_path, study, data, lambda _task, _metrics: None)
    if name == FINALIST:
        row = retrainer.validate(task, val_arrays(data))
        assert row.val_accuracy == 0
    else:
        retrainer.train(task)
        [row] = retrainer.test([task])
        assert (row.test_accuracy, row.test_accuracy_tta, row.test_loss) == (0, 0, None)
    assert str(row.error).startswith("diverged: the loss was not finite")
    assert row.epochs_trained < 4


def _forbidden(*_arguments: object, **_options: object) -> None:
    raise AssertionError("the test images were opened")
