"""Recording of learning curves: what each fidelity changes, the order of trainings, and a recording that is killed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded_digits import recorded_digits
from small_training import PLAIN

from benchmarks.record_curves.fidelities import FIDELITIES, FIRST, FULL, SECOND
from benchmarks.record_curves.plan import (
    NUM_COMPARED,
    NUM_REPEATED,
    REPEAT_SEEDS,
    Job,
    default_space,
    draw_configs,
    is_inside,
    plan_jobs,
    plan_repeats,
    recorded_images,
)
from benchmarks.record_curves.recording import Journal, train_job
from benchmarks.record_curves.table import load_table
from model.config import SEED_CONFIG, TrainConfig
from model.data import load_training_data
from model.engine import Engine
from model.network_config import NetworkConfig
from model.recipe import Recipe
from model.seeds import derive_seed
from model.split_images import ImageArrays, on_device
from model.training import Training, train_epochs

MAX_EPOCHS = 2
NAMES = ["full", "complete-1", "images-3"]
SMALL_BATCHES = TrainConfig(network=NetworkConfig().flat(), recipe=Recipe(batch_size=32))
HEAD = {"settings": {"max_epochs": MAX_EPOCHS, "seed": 0}, "engine": dataclasses.asdict(PLAIN)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageArrays:
    return recorded_digits(tmp_path_factory.mktemp("data"))


def test_a_full_training_is_the_config_itself_and_a_part_keeps_the_number_of_steps() -> None:
    recipe = Recipe(batch_size=512, lr=0.35, adamw_lr=5e-3, crop_padding=3, cutout_size=8)
    config = TrainConfig(network=NetworkConfig().flat(), recipe=recipe)
    assert FULL.config(config, 25) == config
    assert FIDELITIES["complete-4"].config(config, 25) == config
    assert FIDELITIES["complete-4"].num_epochs(25) == 4
    for name, share in {"images-6": 1 / 6, "images-3": 1 / 3, "small-batch-4": 4 / 25}.items():
        fidelity = FIDELITIES[name]
        changed = fidelity.config(config, 25).recipe
        assert changed.batch_size == round(512 * share)
        assert changed.lr / 0.35 == pytest.approx(changed.batch_size / 512)
        assert changed.adamw_lr / 5e-3 == pytest.approx(changed.batch_size / 512)
        num_steps = fidelity.num_epochs(25) * (8000 // fidelity.images_part // changed.batch_size)
        assert num_steps == pytest.approx(25 * (8000 // 512), rel=0.05)
        assert fidelity.cost(25) == pytest.approx(25 * share)
    assert FIDELITIES["images-6"].config(SMALL_BATCHES, 25).recipe.batch_size == 16
    half = FIDELITIES["half-side"].config(config, 25).recipe
    assert (half.crop_padding, half.cutout_size) == (1, 4)
    narrow = FIDELITIES["half-width"].config(SEED_CONFIG, 25).network
    widths = [narrow[key] for key in ("c2_squeeze_width", "c2_inner_width", "c2_width", "c1_squeeze_width")]
    assert widths == [8, 32, 32, 0]


def test_a_part_of_the_images_has_all_classes_and_the_same_validation_images(images: ImageArrays) -> None:
    assert (len(images.train_indices), len(images.val_indices), len(images.labels)) == (120, 50, 170)
    sixth = FIDELITIES["images-6"].images(images, seed=0)
    assert set(sixth.train_indices) < set(images.train_indices)
    assert np.bincount(images.labels[sixth.train_indices]).tolist() == [2] * 10
    assert sixth.val_indices is images.val_indices
    small = FIDELITIES["half-side"].images(images, seed=0)
    assert small.images.shape == (170, 4, 4, 3)
    assert small.images.mean() == pytest.approx(images.images.mean(), rel=0.05)


def test_the_configs_are_the_baselines_and_then_a_fixed_list_within_the_limits(images: ImageArrays) -> None:
    space = default_space(images)
    configs = draw_configs(space, 6, seed=0)
    assert configs[:2] == [space.default_config(), SEED_CONFIG.flat()]
    assert draw_configs(space, 9, seed=0)[:6] == configs
    assert all(max(space.violations(config).values()) <= 0 for config in configs[2:])
    assert [is_inside(space, config) for config in configs] == [True, False, True, True, True, True]


def test_the_first_fidelities_of_40_configs_come_before_anything_else() -> None:
    jobs = plan_jobs(NUM_COMPARED + 2, list(FIDELITIES))
    assert jobs[: len(FIRST)] == [Job(0, fidelity.name, 0) for fidelity in FIRST]
    assert jobs[NUM_COMPARED * len(FIRST)] == Job(0, SECOND[0].name, 0)
    assert {job.config for job in jobs[NUM_COMPARED * len(FIDELITIES) :]} == {NUM_COMPARED, NUM_COMPARED + 1}
    assert len(jobs) == len(set(jobs)) == len(FIDELITIES) * (NUM_COMPARED + 2)


def test_the_best_configs_are_trained_on_more_seeds() -> None:
    rows = [
        {"config": place, "fidelity": name, "seed": 0, "scores": [1 - place / 100 * sign], "error": None}
        for name, sign in (("full", 1), ("complete-4", -1))
        for place in range(NUM_REPEATED + 3)
    ]
    rows[0] |= {"error": "diverged", "scores": []}
    jobs = plan_repeats(rows)
    assert [job.config for job in jobs[:: len(REPEAT_SEEDS)]] == list(range(1, NUM_REPEATED + 1))
    assert {job.seed for job in jobs} == set(REPEAT_SEEDS)


def test_a_diverged_training_and_too_small_images_are_kept_as_errors(images: ImageArrays) -> None:
    diverging = SMALL_BATCHES.changed(lr=1e30)
    assert "diverged" in train_job(Job(0, "full", 0), diverging, images, HEAD)["error"]
    impossible = train_job(Job(0, "half-side", 0), SMALL_BATCHES, images, HEAD)
    assert "image_size" in impossible["error"]
    assert impossible["scores"] == []


def test_a_line_cut_off_is_dropped_and_other_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    first = Journal(path, {"train": 10}, lambda: {"configs": [1]})
    first.add({"config": 0, "fidelity": "full", "seed": 0, "scores": [0.5], "seconds": 1.0})
    with path.open("a") as file:
        file.write('{"config": 1, "fidel')
    journal = Journal(path, {"train": 10}, lambda: {"configs": [2]})
    assert journal.head == {"settings": {"train": 10}, "configs": [1]}, "a recording goes on with its own configs"
    assert journal.done == {Job(0, "full", 0)}
    journal.add({"config": 1, "fidelity": "full", "seed": 0, "scores": [0.6], "seconds": 1.0})
    assert Journal(path, {"train": 10}, dict).rows == journal.rows
    with pytest.raises(SystemExit, match="'train': 10"):
        Journal(path, {"train": 20}, dict)


def options(out: Path) -> list[str]:
    sizes = {"--train": 120, "--val": 50, "--image-size": 8, "--max-epochs": MAX_EPOCHS, "--configs": 2}
    numbers = [text for name, value in sizes.items() for text in (name, str(value))]
    return ["--dataset", "digits", "--out", str(out), *numbers, "--fidelities", *NAMES]


def start(out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "benchmarks.record_curves", *options(out)])


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until_gone(pids: Sequence[int], *, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a training outlived the recording"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="lists child processes from /proc")
def test_a_killed_recording_goes_on_and_its_curves_are_those_of_the_training(tmp_path: Path) -> None:
    table_path, journal_path = tmp_path / "curves.npz", tmp_path / "curves.jsonl"
    recording = start(table_path)
    while len(lines(journal_path)) < 3:
        assert recording.poll() is None, "the recording ended before it was killed"
        time.sleep(0.02)
    trainings = children(recording.pid)
    os.kill(recording.pid, signal.SIGKILL)
    recording.wait()
    wait_until_gone(trainings)
    before = lines(journal_path)
    assert 3 <= len(before) < 7
    assert start(table_path).wait() == 0
    assert lines(journal_path)[: len(before)] == before

    head, *rows = [json.loads(line) for line in lines(journal_path)]
    jobs = [Job(row["config"], row["fidelity"], row["seed"]) for row in rows]
    repeats = [Job(config, "full", seed) for config in (0, 1) for seed in REPEAT_SEEDS]
    assert sorted(jobs) == sorted(plan_jobs(2, NAMES) + repeats)
    table = load_table(table_path)
    assert table.scores["full"].shape == (2, 1 + len(REPEAT_SEEDS), MAX_EPOCHS)
    assert table.scores["complete-1"].shape == (2, 1 + len(REPEAT_SEEDS), 1)
    data = load_training_data("digits", image_size=8, seed=0, data_dir=tmp_path)
    images = recorded_images(data, num_train=120, num_val=50, seed=0)
    assert table.scores["full"][0, 0].tolist() == pytest.approx(full_training(images, head), abs=1e-6)


def full_training(images: ImageArrays, head: dict[str, object]) -> list[float | None]:
    """The first config's scores, straight from the training."""
    tensors = on_device(images, torch.device("cpu"))
    configs, engine = head["configs"], head["engine"]
    assert isinstance(configs, list)
    assert isinstance(engine, dict)
    training = Training(
        TrainConfig.from_flat(configs[0]),
        tensors,
        max_epochs=MAX_EPOCHS,
        seed=derive_seed(0, "config", 0, 0),
        engine=Engine(**engine),
    )
    return [metrics.val_accuracy for metrics in train_epochs(training)]
