"""Runs a study's trials with Ray Tune."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import ray
import torch
from ray import tune
from ray.exceptions import RayError
from ray.tune import Callback
from ray.tune.error import TuneError
from ray.tune.search import Searcher

from model.engine import Engine
from model.split_images import ImageArrays, ImageTensors, on_device, resplit
from search.errors import RunFailed
from search.machine.slots import Slots
from search.tune.nodes import KIND_LABEL, kind_here
from search.worker.trainable import Report, TrialPlan

if TYPE_CHECKING:
    # Workers import this file, and Optuna and all else that decides about trials would double the time of that.
    from search.tune.trial_scheduler import StudyScheduler

Train = Callable[[Mapping[str, Any], ImageTensors, TrialPlan, Report], None]
"""What a worker does with a suggestion of the searcher; see `search.worker.trainable.train_trial`."""


def make_trainable(
    train: Train,
    images: ImageArrays,
    plan: TrialPlan,
    slots: Slots,
    other_splits: Mapping[str, ImageArrays] = MappingProxyType({}),
    engines: Mapping[str, Engine] = MappingProxyType({}),
    accelerator: str | None = None,
) -> Any:
    """Ray's trainable: calls `train` in a worker that holds one slot. The images are put into the object store once.

    `other_splits` of the same images are for assignments that name one in `images`. `engines`: by kind of accelerator,
    where they differ from the plan's. `accelerator`: the only kind to use; None for all.
    """
    return tune.with_resources(
        # One parameter for all splits, so that the images which they share are stored once.
        tune.with_parameters(
            _run_trial, splits={None: images, **other_splits}, plan=plan, train=train, engines=dict(engines)
        ),
        tune.PlacementGroupFactory(
            [{"CPU": slots.cpus_per_trial, "GPU": slots.gpus_per_trial}],
            bundle_label_selector=[{KIND_LABEL: accelerator}] if accelerator else None,
        ),
    )


def run_trials(
    trainable: Any,
    searcher: Searcher,
    scheduler: StudyScheduler,
    *,
    max_failures: int,
    scratch: Path,
    callbacks: Sequence[Callback],
) -> None:
    """Runs trials side by side until the searcher has finished. Needs a `ray_cluster`, which gives `scratch`.

    `max_failures`: how often a trial whose worker died starts again. RunFailed if Ray itself fails.
    """
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,  # the searcher knows when to end: a paused trial is suggested more than once
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(scratch),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=max_failures),
            callbacks=list(callbacks),
        ),
    )
    try:
        tuner.fit()
    except TuneError as error:
        # Tune wraps what our own code raised while it handled a report, as text.
        if isinstance(own := error.__context__, Exception):
            raise own from own.__cause__  # unchanged: a full disk is recognised by its cause
        raise
    except RayError as error:
        raise RunFailed(f"Ray failed: {str(error).splitlines()[0]}") from error


def _run_trial(
    assignment: Mapping[str, Any],
    *,
    splits: Mapping[str | None, ImageArrays],
    plan: TrialPlan,
    train: Train,
    engines: Mapping[str, Engine],
) -> None:
    if engines:
        plan = dataclasses.replace(plan, engine=engines.get(kind_here(), plan.engine))
    worker = f"{os.uname().nodename}:{os.getpid()}"
    tensors, split = _device_images(_Identity(splits[None]), plan.engine.device), assignment.get("images")
    if split is not None:
        tensors = resplit(tensors, splits[split])
    if (checkpoint := assignment.get("checkpoint")) is not None:
        assignment = {**assignment, "checkpoint": ray.get(checkpoint)}
    train(assignment, tensors, plan, lambda metrics: tune.report({**metrics, "worker": worker}))


class _Identity:
    """The run's images as a cache key: one object per worker process, equal for every trial of the run."""

    def __init__(self, images: ImageArrays) -> None:
        self.images = images

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.images.split_hash == other.images.split_hash

    def __hash__(self) -> int:
        return hash(self.images.split_hash)


@lru_cache(maxsize=1)
def _device_images(key: _Identity, device: str) -> ImageTensors:
    """The images on the worker's device. The worker's first trial moves them there; later trials reuse them."""
    return on_device(key.images, torch.device(device))
