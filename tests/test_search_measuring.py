"""What a forecast is measured by: real processes, deadlines, and what a run's preparations measured anyway."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from model.engine import Engine
from search.forecast.forecast import BYTES_PER_NUMBER, WORKER_BYTES
from search.forecast.measuring import calibration_by_more, calibration_in_hand, proposals
from search.forecast.planner import LONG_RUN_S, forecast_of_run, forecast_until
from search.machine import packing
from search.machine.slots import Slots
from search.settings import SearchSettings
from search.setup.prepare import Machine, Preparation, prepare

BLOCKS = ("c1", "c2", "c3", "output")


def mute() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_process_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_start_process", mute)
    start = time.monotonic()
    with packing.measuring_processes() as ask:
        assert ask(2, {}, start + 0.2) == [{}, {}]
    assert time.monotonic() - start < 5


def prepared(folder: Path, *, measurements: dict[str, Any] | None = None) -> Preparation:
    (folder / "tiny.toml").write_text(
        "".join(
            f'{block}_inner_width = 4\n{block}_width = {{kind = "int", low = 4, high = 8, default = 4}}\n'
            for block in BLOCKS
        )
    )
    settings = SearchSettings(
        run_name="r",
        dataset="digits",
        image_size=16,
        space=folder / "tiny.toml",
        num_trials=3,
        max_epochs=2,
        grace_period=1,
        reduction_factor=2,
        results_dir=folder / "results",
    )
    slots = Slots(num_concurrent=1, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
    preparation = prepare(settings, kept=Machine(engine=Engine(), slots=slots))
    return dataclasses.replace(preparation, measurements=measurements or {})


def test_a_run_is_forecast_from_what_its_preparations_measured(tmp_path: Path) -> None:
    row = {"num_trials": 1, "cpus_per_trial": 1, "images_per_s": 50.0, "image_s": 0.01, "slowdown": 1.5}
    preparation = prepared(tmp_path, measurements={"packing": [{**row, "memory_bytes": 1e8}]})
    calibration = calibration_in_hand(preparation)
    (speed,) = calibration.speeds
    arrays = preparation.arrays
    # A third of a training step for each validation image.
    assert speed.image_s == pytest.approx(0.01 * (1 + len(arrays.val_indices) / len(arrays.train_indices) / 3))
    assert (speed.config, calibration.slowdown) == (preparation.space.default_config(), 1.5)
    forecast = forecast_of_run(preparation, started=time.monotonic())
    assert sum(forecast.endings.values()) == pytest.approx(3)
    assert 4 <= forecast.epochs.low <= forecast.epochs.high <= 6
    assert forecast.retrain_epochs == preparation.retrain_epochs_of_trial
    assert forecast.num_measured == 1
    assert forecast.memory_bytes >= WORKER_BYTES + BYTES_PER_NUMBER * preparation.memory_need(speed.config)
    assert not (tmp_path / "results").exists()


def test_with_slots_and_engine_as_asked_for_one_step_has_to_do(tmp_path: Path) -> None:
    calibration = calibration_in_hand(prepared(tmp_path))
    assert 0 < calibration.speeds[0].image_s < 60
    row = {"precision": "fp32", "channels_last": False, "compile": False, "batch_size": 32, "slowdown": 2.0}
    chosen = calibration_in_hand(prepared(tmp_path, measurements={"engine": [{**row, "step_ms": 320.0}]}))
    assert chosen.speeds[0].image_s == pytest.approx(0.01, rel=0.1)
    assert chosen.slowdown == 2.0


def test_the_searcher_proposes_what_the_run_will_try(tmp_path: Path) -> None:
    preparation = prepared(tmp_path)
    trials = proposals(preparation, math.inf)
    assert len(trials) == 3
    assert trials[0].config == preparation.given_trials[0].config
    assert len(proposals(preparation, 0.0)) == 1


def test_real_processes_measure_more_configs(tmp_path: Path) -> None:
    now = time.monotonic()
    forecast = forecast_until(prepared(tmp_path), started=now, deadline=now + 600)
    assert forecast.num_measured == 3
    assert 0 < forecast.search_s.median < forecast.wall_s.median
    assert not (tmp_path / "results").exists()


def test_a_run_that_will_be_long_is_worth_measuring_more_configs(tmp_path: Path) -> None:
    preparation = prepared(tmp_path)
    assert forecast_of_run(preparation, started=time.monotonic()).num_measured == 1
    settings = preparation.settings.changed(max_epochs=5000, grace_period=5000)
    forecast = forecast_of_run(dataclasses.replace(preparation, settings=settings), started=time.monotonic())
    assert forecast.num_measured == 3
    assert forecast.wall_s.median > LONG_RUN_S


def test_measuring_that_never_ends_is_left_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_start_process", mute)
    preparation = prepared(tmp_path)
    start = time.monotonic()
    calibration = calibration_by_more(preparation, preparation.given_trials, start + 0.5)
    assert time.monotonic() - start < 10
    assert len(calibration.speeds) == 1, "the step of the seed network is left"
