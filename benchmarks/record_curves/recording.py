"""Trains what is missing in two processes and keeps each finished training as a line of JSON."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from benchmarks.record_curves.fidelities import FIDELITIES
from benchmarks.record_curves.plan import Job
from benchmarks.record_curves.variants import make_training
from model.config import TrainConfig
from model.engine import Engine
from model.profile import profile_network
from model.seeds import derive_seed
from model.split_images import ImageArrays, on_device
from model.training import DivergedError

NUM_PROCESSES = 2


class Journal:
    """A file with a line for the head of the recording and one for each finished training.

    A recording that goes on keeps its head, with configs, engine and conditions, even if the default space has changed.
    A line that was cut off by a kill is dropped.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], make_head: Callable[[], Mapping[str, Any]]) -> None:
        """Starts the file with settings and the rest of the head, or goes on with it; SystemExit if settings differ."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.read_bytes() if path.exists() else b""
        lines = whole[: whole.rfind(b"\n") + 1].splitlines()
        if lines:
            os.truncate(path, sum(len(line) + 1 for line in lines))
            self.head = json.loads(lines[0])
            if self.head["settings"] != settings:
                raise SystemExit(f"--out: {path.name} was recorded with {self.head['settings']}. Give another file.")
        else:
            self.head = {"settings": settings, **make_head()}
            path.write_text(json.dumps(self.head) + "\n")
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines[1:]]

    def add(self, row: dict[str, Any]) -> None:
        """Keeps a finished training; on the disk when this returns."""
        self.rows.append(row)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    @property
    def done(self) -> set[Job]:
        """The trainings that need not be made again."""
        return {Job(row["config"], row["fidelity"], row["seed"]) for row in self.rows}


def training_processes(images: ImageArrays, head: Mapping[str, Any]) -> ProcessPoolExecutor:
    """Two processes that hold the images."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(NUM_PROCESSES, context, initializer=_start_worker, initargs=(images, head))


def train_missing(journal: Journal, jobs: Sequence[Job], processes: Executor) -> Iterator[dict[str, Any]]:
    """Trains the jobs that the journal lacks, in order; yields each when it is kept."""
    missing = [job for job in jobs if job not in journal.done]
    for future in as_completed([processes.submit(_train, job) for job in missing]):
        journal.add(future.result())
        yield journal.rows[-1]


_worker: dict[str, Any] = {}


def _start_worker(images: ImageArrays, head: Mapping[str, Any]) -> None:
    """The process ends with its parent, even if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_follow_parent, daemon=True).start()
    _worker.update(images=images, head=head)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _train(job: Job) -> dict[str, Any]:
    head = _worker["head"]
    config = TrainConfig.from_flat(head["configs"][job.config])
    return {**job._asdict(), **train_job(job, config, _worker["images"], head)}


def train_job(job: Job, config: TrainConfig, images: ImageArrays, head: Mapping[str, Any]) -> dict[str, Any]:
    """`scores`: validation accuracy after each epoch, fewer if it ended early; `seconds` of one core; `error` or None.

    config: the full training's.
    """
    max_epochs, fidelity = head["settings"]["max_epochs"], FIDELITIES[job.fidelity]
    images = fidelity.images(images, seed=head["settings"]["seed"])
    config = fidelity.config(config, max_epochs)
    try:
        profile_network(config.network, num_classes=images.num_classes, image_size=images.images.shape[1])
    except ValueError as refusal:  # the images are too small for the network
        return {"scores": [], "seconds": 0.0, "error": str(refusal)}
    scores: list[float | None] = []
    error = None
    start = time.process_time()
    training = make_training(
        fidelity.kind,
        config,
        on_device(images, torch.device("cpu")),
        max_epochs=max_epochs,
        num_epochs=fidelity.num_epochs(max_epochs),
        seed=derive_seed(head["settings"]["seed"], "config", job.config, job.seed),
        engine=Engine(**head["engine"]),
    )
    try:
        while len(scores) < fidelity.num_epochs(max_epochs):
            scores.append(training.train_epoch().val_accuracy)
    except DivergedError as caught:
        error = str(caught)
    return {"scores": scores, "seconds": time.process_time() - start, "error": error}
