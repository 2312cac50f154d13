"""The forecast: exact arithmetic where nothing is left to chance, and the run's own scheduler."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from calibrations import IMAGE_S, MULTIPLY_ADDS, OTHER_MULTIPLY_ADDS, calibration_of
from search_worlds import SPACE, Rungs, build_searcher, score, search

from search.forecast.calibration import Calibration, Speed
from search.forecast.forecast import Forecast, Range, Work, make_forecast
from search.forecast.rehearsal import Curves, rehearse
from search.machine.slots import Slots
from search.schedulers.time_budget import Budget
from search.study.record import NewTrial
from search.study.study import RunStudy
from search.tune.trial_scheduler import StudyScheduler

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
        scheduler = StudyScheduler(rungs, study)
        searcher = build_searcher(
            SPACE,
            study,
            0,
            given=given,
            max_concurrent=2,
            promotions=scheduler.promotions,
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
        memory_need=500_000_000,
        retrained=[SMALL],
        num_finalists=0,
        retrain_epochs=8.0,
        start_s=0.0,
    )
    return dataclasses.replace(told, **changes)


def forecast_of(told: Work, calibration: Calibration, steer: Any) -> Forecast:
    return make_forecast(told, calibration, steer, enough=math.inf)


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
    # A worker with torch loaded, and eight bytes for each number.
    assert forecast.memory_bytes == 750_000_000 + 8 * 500_000_000
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
    assert forecast.memory_bytes == 2 * (750_000_000 + 8 * 500_000_000)


def test_on_a_gpu_the_memory_is_what_was_measured() -> None:
    slots = Slots(num_concurrent=2, cpus_per_trial=1, gpus_per_trial=0.5, gpus=1)
    assert forecast_of(work(slots=slots), CALIBRATION, steering(NO_STOPS)).memory_bytes == 2 * 10**9


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


def test_curves_are_the_same_each_time_and_differ_between_runs() -> None:
    curves = Curves(9, seed=3)
    assert curves.accuracies(5) == curves.accuracies(5) == Curves(9, seed=3).accuracies(5)
    assert curves.accuracies(5) != curves.accuracies(6)
    assert curves.accuracies(5) != Curves(9, seed=4).accuracies(5)
    assert all(0 <= value <= 1 for value in curves.accuracies(5))
