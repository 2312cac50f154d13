"""The search machinery under load: `python -m benchmarks.many_trials --out F`.

1,000 trials that only sleep, for one epoch of a second, 16 side by side on 16 logical CPUs, through the project's
searcher, trial scheduler and tuner, with the record in SQLite; then by Ray Tune alone: random search, no scheduler,
reused workers. The ideal is the time that the trials sleep / 16. Of each: the time over the ideal of the second half of
the reports, when all workers run, from the first trial's start to the last report, and with the start of Ray and of 16
worker processes, each of which loads torch; and of the second half, the driver's computing time for each report.

`--epochs 20 --seconds 0.05 --trials 60` asks for more reports than the driver can take: its limit. With
`--checkpoint-mb 4`, each of our reports brings a checkpoint.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune import Callback

from benchmarks.conditions import write_result
from benchmarks.no_images import no_images
from model.checkpoint import Checkpoint
from model.engine import Engine
from model.split_images import ImageTensors
from search.machine.slots import Slots
from search.samplers.build import make_sampler
from search.samplers.proposer import Proposer
from search.schedulers.steering import Steering
from search.settings import SearchSettings
from search.space.parameter import Parameter
from search.space.space import SearchSpace
from search.study.checkpoints import Checkpoints
from search.study.study import RunStudy
from search.tune.callbacks import CheckpointCallback, NodeCallback
from search.tune.cluster import ray_cluster
from search.tune.searcher import StudySearcher
from search.tune.trial_scheduler import StudyScheduler
from search.tune.tuner import make_trainable, run_trials
from search.worker.trainable import Report, TrialPlan

_SLOTS = Slots(num_concurrent=16, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)


@dataclass(frozen=True)
class _Load:
    """What is asked of a search: trials, epochs of each, seconds of an epoch, size of the checkpoint of each epoch."""

    trials: int
    epochs: int
    seconds: float
    checkpoint_mb: float

    @property
    def report_s(self) -> float:
        """The time between two reports of all workers together, at best."""
        return self.seconds / _SLOTS.num_concurrent


@dataclass(frozen=True)
class _Reported:
    """When a report came, of which worker, and the driver's computing time so far. Seconds."""

    at: float
    worker: str
    driver_s: float


class _Listener(Callback):
    def __init__(self) -> None:
        self.reports: list[_Reported] = []

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        self.reports.append(_Reported(time.time(), str(result["pid"]), time.process_time()))


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    made.add_argument("--trials", type=int, default=1000, help="trials (1000)")
    made.add_argument("--epochs", type=int, default=1, help="epochs of each (1)")
    made.add_argument("--seconds", type=float, default=1.0, help="seconds of an epoch (1)")
    made.add_argument("--checkpoint-mb", type=float, default=0.0, help="MB of a checkpoint an epoch; 0 for none (0)")
    arguments = made.parse_args()
    load = _Load(arguments.trials, arguments.epochs, arguments.seconds, arguments.checkpoint_mb)
    result: dict[str, Any] = {"benchmark": "many_trials", **asdict(load)}
    for name, search in (("ours", _our_reports), ("ray_alone", _ray_alone)):
        start = time.time()
        with tempfile.TemporaryDirectory() as folder:
            reports = search(Path(folder), load)
        if len(reports) != load.trials * load.epochs:
            raise SystemExit(f"{load} was asked for and {len(reports)} reports came")
        result[name] = _over_ideal(reports, load, start)
        print(f"{name}: " + ", ".join(f"{part} {value:.3f}" for part, value in result[name].items()), flush=True)
    write_result(arguments.out, result)


def _over_ideal(reports: Sequence[_Reported], load: _Load, start: float) -> dict[str, float]:
    """Wall times over the ideal, what a report costs the driver, and how many workers there were."""
    first, half, last = reports[0], reports[len(reports) // 2], reports[-1]
    num_late = len(reports) - 1 - len(reports) // 2
    return {
        "second_half": (last.at - half.at) / (num_late * load.report_s),
        "over_ideal": (last.at - first.at + load.seconds) / (len(reports) * load.report_s),
        "with_starts": (last.at - start) / (len(reports) * load.report_s),
        "reports_per_s": num_late / (last.at - half.at),
        "driver_ms_per_report": 1e3 * (last.driver_s - half.driver_s) / num_late,
        "workers": len({report.worker for report in reports}),
    }


def _ray_alone(folder: Path, load: _Load) -> list[_Reported]:
    listener = _Listener()
    with ray_cluster(_SLOTS, folder / "ray.log") as scratch:
        tune.Tuner(
            tune.with_resources(tune.with_parameters(_sleep_alone, load=load), {"cpu": 1}),
            param_space={"x": tune.uniform(0.0, 1.0)},
            tune_config=tune.TuneConfig(num_samples=load.trials, reuse_actors=True),
            run_config=tune.RunConfig(name="alone", storage_path=str(scratch), verbose=0, callbacks=[listener]),
        ).fit()
    return listener.reports


def _sleep_alone(config: Mapping[str, Any], load: _Load) -> None:
    for _ in range(load.epochs):
        time.sleep(load.seconds)
        tune.report({"val_score": config["x"]})


def _our_reports(folder: Path, load: _Load) -> list[_Reported]:
    settings = SearchSettings(run_name="many", results_dir=folder, max_epochs=load.epochs, grace_period=load.epochs)
    settings.run_dir.mkdir()
    study = RunStudy.in_database(settings.storage_url, settings.run_name)
    space = SearchSpace({"x": Parameter(kind="linear", low=0.0, high=1.0)})
    checkpoints = Checkpoints(folder)
    scheduler = StudyScheduler(settings, study, checkpoints=checkpoints)
    score_epochs = scheduler.promotions.score_epochs if scheduler.promotions else None
    searcher = StudySearcher(
        Proposer(space, study, 0, partial(make_sampler, seed=0, score_epochs=score_epochs)),
        study,
        Steering(num_trials=load.trials, num_slots=_SLOTS.num_concurrent),
        promotions=scheduler.promotions,
    )
    listener = _Listener()
    plan = TrialPlan(max_epochs=load.epochs, rung_epochs=(), engine=Engine())
    with ray_cluster(_SLOTS, folder / "ray.log") as scratch:
        run_trials(
            make_trainable(partial(_sleep, load=load), no_images(), plan, _SLOTS),
            searcher,
            scheduler,
            max_failures=0,
            scratch=scratch,
            callbacks=[CheckpointCallback(checkpoints, scheduler), NodeCallback(_SLOTS), listener],
        )
    return listener.reports


def _sleep(assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan, report: Report, load: _Load) -> None:
    for epoch in range(1, load.epochs + 1):
        time.sleep(load.seconds)
        metrics = {"epoch": epoch, "val_score": assignment["config"]["x"]}
        if load.checkpoint_mb:
            weights = {"weights": torch.zeros(int(load.checkpoint_mb * 1e6), dtype=torch.uint8)}
            metrics["checkpoint"] = Checkpoint.of(epoch, weights, {})
        report(metrics)


if __name__ == "__main__":
    main()
