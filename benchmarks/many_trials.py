"""The search machinery under load: `python -m benchmarks.many_trials --out F`.

1,000 trials that only sleep for a second, 16 side by side on 16 logical CPUs, through the project's searcher, trial
scheduler and tuner, with the record in SQLite. The ideal is trials / 16 seconds. Three figures: of the second half of
the trials, when all workers run; from the first trial's start to the last report; and with the start of Ray and of 16
worker processes, each of which loads torch.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditions import write_result
from model.engine import Engine
from model.training import SharedImages
from search.arrays import SearchArrays
from search.parameter import Parameter
from search.searcher import build_searcher
from search.settings import SearchSettings
from search.slots import Slots
from search.space import SearchSpace
from search.study import RunStudy
from search.trainable import Report, TrialPlan
from search.trial_clock import TrialClock
from search.trial_scheduler import build_trial_scheduler
from search.tuner import ray_cluster, run_trials

_SLOTS = Slots(num_concurrent=16, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
_TRIAL_S = 1.0


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    made.add_argument("--trials", type=int, default=1000, help="trials (1000)")
    arguments = made.parse_args()
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        study = _search(Path(folder), arguments.trials)
        reports = [metrics["recorded_at"] for trial in study.trials() for metrics in trial.epoch_metrics.values()]
    if len(reports) != arguments.trials:
        raise SystemExit(f"{arguments.trials} trials were asked for and {len(reports)} reported")
    ideal_s = arguments.trials * _TRIAL_S / _SLOTS.num_concurrent
    reports.sort()
    num_late = len(reports) // 2
    late = (reports[-1] - reports[-1 - num_late]) / (num_late * _TRIAL_S / _SLOTS.num_concurrent)
    steady = (reports[-1] - reports[0] + _TRIAL_S) / ideal_s
    whole = (reports[-1] - start) / ideal_s
    print(f"{arguments.trials} trials: {steady:.3f} of the ideal {ideal_s:.1f} s; {whole:.3f} with all starts")
    print(f"the second half alone: {late:.3f}")
    write_result(
        arguments.out,
        {
            "benchmark": "many_trials",
            "trials": arguments.trials,
            "second_half": late,
            "over_ideal": steady,
            "with_starts": whole,
        },
    )


def _search(folder: Path, num_trials: int) -> RunStudy:
    settings = SearchSettings(run_name="many", results_dir=folder, max_epochs=1, grace_period=1)
    settings.run_dir.mkdir()
    study = RunStudy.in_database(settings.storage_url, settings.run_name)
    space = SearchSpace({"x": Parameter(kind="linear", low=0.0, high=1.0)})
    with ray_cluster(_SLOTS, folder / "ray.log") as scratch:
        run_trials(
            build_searcher(space, study, 0, max_concurrent=_SLOTS.num_concurrent),
            build_trial_scheduler(settings, study),
            num_trials=num_trials,
            arrays=_no_images(),
            plan=TrialPlan(max_epochs=1, rung_epochs=(), engine=Engine(), checkpoints_dir=folder),
            slots=_SLOTS,
            max_failures=0,
            clock=TrialClock(600.0),
            scratch=scratch,
            check=lambda: None,
            on_report=lambda _number, _metrics: None,
            on_end=lambda _number: None,
            train=_sleep,
        )
    return study


def _sleep(assignment: Mapping[str, Any], images: SharedImages, plan: TrialPlan, report: Report) -> None:
    time.sleep(_TRIAL_S)
    report({"epoch": 1, "val_accuracy": assignment["config"]["x"]})


def _no_images() -> SearchArrays:
    return SearchArrays(
        images=np.zeros((1, 8, 8, 3), np.uint8),
        labels=np.zeros(1, np.int64),
        train_indices=np.zeros(1, np.int64),
        val_indices=np.zeros(0, np.int64),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        num_classes=2,
        split_hash="none",
    )


if __name__ == "__main__":
    main()
