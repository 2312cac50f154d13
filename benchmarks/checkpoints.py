"""The road of checkpoints under load: `python -m benchmarks.checkpoints --out F`.

16 workers on 16 logical CPUs that sleep for a second an epoch and send a checkpoint of 16 MB with every report. A pause
is the time between two turns of Ray's loop: no other report is handled meanwhile, no key press noticed. While nothing
happens the loop itself waits for 0.1 s. A wait is what an epoch takes a worker beside its second.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

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
from search.study.record import NewTrial
from search.study.study import RunStudy
from search.tune.callbacks import CheckCallback, CheckpointCallback
from search.tune.cluster import ray_cluster
from search.tune.searcher import StudySearcher
from search.tune.trial_scheduler import StudyScheduler
from search.tune.tuner import make_trainable, run_trials
from search.worker.trainable import Report, TrialPlan

_SLOTS = Slots(num_concurrent=16, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
_EPOCH_S = 1.0
_NUM_EPOCHS = 8
_NUM_FLOATS = 4_000_000


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    arguments = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = _measured(Path(folder))
    print(", ".join(f"{name} {value:.3f}" for name, value in result.items()))
    write_result(arguments.out, {"benchmark": "checkpoints", "workers": _SLOTS.num_concurrent, **result})


def _measured(folder: Path) -> dict[str, float]:
    """Seconds: the longest pause and the 99th percentile once all workers report, and a worker's wait an epoch."""
    settings = SearchSettings(
        run_name="r", results_dir=folder, max_epochs=_NUM_EPOCHS, grace_period=_NUM_EPOCHS, scheduler="asha"
    )
    settings.run_dir.mkdir()
    study = RunStudy.in_database(settings.storage_url, settings.run_name)
    checkpoints = Checkpoints(settings.run_dir)
    scheduler = StudyScheduler(settings, study, checkpoints=checkpoints)
    given = [NewTrial(config={"n": number}, seed=number) for number in range(_SLOTS.num_concurrent)]
    proposer = Proposer(
        SearchSpace({"n": Parameter(kind="int", low=0, high=99)}),
        study,
        0,
        partial(make_sampler, seed=0, score_epochs=None),
        given=given,
    )
    plan = TrialPlan(max_epochs=_NUM_EPOCHS, rung_epochs=(), engine=Engine())
    turns: list[float] = []
    with ray_cluster(_SLOTS, folder / "ray.log") as scratch:
        run_trials(
            make_trainable(partial(_send, scratch), no_images(), plan, _SLOTS),
            StudySearcher(proposer, study, Steering(num_trials=len(given), num_slots=len(given))),
            scheduler,
            max_failures=0,
            scratch=scratch,
            callbacks=[
                CheckCallback(lambda: turns.append(time.time())),
                CheckpointCallback(checkpoints, scheduler),
            ],
        )
    epochs = [[row["recorded_at"] for row in trial.epoch_metrics.values()] for trial in study.trials()]
    begin, end = max(times[0] for times in epochs), min(times[-1] for times in epochs)
    pauses = [later - earlier for earlier, later in pairwise(turns) if begin <= earlier <= end]
    waits = [later - earlier - _EPOCH_S for times in epochs for earlier, later in pairwise(times)]
    return {
        "longest_pause_s": max(pauses),
        "p99_pause_s": float(np.quantile(pauses, 0.99)),
        "median_wait_s": statistics.median(waits),
    }


def _send(folder: Path, assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan, report: Report) -> None:
    """Waits for all workers first: on few cores the last one starts when the first would have ended."""
    (folder / f"started-{assignment['trial_number']}").touch()
    while len(list(folder.glob("started-*"))) < _SLOTS.num_concurrent:
        time.sleep(0.1)
    tensors = {"weights": torch.zeros(_NUM_FLOATS)}
    for epoch in range(1, plan.max_epochs + 1):
        time.sleep(_EPOCH_S)
        checkpoint = Checkpoint.of(epoch, tensors, {"epoch": epoch})
        report({"epoch": epoch, "val_score": 0.5, "checkpoint": checkpoint})


if __name__ == "__main__":
    main()
