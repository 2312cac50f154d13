"""A small search on a Ray cluster of three nodes on one machine, some of which are lost while it runs.

python cluster_search.py FOLDER FAULT: prints the story as JSON, or why the search ended, and exits with 1.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.cluster_utils import Cluster
from search_worlds import Rungs, build_searcher

from model.config import TrainConfig
from model.engine import Engine
from model.network_config import BlockConfig, NetworkConfig
from model.recipe import Recipe
from model.split_images import ImageArrays, ImageTensors
from search.machine.slots import Slots
from search.schedulers.rungs import rung_epochs
from search.space.parameter import Parameter
from search.space.space import SearchSpace
from search.study.checkpoints import Checkpoints
from search.study.study import RunStudy
from search.tune import tuner
from search.tune.callbacks import CheckpointCallback, NodeCallback, ReportCallback
from search.tune.cluster import RAY_SETTINGS, NodeDied
from search.tune.trial_scheduler import StudyScheduler
from search.worker.trainable import Report, TrialPlan, train_trial

BLOCK = BlockConfig(num_convs=1, inner_width=4, width=4)
CONFIG = TrainConfig(
    network=NetworkConfig(c1=BLOCK, c2=BLOCK, c3=BLOCK, output=BLOCK).flat(), recipe=Recipe(batch_size=8)
).flat()
SPACE = SearchSpace(
    {"lr": Parameter(kind="log", low=0.001, high=0.3)}, {key: value for key, value in CONFIG.items() if key != "lr"}
)
SLOTS = Slots(num_concurrent=1, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
NUM_TRIALS = 3
EPOCH_S = 0.3
NUM_STARTS = 5
STRIKE_AT = (1, 2)
"""(trial number, epoch) whose report brings the fault."""
ANSWER = "answer: "
"""Begins the line to read, among those of Ray's."""


@dataclass
class Nodes:
    """The cluster's nodes, and what happens to them."""

    cluster: Cluster
    frozen: list[int] = field(default_factory=list)

    def holding(self, worker_pid: int) -> Any:
        """The node whose raylet started the worker."""
        raylet = parent_of(worker_pid)
        (node,) = [node for node in self.cluster.worker_nodes if raylet_of(node) == raylet]
        return node

    def strike(self, fault: str, worker_pid: int) -> None:
        node = self.holding(worker_pid)
        if fault == "removed":
            self.cluster.remove_node(node, allow_graceful=False)
        elif fault == "frozen":
            self.frozen = [raylet_of(node), worker_pid]
            for pid in self.frozen:
                os.kill(pid, signal.SIGSTOP)
        elif fault == "all":
            for other in list(self.cluster.worker_nodes):
                self.cluster.remove_node(other, allow_graceful=False)

    def thaw(self) -> None:
        """The frozen node wakes up, long after it was given up."""
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.frozen = []


def parent_of(pid: int) -> int:
    """The process that started another."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


def raylet_of(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


@contextlib.contextmanager
def cluster_of_three(scratch: Path) -> Iterator[Nodes]:
    """A head that takes no trial, to which this process belongs, and two nodes with a place for one each."""
    os.environ.update(RAY_SETTINGS)
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    os.environ["RAY_TMPDIR"] = str(scratch)
    nodes = Nodes(start_cluster())
    try:
        yield nodes
    finally:
        nodes.thaw()
        ray.shutdown()
        shut_down(nodes.cluster)


def start_cluster() -> Cluster:
    """On a machine too busy for Ray's patience of 30 s with a node, again."""
    for attempt in range(NUM_STARTS):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=0, include_dashboard=False)
            ray.init(address=cluster.address, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
            for _ in range(2):
                cluster.add_node(num_cpus=1)
        except Exception as error:  # Ray raises plain Exceptions here
            print(f"start {attempt}: {error}", file=sys.stderr)
            ray.shutdown()
            shut_down(cluster)
        else:
            return cluster
    raise SystemExit("the cluster did not start")


def shut_down(cluster: Cluster) -> None:
    """Ends all nodes."""
    end: Callable[[], None] = cluster.shutdown  # Ray does not annotate it
    end()


def images() -> ImageArrays:
    rng = np.random.default_rng(3)
    return ImageArrays(
        images=rng.integers(0, 256, (32, 8, 8, 3), dtype=np.uint8),
        labels=np.arange(32) % 2,
        train_indices=np.arange(24),
        val_indices=np.arange(24, 32),
        mean=(0.5, 0.5, 0.5),
        std=(0.3, 0.3, 0.3),
        num_classes=2,
        split_hash="s",
    )


def train_slowly(assignment: Mapping[str, Any], shared: ImageTensors, plan: TrialPlan, report: Report) -> None:
    """The real training, at a pace that faults can be timed by."""

    def report_slowly(metrics: dict[str, Any]) -> None:
        if "epoch" in metrics:
            time.sleep(EPOCH_S)
        report(metrics)

    train_trial(assignment, shared, plan, report_slowly)


def search(folder: Path, nodes: Nodes, scratch: Path, fault: str) -> RunStudy:
    """Searches to the end; the fault strikes when a certain epoch is reported."""
    study = RunStudy.in_database(f"sqlite:///{folder / 'study.db'}", "run")
    rungs = Rungs(max_epochs=5, grace_period=2, reduction_factor=2)
    checkpoints = Checkpoints(folder)
    scheduler = StudyScheduler(rungs, study, checkpoints=checkpoints)
    has_struck = False

    def on_report(number: int, metrics: Mapping[str, Any]) -> None:
        nonlocal has_struck
        if not has_struck and (number, metrics["epoch"]) == STRIKE_AT:
            has_struck = True
            nodes.strike(fault, int(metrics["worker"].rpartition(":")[2]))
        elif number > STRIKE_AT[0]:
            nodes.thaw()

    plan = TrialPlan(
        max_epochs=rungs.max_epochs,
        rung_epochs=rung_epochs(rungs.grace_period, rungs.reduction_factor, rungs.max_epochs),
        engine=Engine(num_threads=1),
    )
    tuner.run_trials(
        tuner.make_trainable(train_slowly, images(), plan, SLOTS),
        build_searcher(SPACE, study, 7, max_concurrent=1, num_trials=NUM_TRIALS),
        scheduler,
        max_failures=2,
        scratch=scratch,
        callbacks=[
            ReportCallback(on_report, lambda _number: None),
            CheckpointCallback(checkpoints, scheduler),
            NodeCallback(SLOTS),
        ],
    )
    return study


def story(study: RunStudy) -> list[dict[str, Any]]:
    """What must be the same whatever nodes were lost."""
    return [
        {
            "config": dict(record.config),
            "seed": record.seed,
            "status": record.status,
            "curve": list(record.scores.items()),
            "losses": [metrics["train_loss"] for metrics in record.epoch_metrics.values()],
            "rungs": [vars(rung) for rung in record.rungs],
            "num_workers": len({metrics["worker"] for metrics in record.epoch_metrics.values()}),
        }
        for record in study.trials()
    ]


def main() -> None:
    folder, fault = Path(sys.argv[1]), sys.argv[2]
    signal.alarm(int(os.environ.get("FAULTS_PATIENCE_S", "900")))
    with (
        tempfile.TemporaryDirectory(prefix="cl-test-", dir="/tmp", ignore_cleanup_errors=True) as scratch,
        cluster_of_three(Path(scratch)) as nodes,
    ):
        try:
            study = search(folder, nodes, Path(scratch), fault)
        except NodeDied as death:
            print(f"{ANSWER}{death}")
            sys.exit(1)
        print(f"{ANSWER}{json.dumps(story(study))}")


if __name__ == "__main__":
    main()
