"""The forecast: exact arithmetic where nothing is left to chance, the run's own scheduler, and the words."""

from __future__ import annotations

import dataclasses
import io
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from calibrations import IMAGE_S, MULTIPLY_ADDS, OTHER_MULTIPLY_ADDS, calibration_of
from fabricated_run import add_trials, make_run
from search_worlds import SPACE, Rungs, score, search

from model.engine import Engine
from search import packing
from search.budget import Budget
from search.calibration import Calibration, Speed
from search.display import Display
from search.measuring import calibration_by_more, calibration_in_hand, proposals
from search.plan import Forecast, Range, Work, make_forecast
from search.plan_words import brief_line, plan_lines, verdict
from search.planner import forecast_of_run, forecast_until
from search.prepare import Machine, Preparation, prepare
from search.rehearsal import Curves, rehearse
from search.results import load_run
from search.run import judge_forecast
from search.run_folder import RunFolder
from search.searcher import build_searcher
from search.settings import SearchSettings
from search.slots import Slots
from search.study import NewTrial, RunStudy
from search.summary import write_results
from search.trial_scheduler import StudyPromotionScheduler, build_trial_scheduler

SMALL, LARGE = (
    NewTrial(config={"batch_size": 50, "size": size}, seed=0, profile={"multiply_adds": macs, "num_params": params})
    for size, macs, params in (("small", 1_000_000, 1000), ("large", 3_000_000, 9000))
)
CALIBRATION = Calibration(
    speeds=tuple(
        Speed(config=trial.config, multiply_adds=int(trial.profile["multiply_adds"]), image_s=image_s, memory_bytes=1e9)
        for trial, image_s in ((SMALL, 0.02), (LARGE, 0.04))
    ),
    alone=2.0,
)


def steering(rungs: Rungs, time_budget_s: float | None = None, num_trials: int = 4) -> Any:
    def steer(study: RunStudy, given: Sequence[NewTrial], clock: Callable[[], float]) -> tuple[Any, Any]:
        budget = Budget(time_budget_s, study, max_epochs=rungs.max_epochs, retrain_epochs_of_trial=5.0, clock=clock)
        scheduler = build_trial_scheduler(rungs, study)
        searcher = build_searcher(
            SPACE,
            study,
            0,
            given=given,
            max_concurrent=2,
            promotions=scheduler.promotions if isinstance(scheduler, StudyPromotionScheduler) else None,
            num_trials=num_trials,
            may_start=budget.may_start,
        )
        return searcher, scheduler

    return steer


def work(**changes: Any) -> Work:
    told = Work(
        num_trials=4,
        max_epochs=3,
        slots=Slots(num_concurrent=1, cpus_per_trial=2, gpus_per_trial=0.0, gpus=0),
        num_cpus=2,
        num_train=120,
        proposals=[SMALL, LARGE, LARGE, LARGE],
        retrained=[SMALL],
        num_finalists=0,
        retrain_epochs=8.0,
        start_s=0.0,
    )
    return dataclasses.replace(told, **changes)


def forecast_of(told: Work, calibration: Calibration, steer: Any) -> Forecast:
    return make_forecast(told, calibration, steer, enough=math.inf)


BLOCKS = ("c1", "c2", "c3", "output")
NO_STOPS = Rungs(max_epochs=3, grace_period=3)


def test_one_worker_without_stops_is_plain_arithmetic() -> None:
    forecast = forecast_of(work(proposals=[LARGE], retrained=[]), CALIBRATION, steering(NO_STOPS))
    # An epoch is two batches of 50 of the 120 images, 0.04 s each: 4 s. Four trials of three epochs.
    assert (forecast.search_s.low, forecast.search_s.high) == pytest.approx((48.0, 48.0))
    # Eight epochs alone on the machine, twice as fast.
    assert forecast.retrain_s.median == pytest.approx(16.0)
    assert forecast.wall_s.median == pytest.approx(64.0)
    assert forecast.device_s.median == pytest.approx(2 * 64.0)
    assert forecast.endings == {"completed": 4.0}
    assert forecast.epochs == Range(median=12.0, low=12.0, high=12.0)
    assert forecast.memory_bytes == 10**9
    # Three checkpoints of 9,000 parameters, four float32 each; 8 MiB and 2 KiB an epoch for the record.
    assert forecast.disk_bytes == 3 * 9000 * 4 * 4 + 8 * 2**20 + 12 * 2048


def test_a_retraining_of_the_baseline_runs_at_its_own_speed() -> None:
    forecast = forecast_of(work(proposals=[LARGE]), CALIBRATION, steering(NO_STOPS))
    assert forecast.retrain_s.median == pytest.approx(8 * (4 + 2) / 2 / 2)


def test_workers_share_the_trials() -> None:
    slots = Slots(num_concurrent=2, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
    forecast = forecast_of(work(slots=slots), CALIBRATION, steering(NO_STOPS))
    # 6 s for the small one and then 12 s on one worker, 12 s and 12 s on the other.
    assert forecast.search_s.median == pytest.approx(12 + 12)
    assert forecast.memory_bytes == 2 * 10**9


def test_the_scheduler_stops_trials_and_the_interval_is_open() -> None:
    rungs = Rungs(max_epochs=9, grace_period=1)
    forecast = forecast_of(
        work(num_trials=12, max_epochs=9, proposals=[SMALL, LARGE]), CALIBRATION, steering(rungs, num_trials=12)
    )
    assert set(forecast.endings) == {"completed", "stopped"}
    assert sum(forecast.endings.values()) == pytest.approx(12)
    assert forecast.epochs.low < forecast.epochs.median < forecast.epochs.high < 12 * 9
    assert forecast.wall_s.low < forecast.wall_s.median < forecast.wall_s.high
    assert forecast.num_rehearsals == 40


def test_a_time_budget_is_seen_to_pass() -> None:
    # 12 s a trial; three epochs and five of retraining, 4 s each, have to fit in before a further one starts.
    forecast = forecast_of(work(proposals=[LARGE]), CALIBRATION, steering(NO_STOPS, time_budget_s=50.0))
    assert forecast.endings == {"completed": 2.0}


def test_a_promoting_search_is_played_with_its_pauses() -> None:
    rungs = Rungs(max_epochs=9, grace_period=1, scheduler="promotion")
    forecast = forecast_of(
        work(num_trials=12, max_epochs=9, proposals=[SMALL, LARGE]), CALIBRATION, steering(rungs, num_trials=12)
    )
    assert sum(forecast.endings.values()) == pytest.approx(12)
    assert 12 < forecast.epochs.low <= forecast.epochs.high < 12 * 9
    # Nearly all wait with their checkpoints, of 9,000 parameters at most, until the search is over.
    assert forecast.disk_bytes - 8 * 2**20 > 8 * 3 * 9000 * 4 * 4


def test_finals_are_retrained_at_the_speed_of_the_best() -> None:
    forecast = forecast_of(work(proposals=[LARGE], num_finalists=3), CALIBRATION, steering(NO_STOPS))
    # Three finalists and the winner of 4 s an epoch, the baseline of 2 s, each a fifth of eight epochs, twice as fast.
    assert forecast.retrain_s.median == pytest.approx(8 * (4 * 4 + 2) / 5 / 2)


NINE, OTHERS = (
    [
        NewTrial(config={"batch_size": 50, "size": macs}, seed=0, profile={"multiply_adds": macs, "num_params": 1})
        for macs in sizes
    ]
    for sizes in (MULTIPLY_ADDS, OTHER_MULTIPLY_ADDS)
)


def forecast_by(image_s: Sequence[float]) -> Forecast:
    """Nine configs as measured, two of which are retrained, and some more that were not."""
    rungs = Rungs(max_epochs=9, grace_period=1)
    told = work(num_trials=10, max_epochs=9, proposals=[*NINE[:2], *OTHERS], retrained=NINE[:2])
    calibration = calibration_of(image_s, [trial.config for trial in NINE])
    return forecast_of(told, calibration, steering(rungs, num_trials=10))


@pytest.mark.parametrize(("index", "factor"), [(0, 30.0), (4, 1 / 30)])
def test_one_disturbed_measurement_hardly_moves_the_forecast(index: int, factor: float) -> None:
    told = forecast_by(IMAGE_S).wall_s
    disturbed = forecast_by([seconds * (factor if at == index else 1) for at, seconds in enumerate(IMAGE_S)]).wall_s
    assert disturbed.median == pytest.approx(told.median, rel=0.1)
    assert disturbed.high < 1.3 * told.high


def test_a_busy_machine_takes_as_many_times_as_long_and_nobody_knows_for_how_long() -> None:
    slow = dataclasses.replace(CALIBRATION, slowdown=3.0)
    forecast = forecast_of(work(proposals=[LARGE], retrained=[]), slow, steering(NO_STOPS))
    assert forecast.wall_s.median == pytest.approx(3 * 64.0, rel=0.25)
    assert forecast.wall_s.low < 0.8 * 3 * 64 < 1.2 * 3 * 64 < forecast.wall_s.high
    assert forecast.slowdown == 3.0


def test_preparations_and_start_are_part_of_the_wall_time() -> None:
    told = work(proposals=[LARGE], retrained=[], preparation_s=7.0, start_s=10.0)
    forecast = forecast_of(told, CALIBRATION, steering(NO_STOPS))
    assert forecast.wall_s.median == pytest.approx(64 + 7 + 10, rel=0.05)


def test_a_run_that_cannot_be_played_in_time_has_no_forecast() -> None:
    with pytest.raises(TimeoutError, match="no time left to simulate"):
        make_forecast(work(), CALIBRATION, steering(NO_STOPS), enough=math.inf, deadline=time.monotonic())


def test_a_run_is_played_a_few_times_even_when_time_is_short() -> None:
    now = time.monotonic()
    assert make_forecast(work(), CALIBRATION, steering(NO_STOPS), enough=now).num_rehearsals == 5


class SameCurves(Curves):
    """Those of `search_worlds`, for trials of these configs."""

    def __init__(self, configs: Sequence[Mapping[str, Any]], max_epochs: int) -> None:
        super().__init__(max_epochs, seed=0)
        self._configs = configs
        self._max_epochs = max_epochs

    def accuracies(self, trial_number: int) -> list[float]:
        return [score(self._configs[trial_number], epoch) for epoch in range(1, self._max_epochs + 1)]


@pytest.mark.parametrize("scheduler", ["asha", "promotion"])
def test_a_rehearsal_trains_as_many_epochs_as_the_real_search_with_the_same_curves(scheduler: str) -> None:
    rungs = Rungs(max_epochs=9, grace_period=1, scheduler=scheduler)
    real = RunStudy.in_memory()
    search(real, 30, rungs=rungs)
    # Those that diverge or fail are no part of a rehearsal; what is left is searched again by itself.
    sound = [
        NewTrial(config=record.config, seed=record.seed)
        for record in real.trials()
        if record.status.value in ("completed", "stopped")
    ]
    again = RunStudy.in_memory()
    search(again, len(sound), rungs=rungs, given=sound)
    played = rehearse(
        steering(rungs, num_trials=len(sound)),
        sound,
        SameCurves([trial.config for trial in sound], 9),
        lambda _number: 1.0,
        num_workers=1,
        deadline=math.inf,
    )
    assert len(sound) > 10
    assert played.epochs == sum(record.epochs_trained for record in again.trials())
    assert played.search_s == played.epochs
    assert played.endings.total() == len(sound)


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
    assert (forecast.num_measured, forecast.memory_bytes) == (1, 10**8)
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


def test_measuring_that_never_ends_is_left_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_start_process", mute)
    preparation = prepared(tmp_path)
    start = time.monotonic()
    calibration = calibration_by_more(preparation, preparation.given_trials, start + 0.5)
    assert time.monotonic() - start < 10
    assert len(calibration.speeds) == 1, "the step of the seed network is left"


def test_curves_are_the_same_each_time_and_differ_between_runs() -> None:
    curves = Curves(9, seed=3)
    assert curves.accuracies(5) == curves.accuracies(5) == Curves(9, seed=3).accuracies(5)
    assert curves.accuracies(5) != curves.accuracies(6)
    assert curves.accuracies(5) != Curves(9, seed=4).accuracies(5)
    assert all(0 <= value <= 1 for value in curves.accuracies(5))


FORECAST = Forecast(
    num_concurrent=2,
    cpus_per_trial=1,
    gpus=0,
    endings={"completed": 6.5, "stopped": 13.5},
    epochs=Range(median=210.4, low=150, high=290),
    retrain_epochs=55.6,
    search_s=Range(median=3300, low=3000, high=3600),
    retrain_s=Range(median=1500, low=1400, high=1600),
    wall_s=Range(median=4800, low=3720, high=6600),
    device_s=Range(median=9360, low=7200, high=12600),
    disk_bytes=310_000_000,
    memory_bytes=2_100_000_000,
    slowdown=1.1,
    num_measured=1,
    num_rehearsals=40,
)


def test_the_whole_forecast_in_words() -> None:
    assert plan_lines(FORECAST, free_disk=12_000_000_000, memory=25_000_000_000) == [
        "20.0 trials (6.5 completed, 13.5 stopped), 2 side by side, 1 CPU core each",
        "210 epochs in trials (150 to 290); retraining costs as much as 56 more",
        "wall time 1 h 20 min (1 h 02 min to 1 h 50 min): search 55 min 00 s, retraining 25 min 00 s",
        "2.6 (2 to 3.5) CPU hours; disk 310 MB of 12.0 GB free; memory of the trials 2.1 GB of 25.0 GB",
        "Medians (of trials: means) and 90 % intervals of 40 simulated runs; speeds by 1 measured config.",
    ]
    assert brief_line(FORECAST) == (
        "forecast: 1 h 20 min (1 h 02 min to 1 h 50 min) for 20 trials of 210 epochs together (150 to 290), "
        "2 side by side, 1 CPU core each, and the retraining"
    )


def test_gpus_and_a_busy_machine_in_words() -> None:
    changed = dataclasses.replace(FORECAST, gpus=1, num_concurrent=3, cpus_per_trial=4, slowdown=2.54, num_measured=9)
    assert "3 side by side on 1 GPU, 4 CPU cores each" in brief_line(changed)
    assert brief_line(changed).endswith("and the retraining, 2.5 times as slow as if nothing else ran here")
    lines = plan_lines(changed, free_disk=12_000_000_000, memory=25_000_000_000)
    assert lines[-1].endswith("by 9 measured configs, 2.5 times as slow as if nothing else ran here.")
    assert "2.6 (2 to 3.5) GPU hours" in lines[-2]
    assert lines[-2].endswith("GPU memory of the trials 2.1 GB")


def test_the_verdict_says_how_far_off() -> None:
    table = FORECAST.table()
    assert verdict(table) is None
    assert verdict({}) is None
    assert verdict({**table, "actual_wall_s": 6000.0, "actual_epochs": 300}) == (
        "The forecast was 1 h 20 min (1 h 02 min to 1 h 50 min), and it took 1 h 40 min: +25 %, within the interval; "
        "210 epochs in trials (150 to 290), and there were 300."
    )
    assert "-50 %, outside the interval" in str(verdict({**table, "actual_wall_s": 2400.0, "actual_epochs": 300}))


def test_a_finished_run_is_judged_on_the_screen_in_run_toml_and_in_the_summary(tmp_path: Path) -> None:
    made = make_run(tmp_path / "r", lambda study: add_trials(study, 6))
    epochs = sum(record.epochs_trained for record in made.records)
    RunFolder(made.run_dir).write_forecast(FORECAST.table())
    run = load_run(made.run_dir)
    run.__dict__["study"] = made.study
    screen = io.StringIO()
    judge_forecast(run, 2400.0, Display(screen))
    assert screen.getvalue().startswith("The forecast was 1 h 20 min")
    assert screen.getvalue().endswith(f"and there were {epochs}.\n")

    judged = load_run(made.run_dir)
    judged.__dict__["study"] = made.study
    assert judged.document["forecast"]["actual_epochs"] == epochs
    assert judged.document["forecast"]["wall_s"] == {"median": 4800, "low": 3720, "high": 6600}
    write_results(judged)
    assert screen.getvalue().strip() in (made.run_dir / "summary.md").read_text()


def test_a_run_without_a_forecast_is_not_judged(tmp_path: Path) -> None:
    made, screen = make_run(tmp_path / "r", lambda study: add_trials(study, 2)), io.StringIO()
    judge_forecast(made, 2400.0, Display(screen))
    assert screen.getvalue() == ""
