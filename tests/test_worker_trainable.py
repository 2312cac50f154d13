"""One trial on a few random images: its reports, its checkpoints, its bad ends."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from killed import Killed
from own_nets import write_nets

from model.config import TrainConfig
from model.engine import Engine
from model.network_config import BlockConfig, NetworkConfig
from model.network_source import builder_of, completed, read_source
from model.objective import Objective
from model.recipe import Recipe
from model.split_images import ImageTensors
from search.study.checkpoints import Checkpoints
from search.worker.step_counts import StepCount
from search.worker.trainable import TrialPlan, train_trial

BLOCK = BlockConfig(num_convs=1, inner_width=4, width=4)
TINY = TrainConfig(
    network=NetworkConfig(c1=BLOCK, c2=BLOCK, c3=BLOCK, output=BLOCK, dropout=0.1).flat(),
    recipe=Recipe(batch_size=3, lr=0.05, ema_decay=0.9, rotation_degrees=5.0),
)
CLOCK = ("seconds", "images_per_s")
ASSIGNMENT = {"trial_number": 7, "trial_seed": 5, "config": TINY.flat(), "epochs_recorded": 0}


def images() -> ImageTensors:
    generator = torch.Generator().manual_seed(3)
    return ImageTensors(
        images=torch.randint(0, 256, (8, 8, 8, 3), generator=generator, dtype=torch.uint8),
        labels=torch.arange(8) % 2,
        train_indices=torch.arange(6),
        val_indices=torch.arange(6, 8),
        mean=(0.5, 0.5, 0.5),
        std=(0.3, 0.3, 0.3),
        num_classes=2,
    )


LOG_LOSS = Objective(metric_name="log_loss")
PLAN = TrialPlan(max_epochs=6, rung_epochs=(2, 4, 6), engine=Engine(num_threads=1), objective=LOG_LOSS)


def train(
    folder: Path,
    *,
    config: TrainConfig = TINY,
    kill_at: int = 99,
    recorded: int = 0,
    plan: TrialPlan = PLAN,
    **length: int,
) -> list[dict[str, Any]]:
    """The reports of a trial that is killed while it sends its `kill_at`-th, without what the clock says.

    Its checkpoints are kept in the folder, as the process that searches keeps them.
    """
    checkpoints = Checkpoints(folder)
    reports: list[dict[str, Any]] = []

    def report(metrics: dict[str, Any]) -> None:
        if "steps" in metrics:
            return
        if (checkpoint := metrics.get("checkpoint")) is not None:
            checkpoints.write(7, checkpoint)
        if len(reports) + 1 == kill_at:
            raise Killed
        reports.append({name: value for name, value in metrics.items() if name not in (*CLOCK, "checkpoint")})

    assignment = {
        **ASSIGNMENT,
        "config": config.flat(),
        "epochs_recorded": recorded,
        "checkpoint": checkpoints.newest(7),
        **length,
    }
    with contextlib.suppress(Killed):
        train_trial(assignment, images(), plan, report)
    return reports


def last_state(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = Checkpoints(folder).newest(7)
    assert checkpoint is not None
    tensors, meta = checkpoint.load()
    assert meta["training"]["epoch"] == 6
    return tensors


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("whole")
    return train(folder), last_state(folder)


def test_one_report_an_epoch(whole: tuple[list[dict[str, Any]], Any]) -> None:
    reports = whole[0]
    assert [report["epoch"] for report in reports] == [1, 2, 3, 4, 5, 6]
    scores = {"val_loss", "val_accuracy", "val_score", "val_error"}
    assert set(reports[0]) == {"epoch", "train_loss", "lr", "training_epochs", *scores}
    assert all(0 <= report["val_accuracy"] <= 1 for report in reports)
    assert [report["val_score"] for report in reports] == pytest.approx([-report["val_loss"] for report in reports])


@pytest.mark.parametrize("kill_at", range(1, 7))
def test_a_killed_trial_goes_on_to_the_same_bits(
    whole: tuple[list[dict[str, Any]], dict[str, torch.Tensor]], tmp_path: Path, kill_at: int
) -> None:
    before = train(tmp_path, kill_at=kill_at)
    after = train(tmp_path, recorded=len(before))
    by_epoch = {report["epoch"]: report for report in before}
    for report in after:
        assert by_epoch.setdefault(report["epoch"], report) == report
    assert list(by_epoch.values()) == whole[0]
    state = last_state(tmp_path)
    assert state.keys() == whole[1].keys()
    assert all(torch.equal(value, whole[1][name]) for name, value in state.items())


def test_an_epoch_saved_but_not_recorded_is_reported_from_the_checkpoint(
    whole: tuple[list[dict[str, Any]], Any], tmp_path: Path
) -> None:
    train(tmp_path, kill_at=2)
    assert train(tmp_path, recorded=1) == whole[0][1:]
    assert train(tmp_path, recorded=3) == whole[0][3:]


@pytest.mark.parametrize("kill_at", [2, 3, 99])
def test_a_trial_that_goes_on_from_a_rung_trains_as_if_it_were_new(tmp_path: Path, kill_at: int) -> None:
    to_rung = train(tmp_path / "trial", training_epochs=2)
    assert [report["epoch"] for report in to_rung] == [1, 2]
    assert to_rung == train(tmp_path / "short", training_epochs=2)
    longer = train(tmp_path / "trial", training_epochs=4, recorded=2, kill_at=kill_at)
    longer += train(tmp_path / "trial", training_epochs=4, recorded=max(2, len(longer)))
    new = {report["epoch"]: report for report in longer if report["epoch"] > 2}
    assert list(new.values()) == train(tmp_path / "long", training_epochs=4)[2:]
    assert longer[0]["lr"] != to_rung[0]["lr"], "the schedule's length is that of the training"


def test_a_checkpoint_need_not_wait_for_a_rung() -> None:
    """The first epoch is saved at once, the others as often as that costs little."""
    plan = dataclasses.replace(PLAN, rung_epochs=())
    reports: list[dict[str, Any]] = []
    train_trial(ASSIGNMENT, images(), plan, reports.append)
    saved = [report["checkpoint"].epoch for report in reports if "checkpoint" in report]
    assert saved[0] == 1
    assert saved[-1] == 6, "a retrained network is tested from its last epoch"


def test_waiting_for_a_checkpoint_counts_as_its_cost() -> None:
    saved: list[int] = []

    def report(metrics: dict[str, Any]) -> None:
        if "checkpoint" in metrics:
            saved.append(metrics["epoch"])
            time.sleep(0.5)  # a twentieth of 10 s, which the next epochs do not take

    train_trial(ASSIGNMENT, images(), dataclasses.replace(PLAN, rung_epochs=()), report)
    assert saved == [1, 6]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    whole: tuple[list[dict[str, Any]], Any], tmp_path: Path
) -> None:
    train(tmp_path, kill_at=5)
    newest = max((tmp_path / "checkpoints" / "trial-0007").iterdir())
    newest.write_bytes(newest.read_bytes()[:-9])
    reports = train(tmp_path, recorded=4)
    assert reports == [report for report in whole[0] if report["epoch"] >= reports[0]["epoch"]]
    assert reports[0]["epoch"] in (3, 4, 5)


def test_divergence_is_reported_as_the_end(tmp_path: Path) -> None:
    config = TINY.changed(lr=1e30, schedule="step")
    reports = train(tmp_path, config=config)
    assert reports[-1]["ended"] == "diverged"
    assert reports[-1]["error"].startswith("diverged: the loss was not finite")
    assert all("ended" not in report for report in reports[:-1])


def test_a_config_that_cannot_be_trained_fails_with_one_line(tmp_path: Path) -> None:
    reports: list[dict[str, Any]] = []
    assignment = {
        "trial_number": 0,
        "trial_seed": 1,
        "config": {**TINY.flat(), "optimizer": "magic"},
        "epochs_recorded": 0,
    }
    train_trial(assignment, images(), PLAN, reports.append)
    assert [report["ended"] for report in reports] == ["failed"]
    assert reports[0]["error"].startswith("ValueError: ")
    assert "\n" not in reports[0]["error"]


def test_images_too_small_for_the_network_fail_with_one_line(tmp_path: Path) -> None:
    small = dataclasses.replace(images(), images=images().images[:, :4, :4].contiguous())
    reports: list[dict[str, Any]] = []
    train_trial(ASSIGNMENT, small, PLAN, reports.append)
    assert reports[-1]["ended"] == "failed"
    assert "\n" not in reports[-1]["error"]


def test_a_checkpoint_of_another_config_is_not_used(whole: tuple[list[dict[str, Any]], Any], tmp_path: Path) -> None:
    """As after the record was restored from an older copy, and the number went to another config."""
    train(tmp_path, config=TINY.changed(lr=0.01))
    assert train(tmp_path) == whole[0]
    assert last_state(tmp_path).keys() == whole[1].keys()


def test_its_steps_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.worker.step_counts.MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr("search.worker.step_counts.MAX_SHARE", 1.0)
    reports: list[dict[str, Any]] = []
    train_trial(ASSIGNMENT, images(), PLAN, reports.append)
    assert [report.get("steps", report.get("epoch")) for report in reports[:4]] == [
        *(StepCount(1, 1, 2), 1),
        *(StepCount(2, 1, 2), 2),
    ]


def test_a_trial_of_an_own_network_resumes_to_the_same_bits_without_its_file(tmp_path: Path) -> None:
    source, modules = read_source(write_nets(tmp_path / "nets"))
    builder_of(source)({"width": 4, "bias": True}, num_classes=2, image_size=8)
    plan = dataclasses.replace(PLAN, network=completed(source, modules))
    shutil.rmtree(tmp_path / "nets")
    config = TrainConfig(network={"width": 4, "bias": True}, recipe=TINY.recipe)
    undisturbed = train(tmp_path / "whole", config=config, plan=plan)
    assert len(train(tmp_path / "cut", config=config, plan=plan, kill_at=4)) == 3
    assert train(tmp_path / "cut", config=config, plan=plan, recorded=3) == undisturbed[3:]
    whole, cut = last_state(tmp_path / "whole"), last_state(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())


def test_a_config_that_the_users_code_refuses_is_reported_with_its_line(tmp_path: Path) -> None:
    source, _ = read_source(write_nets(tmp_path / "nets"))
    config = TrainConfig(network={"width": 3, "bias": True}, recipe=TINY.recipe)
    reports = train(tmp_path, config=config, plan=dataclasses.replace(PLAN, network=source))
    assert reports == [{"ended": "failed", "error": "ValueError: blocks.py:6: width must be even; got 3"}]
