"""Many tiny trials on Ray in a process of its own, which tells what it holds on to as they end.

python soak_search.py FOLDER NUM_TRIALS: prints a JSON list with one measurement for every 50 trials that have ended.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster_search import SLOTS, images
from search_worlds import SPACE, Rungs, build_searcher

from model.engine import Engine
from model.split_images import ImageTensors
from search.study.checkpoints import Checkpoints
from search.study.study import RunStudy
from search.tune.callbacks import CheckpointCallback, NodeCallback, ReportCallback
from search.tune.cluster import ray_cluster
from search.tune.trial_scheduler import StudyScheduler
from search.tune.tuner import make_trainable, run_trials
from search.worker.trainable import Report, TrialPlan

INTERVAL = 50


def train_nothing(assignment: Mapping[str, Any], shared: ImageTensors, plan: TrialPlan, report: Report) -> None:
    """One epoch, which is the whole trial."""
    report({"epoch": 1, "val_score": 0.5, "seconds": 0.0, "images_per_s": 1.0})


def held_by(pid: int) -> tuple[int, int, int]:
    """Bytes in memory, open files and threads of a process."""
    folder = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) * 1024, len(list((folder / "fd").iterdir())), int(status["Threads"])


def measured(scratch: Path, num_ended: int, worker: int) -> dict[str, int]:
    """What this process, the worker and the temporary folder hold."""
    names = ("bytes", "files", "threads")
    files = [path for path in scratch.rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        "num_ended": num_ended,
        "worker": worker,
        **{f"driver_{name}": value for name, value in zip(names, held_by(os.getpid()), strict=True)},
        **{f"worker_{name}": value for name, value in zip(names, held_by(worker), strict=True)},
        "scratch_files": len(files),
        "scratch_bytes": sum(path.stat().st_size for path in files),
    }


def main() -> None:
    folder, num_trials = Path(sys.argv[1]), int(sys.argv[2])
    study = RunStudy.in_database(f"sqlite:///{folder / 'study.db'}", "run")
    scheduler = StudyScheduler(Rungs(max_epochs=1), study)
    measurements: list[dict[str, int]] = []
    num_reports = 0
    with ray_cluster(SLOTS, folder / "ray.log") as scratch:

        def on_report(_number: int, metrics: Mapping[str, Any]) -> None:
            nonlocal num_reports
            num_reports += 1
            if num_reports % INTERVAL == 0:
                worker = int(metrics["worker"].rpartition(":")[2])
                measurements.append(measured(scratch, num_reports, worker))

        plan = TrialPlan(max_epochs=1, rung_epochs=(), engine=Engine(num_threads=1))
        run_trials(
            make_trainable(train_nothing, images(), plan, SLOTS),
            build_searcher(
                dataclasses.replace(SPACE, constraint=None), study, 7, max_concurrent=1, num_trials=num_trials
            ),
            scheduler,
            max_failures=0,
            scratch=scratch,
            callbacks=[
                ReportCallback(on_report, lambda _number: None),
                CheckpointCallback(Checkpoints(folder), scheduler),
                NodeCallback(SLOTS),
            ],
        )
    print(json.dumps(measurements))


if __name__ == "__main__":
    main()
