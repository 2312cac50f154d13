"""Makes the forecast of a prepared run on this machine, and says it."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial

from search.forecast.calibration import Calibration
from search.forecast.forecast import Forecast, Work, make_forecast
from search.forecast.measuring import calibration_by_more, calibration_in_hand, proposals
from search.forecast.steering import steer
from search.forecast.wording import plan_lines
from search.machine.hardware import num_cpus
from search.setup.prepare import Preparation
from search.study.finals import RetrainPlan
from search.study.record import NewTrial

PACKED_AT, DRAWN_AT, MEASURED_AT, PLAYED_AT = 0.5, 0.6, 0.75, 0.85
"""Shares of the time that a forecast has if it is all that was asked for, after which each of its parts ends."""
DRAW_S, PLAY_S = 0.5, 0.5
"""The same for the forecast of a run that follows, which measures nothing of its own where the run is short."""
FIRST_PLAY_S = 20.0
"""Playing such a run once may take so long; a search of thousands of trials could."""
LONG_RUN_S, MEASURING_SHARE, MOST_MEASURING_S = 600.0, 1 / 60, 30.0
"""From so many seconds on, this share of a run is spent on measuring more configs, up to so many seconds: the space's
default may be a third faster than what the search will draw."""


def forecast_of_run(preparation: Preparation, *, started: float) -> Forecast:
    """Of a run that began at `started`, by time.monotonic(), and is prepared."""
    proposed = proposals(preparation, time.monotonic() + DRAW_S)
    forecast = _foreseen(preparation, proposed, calibration_in_hand(preparation), started=started)
    if forecast.wall_s.median < LONG_RUN_S:
        return forecast
    measuring_s = min(MOST_MEASURING_S, MEASURING_SHARE * forecast.wall_s.median)
    calibration = calibration_by_more(preparation, proposed, time.monotonic() + measuring_s)
    return _foreseen(preparation, proposed, calibration, started=started)


def _foreseen(
    preparation: Preparation, proposed: list[NewTrial], calibration: Calibration, *, started: float
) -> Forecast:
    now = time.monotonic()
    work = _work(preparation, proposed, preparation_s=now - started)
    steering = partial(steer, preparation)
    return make_forecast(work, calibration, steering, enough=now + PLAY_S, deadline=now + FIRST_PLAY_S)


def forecast_until(preparation: Preparation, *, started: float, deadline: float) -> Forecast:
    """Measures, too, what more configs cost. Both moments by time.monotonic()."""
    prepared_s = time.monotonic() - started
    proposed = proposals(preparation, moment(started, deadline, DRAWN_AT))
    calibration = calibration_by_more(preparation, proposed, moment(started, deadline, MEASURED_AT))
    return make_forecast(
        _work(preparation, proposed, preparation_s=prepared_s),
        calibration,
        partial(steer, preparation),
        enough=moment(started, deadline, PLAYED_AT),
        deadline=deadline,
    )


def moment(started: float, deadline: float, share: float) -> float:
    """After so much of the time."""
    return started + share * (deadline - started)


def plan_text(forecast: Forecast, preparation: Preparation) -> list[str]:
    """The whole forecast in lines, beside what this machine has."""
    folder = preparation.settings.results_dir.absolute()
    free_disk = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return plan_lines(forecast, free_disk=free_disk, memory=memory)


def _work(preparation: Preparation, proposed: list[NewTrial], *, preparation_s: float) -> Work:
    settings = preparation.settings
    finals = RetrainPlan.of(settings)
    return Work(
        num_trials=settings.num_trials,
        max_epochs=settings.max_epochs,
        slots=preparation.machine.slots,
        num_cpus=num_cpus(),
        num_train=len(preparation.arrays.train_indices),
        proposals=proposed,
        memory_need=max(preparation.memory_need(trial.config) for trial in proposed),
        retrained=list(preparation.baselines.values()),
        num_finalists=finals.num_top if finals.has_finals else 0,
        retrain_epochs=preparation.retrain_epochs_of_trial,
        preparation_s=preparation_s,
    )
