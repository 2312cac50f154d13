"""The search machinery under load: `python -m benchmarks.many_trials --out F`.

1,000 trials that only sleep for a second, 16 side by side on 16 logical CPUs, through the project's searcher, trial
scheduler and tuner, with the record in SQLite; then by Ray Tune alone: random search, no scheduler, reused workers. The
ideal is trials / 16 seconds. Three figures of each: of the second half of the trials, when all workers run; from the
first trial's start to the last report; and with the start of Ray and of 16 worker processes, each of which loads torch.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from ray.tune import Callback

from benchmarks.conditions import write_result
from model.engine import Engine
from model.split_images import ImageArrays, ImageTensors
from search.machine.slots import Slots
from search.samplers.build import make_sampler
from search.samplers.proposer import Proposer
from search.settings import SearchSettings
from search.space.parameter import Parameter
from search.space.space import SearchSpace
from search.study.study import RunStudy
from search.tune.callbacks import CheckpointCallback, NodeCallback
from search.tune.cluster import ray_cluster
from search.tune.searcher import StudySearcher
from search.tune.trial_scheduler import StudyScheduler
from search.tune.tuner import make_trainable, run_trials
from search.worker.trainable import Report, TrialPlan

_SLOTS = Slots(num_concurrent=16, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
_TRIAL_S = 1.0


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    made.add_argument("--trials", type=int, default=1000, help="trials (1000)")
    arguments = made.parse_args()
    result: dict[str, Any] = {"benchmark": "many_trials", "trials": arguments.trials}
    for name, search in (("ours", _our_reports), ("ray_alone", _ray_alone)):
        start = time.time()
        with tempfile.TemporaryDirectory() as folder:
            reports = search(Path(folder), arguments.trials)
        if len(reports) != arguments.trials:
            raise SystemExit(f"{arguments.trials} trials were asked for and {len(reports)} reported")
        result[name] = _over_ideal(sorted(reports), start)
        print(f"{name}: " + ", ".join(f"{part} {value:.3f}" for part, value in result[name].items()), flush=True)
    write_result(arguments.out, result)


def _over_ideal(reports: Sequence[tuple[float, str]], start: float) -> dict[str, float]:
    """Of (time, worker) of every report, in order: wall times over the ideal, and how many workers there were."""
    times = [moment for moment, _ in reports]
    num_late = len(times) // 2
    a_trial_s = _TRIAL_S / _SLOTS.num_concurrent
    return {
        "second_half": (times[-1] - times[-1 - num_late]) / (num_late * a_trial_s),
        "over_ideal": (times[-1] - times[0] + _TRIAL_S) / (len(times) * a_trial_s),
        "with_starts": (times[-1] - start) / (len(times) * a_trial_s),
        "workers": len({worker for _, worker in reports}),
    }


def _our_reports(folder: Path, num_trials: int) -> list[tuple[float, str]]:
    study = _search(folder, num_trials)
    return [(row["recorded_at"], row["worker"]) for trial in study.trials() for row in trial.epoch_metrics.values()]


def _ray_alone(folder: Path, num_trials: int) -> list[tuple[float, str]]:
    reports: list[tuple[float, str]] = []

    class Listener(Callback):
        def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
            reports.append((time.time(), str(result["pid"])))

    with ray_cluster(_SLOTS, folder / "ray.log") as scratch:
        tune.Tuner(
            tune.with_resources(_sleep_alone, {"cpu": 1}),
            param_space={"x": tune.uniform(0.0, 1.0)},
            tune_config=tune.TuneConfig(num_samples=num_trials, reuse_actors=True),
            run_config=tune.RunConfig(name="alone", storage_path=str(scratch), verbose=0, callbacks=[Listener()]),
        ).fit()
    return reports


def _sleep_alone(config: Mapping[str, Any]) -> None:
    time.sleep(_TRIAL_S)
    tune.report({"val_accuracy": config["x"]})


def _search(folder: Path, num_trials: int) -> RunStudy:
    settings = SearchSettings(run_name="many", results_dir=folder, max_epochs=1, grace_period=1)
    settings.run_dir.mkdir()
    study = RunStudy.in_database(settings.storage_url, settings.run_name)
    space = SearchSpace({"x": Parameter(kind="linear", low=0.0, high=1.0)})
    scheduler = StudyScheduler(settings, study)
    score_epochs = scheduler.promotions.score_epochs if scheduler.promotions else None
    searcher = StudySearcher(
        Proposer(space, study, 0, partial(make_sampler, seed=0, score_epochs=score_epochs)),
        study,
        num_trials=num_trials,
        max_concurrent=_SLOTS.num_concurrent,
        promotions=scheduler.promotions,
    )
    plan = TrialPlan(max_epochs=1, rung_epochs=(), engine=Engine(), checkpoints_dir=folder)
    with ray_cluster(_SLOTS, folder / "ray.log") as scratch:
        run_trials(
            make_trainable(_sleep, _no_images(), plan, _SLOTS),
            searcher,
            scheduler,
            max_failures=0,
            scratch=scratch,
            callbacks=[CheckpointCallback(plan, scheduler), NodeCallback(_SLOTS)],
        )
    return study


def _sleep(assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan, report: Report) -> None:
    time.sleep(_TRIAL_S)
    report({"epoch": 1, "val_score": assignment["config"]["x"]})


def _no_images() -> ImageArrays:
    return ImageArrays(
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
