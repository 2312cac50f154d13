"""What a run is prepared with, and the errors before any work."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import write_classes, write_splits

from model.config import SEED_CONFIG
from model.data import DataError, load_training_data
from model.engine import Engine
from model.metrics import METRICS
from model.network import build_network
from model.network_config import SEED_NETWORK
from model.objective import Objective
from model.seeds import derive_seed
from search.display.display import Display
from search.errors import SpaceError, UserError
from search.machine.gpus import choose_device, num_gpus
from search.machine.machine import Machine
from search.machine.slots import Slots
from search.run import show_warnings
from search.settings import SearchSettings
from search.setup.images import split_images
from search.setup.preparation import Preparation
from search.setup.prepare import prepare

MACHINE = Machine(
    engine=Engine(num_threads=1), slots=Slots(num_concurrent=1, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
)


def prepared(**values: Any) -> Preparation:
    settings = {"run_name": "run", "dataset": "digits", "image_size": 32, "precision": "fp32", **values}
    return prepare(SearchSettings(**settings), kept=MACHINE)


@pytest.fixture(scope="module")
def preparation() -> Preparation:
    return prepared(seed=4)


def test_the_seed_config_then_the_default_are_given(preparation: Preparation) -> None:
    seed, default = preparation.given_trials
    assert (seed.origin, default.origin) == ("seed", "default")
    assert seed.config == SEED_CONFIG.flat()
    assert seed.params == {}
    assert default.config == preparation.space.default_config()
    assert set(default.params) == set(preparation.space.distributions)
    assert max(default.violations.values()) <= 0
    assert [trial.seed for trial in (seed, default)] == [derive_seed(4, "trial", number) for number in (0, 1)]
    # Ten classes, as in the notebook: 657,146 parameters.
    assert seed.profile["num_params"] == 657_146
    assert preparation.baselines == {0: seed, 1: default}


def test_trainings_and_rungs_follow_the_metric() -> None:
    preparation = prepared(metric="log_loss", class_weights="balanced")
    assert preparation.trial_plan().objective == Objective(metric_name="log_loss", class_weights="balanced")
    counts = np.bincount(preparation.images.labels[preparation.images.val_indices])
    assert preparation.chance_level == METRICS["log_loss"].chance_level(counts)
    assert preparation.val_floor.note.startswith("chance 2.3026, always ")


def test_what_a_config_needs_grows_with_its_batch_and_its_network(preparation: Preparation) -> None:
    network = build_network(SEED_NETWORK, 10).eval()
    num_put_out: list[int] = []
    for module in network.modules():
        if next(module.children(), None) is None:
            module.register_forward_hook(lambda _module, _inputs, output: num_put_out.append(output.numel()))
    network(torch.zeros(1, 3, 32, 32))
    need = preparation.memory_need(SEED_CONFIG.flat())
    assert need == SEED_CONFIG.recipe.batch_size * sum(num_put_out) + 4 * 657_146
    twice = preparation.memory_need({**SEED_CONFIG.flat(), "batch_size": 2 * SEED_CONFIG.recipe.batch_size})
    assert twice - need == SEED_CONFIG.recipe.batch_size * sum(num_put_out)


def test_other_image_sizes_have_no_seed_config() -> None:
    smaller = prepared(image_size=16)
    assert "seed" not in [trial.origin for trial in smaller.baselines.values()]
    assert [trial.origin for trial in smaller.given_trials][:1] in ([], ["default"])


def test_the_retrains_cost_counts_all_images_and_the_baselines(preparation: Preparation) -> None:
    num_train, num_all = len(preparation.images.train_indices), len(preparation.data.examples)
    assert preparation.retrain_cost.epochs == pytest.approx(3 * 25 * num_all / num_train)
    assert preparation.retrain_cost.wall_epochs == preparation.retrain_cost.epochs, "one slot"
    alone = dataclasses.replace(preparation, settings=preparation.settings.changed(baseline=False))
    assert alone.baselines == {}
    assert alone.retrain_cost.epochs == pytest.approx(25 * num_all / num_train)


def test_the_retrains_cost_counts_the_finals_on_the_whole_training_split() -> None:
    preparation = prepared(search_examples=300, retrain_top=4, retrain_seeds=2)
    num_all, num_val = len(preparation.data.examples), len(preparation.images.val_indices)
    # 4 finalists, then the winner, the seed config and the default; 2 seeds of 25 epochs each.
    expected = 2 * 25 * (4 * (num_all - num_val) + 3 * num_all) / 300
    assert preparation.retrain_cost.epochs == pytest.approx(expected)


def test_the_split_follows_the_seed_and_statistics_are_of_the_training_part() -> None:
    data = load_training_data("digits", image_size=None, seed=0, data_dir=Path("data"))
    settings = SearchSettings(run_name="run", dataset="digits", search_examples=200)
    arrays = split_images(settings, data)
    whole = split_images(settings.changed(search_examples=None), data)
    assert len(arrays.train_indices) == 200
    assert set(arrays.train_indices) <= set(whole.train_indices)
    assert set(whole.train_indices).isdisjoint(whole.val_indices)
    assert len(whole.train_indices) + len(whole.val_indices) == len(data.examples)
    assert np.array_equal(arrays.val_indices, whole.val_indices)
    expected = (data.examples.images[arrays.train_indices] / 255).reshape(-1, 3)
    np.testing.assert_allclose(arrays.mean, expected.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(arrays.std, expected.std(axis=0), atol=1e-6)
    assert split_images(settings.changed(seed=1), data).split_hash != arrays.split_hash


def test_what_was_adapted_is_a_note_and_no_warning() -> None:
    preparation = prepared(search_examples=300)
    [note] = [line for line in preparation.notes if "trials train on 300 of the training images" in line]
    assert note in preparation.document().notes
    assert note not in preparation.document().warnings
    screen = io.StringIO()
    show_warnings(preparation, Display(screen))
    assert note in screen.getvalue().splitlines()


def test_more_search_examples_than_images_are_refused() -> None:
    with pytest.raises(UserError, match=r"--search-examples 5000: the training split has \d+ images. Give fewer or"):
        prepared(search_examples=5000)


def test_a_space_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing, binary = tmp_path / "missing.toml", tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=re.escape(f"--space {missing} cannot be read (No such file or directory).")):
        prepared(space=missing)
    with pytest.raises(UserError, match=re.escape(f"--space {tmp_path} cannot be read (Is a directory).")):
        prepared(space=tmp_path)
    with pytest.raises(UserError, match=re.escape(f"--space {binary} is not text. Give a TOML file.")):
        prepared(space=binary)


@pytest.mark.parametrize("text", ["lr 3", 'lr = {kind = "lgo"}', "dropout = 7.0"])
def test_what_is_wrong_in_a_space_file_names_the_file(tmp_path: Path, text: str) -> None:
    space = tmp_path / "space.toml"
    space.write_text(text)
    with pytest.raises(SpaceError) as caught:
        prepared(space=space)
    assert all(line.startswith(f"--space {space}: ") for line in str(caught.value).splitlines())


def test_a_space_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text("flip = false\n", encoding="utf-8-sig")
    assert prepared(space=tmp_path / "space.toml").space.fixed["flip"] is False


def test_the_images_own_validation_split_is_what_trials_are_scored_on(tmp_path: Path) -> None:
    write_splits(tmp_path, num_images=6)
    val = write_classes(tmp_path / "val", {"cat": 3, "dog": 2}, size=8)
    small = "c1_width = 8\nc2_width = 8\nc3_width = 8\noutput_width = 8\n"
    (tmp_path / "space.toml").write_text(small)
    preparation = prepared(
        dataset=str(tmp_path), image_size=None, min_receptive_field=0, space=tmp_path / "space.toml", seed=5
    )
    images = preparation.images
    assert {image.tobytes() for image in images.images[images.val_indices]} == {one.tobytes() for one in val.values()}
    assert len(images.train_indices) == 12
    assert preparation.data_record.survey is not None
    assert preparation.data_record.survey.val == {"cat": 3, "dog": 2}


def test_a_space_file_with_a_typo_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text('lrr = {kind = "log", low = 0.01, high = 1.0}\n')
    with pytest.raises(SpaceError, match="lrr"):
        prepared(space=tmp_path / "space.toml")


def test_an_unknown_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no/such"):
        prepared(dataset="no/such")


@pytest.mark.skipif(num_gpus() > 0, reason="needs a machine without a GPU")
def test_a_missing_gpu_is_one_warning_or_an_error() -> None:
    settings = SearchSettings(run_name="run", gpus=1)
    device, warnings = choose_device(settings)
    assert device == "cpu"
    assert len(warnings) == 1
    assert "--gpus 1 was asked for but NO GPU is visible" in warnings[0]
    assert choose_device(SearchSettings(run_name="run")) == ("cpu", [])
    with pytest.raises(UserError, match=r"--gpus 1: no GPU is visible here .*. Leave out --strict to train on the CPU"):
        choose_device(settings.changed(strict=True))


def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.machine.gpus.num_gpus", lambda: 1)
    with pytest.raises(UserError, match=r"--gpus 2: only 1 visible here. Ask for 1 or fewer"):
        choose_device(SearchSettings(run_name="run", gpus=2))


def test_digits_that_stand_in_for_cifar10_make_short_trials(tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.write_text("CIFAR-10 cannot be put here")
    stand_in = prepared(dataset="auto", data_dir=no_folder)
    assert stand_in.data.name == "digits"
    assert len(stand_in.images.train_indices) == stand_in.settings.search_examples == 512
    assert "NOT CIFAR-10" in stand_in.warnings[0]
    assert any(note.startswith("trials train on 512 of the training images") for note in stand_in.notes)
    asked = prepared(dataset="auto", data_dir=no_folder, search_examples=600)
    assert len(asked.images.train_indices) == 600
    assert len(prepared(dataset="digits").images.train_indices) > 1000
