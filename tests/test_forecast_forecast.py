"""A forecast against hand-computed costs, and its sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.engine import Engine
from model.probe import SEED_PROBE
from search.forecast.forecast import HIGH, LOW, START_S, Forecast, Workload, make_forecast
from search.forecast.wording import brief_line, plan_lines, verdict
from search.machine.slots import Slots
from search.schedulers.expected_epochs import expected_epochs
from search.settings import SearchSettings
from search.setup.retrain_size import RetrainCost
from search.text import duration

SLOTS = Slots(num_concurrent=2, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)


def packing(num_trials: int, image_s: float, slowdown: float = 1.0) -> dict[str, Any]:
    return {
        "num_trials": num_trials, "cpus_per_trial": 1, "images_per_s": num_trials / image_s, "image_s": image_s,
        "slowdown": slowdown, "memory_bytes": 5e8,
    }  # fmt: skip


def workload(tmp_path: Path, **changes: Any) -> Workload:
    settings = SearchSettings(run_name="run", results_dir=tmp_path, num_trials=20, retrain_top=3, retrain_seeds=2)
    values: dict[str, Any] = {
        "settings": settings, "engine": Engine(), "slots": SLOTS,
        "measurements": {"packing": [packing(1, 0.0015), packing(2, 0.002, slowdown=1.5)]},
        "num_train": 900, "num_val": 300, "multiply_adds": [10_000_000],
        "probe": SEED_PROBE, "probe_multiply_adds": 48_000_000,
        "retrain_cost": RetrainCost(60.0, 40.0), "memory_need": 10_000_000, "preparation_s": 4.0,
    }  # fmt: skip
    return Workload(**{**values, **changes})


def test_time_is_epochs_times_images_times_the_measured_speed(tmp_path: Path) -> None:
    forecast = make_forecast(workload(tmp_path))
    epochs = expected_epochs(SearchSettings(run_name="r", num_trials=20), 20)
    assert forecast.epochs == epochs == pytest.approx(20 * 3 + 20 / 6 * 9 + 3 * 25)
    epoch_s = (900 + 300 / 3) * 0.002 * 1.5
    assert forecast.search_s == pytest.approx(epochs / 2 * epoch_s)
    assert forecast.retrain_s == pytest.approx(40 * epoch_s)
    assert forecast.wall_s == pytest.approx(4 + START_S * 1.5 + forecast.search_s + forecast.retrain_s)
    assert (forecast.low_s, forecast.high_s) == (LOW * forecast.wall_s, HIGH * forecast.wall_s)
    assert forecast.device_s == pytest.approx(2 * (forecast.search_s + forecast.retrain_s))


def test_larger_configs_take_longer(tmp_path: Path) -> None:
    plain = make_forecast(workload(tmp_path))
    larger = make_forecast(workload(tmp_path, multiply_adds=[10_000_000, 20_000_000]))
    assert larger.search_s == pytest.approx(plain.search_s * (1 + 2**0.7) / 2)


def with_budget(tmp_path: Path, time_budget_s: float, **values: Any) -> Forecast:
    settings = SearchSettings(
        run_name="run", results_dir=tmp_path, num_trials=20, time_budget_s=time_budget_s, **values
    )
    return make_forecast(workload(tmp_path, settings=settings))


def test_a_budget_limits_the_whole(tmp_path: Path) -> None:
    forecast = with_budget(tmp_path, 300.0)
    assert (forecast.wall_s, forecast.over_budget_s) == (300.0, 0.0)
    assert forecast.low_s == pytest.approx(LOW * 300.0)
    assert forecast.search_s == pytest.approx(300.0 - 4 - START_S * 1.5 - 40 * 3.0)
    assert "exceeds" not in brief_line(forecast)
    assert with_budget(tmp_path, 1e6).wall_s == pytest.approx(make_forecast(workload(tmp_path)).wall_s)


@pytest.mark.parametrize(("scheduler", "first_rung"), [("promotion", 3), ("asha", 0)])
@pytest.mark.parametrize("time_budget_s", [5.0, 60.0])
def test_a_budget_does_not_shorten_what_is_trained_in_any_case(
    tmp_path: Path, time_budget_s: float, scheduler: str, first_rung: int
) -> None:
    """Preparation and start, a trial to the end, and the retraining; an epoch takes 3 s."""
    forecast = with_budget(tmp_path, time_budget_s, scheduler=scheduler)
    least_s = 4 + START_S * 1.5 + (first_rung + 25 + 40) * 3.0
    assert forecast.wall_s == pytest.approx(least_s)
    assert forecast.over_budget_s == pytest.approx(least_s - time_budget_s)
    assert forecast.low_s < forecast.wall_s < forecast.high_s
    for text in (brief_line(forecast), "\n".join(plan_lines(forecast))):
        assert f"the time budget of {duration(time_budget_s)} by {duration(least_s - time_budget_s)}" in text


def test_a_search_takes_at_least_as_long_as_one_training(tmp_path: Path) -> None:
    settings = SearchSettings(run_name="run", results_dir=tmp_path, num_trials=1)
    slots = Slots(num_concurrent=8, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
    forecast = make_forecast(
        workload(tmp_path, settings=settings, slots=slots, measurements={"packing": [packing(8, 0.002)]})
    )
    assert forecast.search_s == pytest.approx(25 * 1000 * 0.002)


def test_given_slots_are_foreseen_from_a_step_of_the_seed_network(tmp_path: Path) -> None:
    row = {
        "precision": "fp32",
        "channels_last": False,
        "compile": False,
        "step_ms": 640.0,
        "batch_size": 32,
        "slowdown": 1.0,
    }
    forecast = make_forecast(workload(tmp_path, measurements={"engine": [row]}, multiply_adds=[48_000_000]))
    assert forecast.search_s == pytest.approx(forecast.epochs / 2 * 1000 * 0.02)
    measured = make_forecast(workload(tmp_path, measurements={}))
    assert measured.search_s > 0


def test_the_sentences_give_the_numbers(tmp_path: Path) -> None:
    forecast = make_forecast(workload(tmp_path))
    line = brief_line(forecast)
    assert "20 trials with about 165 epochs" in line
    assert "2 side by side, 1 CPU core each" in line
    assert "factor of 1.5" in line
    assert "then the retraining of 3 finalists, the winner and the baselines on 2 seeds each" in line
    text = "\n".join(plan_lines(forecast))
    assert "on 2 seeds each, which costs as much as 60 more" in text
    assert "CPU core hours" in text


def test_the_verdict_compares_with_what_came(tmp_path: Path) -> None:
    table = make_forecast(workload(tmp_path)).table()
    assert verdict(table) is None
    assert verdict(None) is None
    took = {**table, "actual_wall_s": 1.5 * table["wall_s"], "actual_epochs": 120}
    assert "+50 %, within the interval" in str(verdict(took))
    assert "expected 165 epochs in trials; there were 120" in str(verdict(took))
    assert "outside" in str(verdict({**took, "actual_wall_s": 3 * table["wall_s"]}))
