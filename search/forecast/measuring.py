"""What trials cost on this machine: as the preparations found it, and by a few steps of more configs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from model.config import SEED_CONFIG
from model.engine import measure_step
from model.throughput import memory_bytes
from search.forecast.calibration import Calibration, Speed
from search.forecast.steering import steer
from search.machine.hardware import num_cpus
from search.machine.packing import BATCH_SIZE, Ask, measuring_processes
from search.setup.prepare import SEED_IMAGE_SIZE, Preparation, describe_config
from search.study.record import NewTrial, TrialStatus
from search.study.study import RunStudy

NUM_PROPOSALS = 24
NUM_CONFIGS = 12
"""Measured at most."""
MEASURE_S = 0.5
THREADS_POWER = 0.85
"""So many times as fast are twice as many CPU threads, as a power of two; assumed where it was not measured."""
EVALUATION = 1 / 3
"""Of a training step's seconds, for an image that is only classified."""


def proposals(preparation: Preparation, deadline: float) -> list[NewTrial]:
    """What the run's searcher proposes before it is told of any score, the given trials first; at least one.

    Its first proposals depend on no score: they are those of the run. `deadline`: by time.monotonic().
    """
    study = RunStudy.in_memory()
    searcher, _ = steer(preparation, study, preparation.given_trials, lambda: 0.0)
    for index in range(NUM_PROPOSALS):
        if not isinstance(searcher.suggest(str(index)), dict):
            break
        searcher.on_trial_complete(str(index))  # its slot is free for the next
        if time.monotonic() >= deadline:
            break
    legal = [record for record in study.trials() if record.status is not TrialStatus.REJECTED]
    return [NewTrial(config=record.config, seed=record.seed, profile=record.profile) for record in legal]


def calibration_in_hand(preparation: Preparation) -> Calibration:
    """From what slots and engine were chosen by: one config, trained as trials will, or else one step of it."""
    slots = preparation.machine.slots
    packings = {row["num_trials"]: row for row in preparation.measurements.get("packing", []) if row["images_per_s"]}
    chosen = packings.get(_num_side_by_side(preparation))
    if chosen is None:
        return _by_a_step(preparation)
    typical = preparation.space.default_config() or SEED_CONFIG.flat()
    speed = Speed(
        config=typical,
        multiply_adds=int(preparation.describe(typical)["multiply_adds"]),
        image_s=chosen["image_s"] * _evaluation(preparation),
        memory_bytes=chosen["memory_bytes"],
    )
    single = packings.get(1, chosen)
    alone = chosen["image_s"] / single["image_s"]
    if slots.gpus:  # by the clock, trials on one GPU wait for each other
        alone = max(1.0, alone)
    return Calibration(speeds=(speed,), alone=alone, slowdown=chosen["slowdown"])


def calibration_by_more(preparation: Preparation, trials: Sequence[NewTrial], deadline: float) -> Calibration:
    """What is in hand, and as many more configs as time allows, by as many processes at once as trials will run.

    `deadline`: by time.monotonic(); a process that has not answered by then is not waited for.
    """
    in_hand = calibration_in_hand(preparation)
    num_trials = _num_side_by_side(preparation)
    # What is as good as a trial's own speed is not measured again; a single step is.
    known = in_hand.speeds if preparation.measurements.get("packing") else ()
    wanted = [trial for trial in _ordered(preparation, trials) if all(trial.config != one.config for one in known)]
    with measuring_processes() as ask:
        # Once for nothing, so that all have loaded their libraries before any is measured.
        ask(num_trials, {**_request(preparation, wanted[0].config), "seconds": 0}, deadline)
        speeds, slowdowns = _measure_all(ask, num_trials, wanted, preparation, deadline)
    if not speeds:
        return in_hand
    return Calibration(speeds=(*known, *speeds), alone=in_hand.alone, slowdown=statistics.median(slowdowns))


def _ordered(preparation: Preparation, trials: Sequence[NewTrial]) -> list[NewTrial]:
    """Those given, then the median, smallest and largest by multiply-adds, then the others as proposed."""
    by_size = sorted(trials, key=lambda trial: int(trial.profile["multiply_adds"]))
    ordered: list[NewTrial] = []
    for trial in [*preparation.given_trials, by_size[len(trials) // 2], by_size[0], by_size[-1], *trials]:
        if all(trial.config != other.config for other in ordered):
            ordered.append(trial)
    return ordered[:NUM_CONFIGS]


def _measure_all(
    ask: Ask, num_trials: int, trials: Sequence[NewTrial], preparation: Preparation, deadline: float
) -> tuple[list[Speed], list[float]]:
    """Speeds, and how much slower each was by the clock. Begins none that would not be done by the deadline."""
    speeds: list[Speed] = []
    slowdowns: list[float] = []
    longest_s = 0.0
    for trial in trials:
        start = time.monotonic()
        if start + longest_s >= deadline:
            break
        answers = ask(num_trials, _request(preparation, trial.config), deadline)
        longest_s = max(longest_s, time.monotonic() - start)
        if all(answers):
            speeds.append(
                Speed(
                    config=trial.config,
                    multiply_adds=int(trial.profile["multiply_adds"]),
                    image_s=statistics.median(answer["image_s"] for answer in answers) * _evaluation(preparation),
                    memory_bytes=max(answer["memory_bytes"] for answer in answers),
                )
            )
            slowdowns += [answer["slowdown"] for answer in answers]
    return speeds, slowdowns


def _request(preparation: Preparation, config: Mapping[str, Any]) -> dict[str, Any]:
    """Epochs of one step; on a CPU of fewer images than a trial's, to be quick."""
    engine, batch_size = preparation.machine.engine, int(config["batch_size"])
    if engine.device_type == "cpu":
        batch_size = min(batch_size, BATCH_SIZE)
    return {
        "config": {**config, "batch_size": batch_size},
        "engine": asdict(engine),
        "image_size": preparation.image_size,
        "seconds": MEASURE_S,
        "num_train": batch_size,
    }


def _by_a_step(preparation: Preparation) -> Calibration:
    """From a step of the seed network, alone, on one thread of a CPU."""
    engine, slots = preparation.machine.engine, preparation.machine.slots
    names = ("precision", "channels_last", "compile")
    measured = preparation.measurements.get("engine", [])
    rows = [row for row in measured if all(row[name] == getattr(engine, name) for name in names)]
    row = rows[0] if rows else measure_step(engine)
    image_s = row["step_ms"] / 1000 / row["batch_size"] * _evaluation(preparation)
    if slots.gpus:
        alone = float(_num_side_by_side(preparation))  # as if they shared the GPU without loss or gain
        image_s *= alone
    else:
        image_s /= slots.cpus_per_trial**THREADS_POWER
        alone = (num_cpus() / slots.cpus_per_trial) ** THREADS_POWER
    config = SEED_CONFIG.flat()
    profile = describe_config(config, num_classes=10, image_size=SEED_IMAGE_SIZE)
    speed = Speed(
        config=config,
        multiply_adds=int(profile["multiply_adds"]),
        image_s=image_s,
        memory_bytes=memory_bytes(engine),
    )
    return Calibration(speeds=(speed,), alone=alone, slowdown=row["slowdown"])


def _evaluation(preparation: Preparation) -> float:
    """How many times as long an image takes for the validation at the end of its epoch."""
    return 1 + EVALUATION * len(preparation.arrays.val_indices) / len(preparation.arrays.train_indices)


def _num_side_by_side(preparation: Preparation) -> int:
    """Trials on one GPU, or on all CPU cores."""
    slots = preparation.machine.slots
    return max(1, slots.num_concurrent // max(1, slots.gpus))
