"""Run folders as a search leaves them, made without training anything: for what reads runs."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from run_documents import make_document

from model.config import SEED_CONFIG
from model.examples import Examples
from search.analysis.results import Run
from search.retrain.predictions import predictions_path, write_predictions
from search.schedulers.asha import decide
from search.schedulers.rungs import rung_epochs
from search.setup.document import read_document
from search.space.network_space import network_space
from search.space.space_check import Limits
from search.study.finals import Finals, RetrainPlan, finals_of
from search.study.record import NewTrial, TrialStatus
from search.study.retrain_record import FINALIST, RetrainRecord
from search.study.study import RunStudy

MAX_EPOCHS, GRACE_PERIOD, REDUCTION_FACTOR = 9, 1, 3
RUNGS = rung_epochs(GRACE_PERIOD, REDUCTION_FACTOR, MAX_EPOCHS)
CLASS_NAMES = ("plane", "car", "<script>alert('cat')</script>", "a & b")
EVIL_NAME = "<img src=x>"
SPACE = network_space(None, Limits(max_params=1_000_000, min_receptive_field=44, num_classes=4, image_size=32))


def make_run(
    folder: Path, fill: Callable[[RunStudy], None], *, class_names: tuple[str, ...] = CLASS_NAMES, **settings: Any
) -> Run:
    """A run's folder with its run.toml and space.toml; `fill` writes the record, which is kept in memory."""
    folder.mkdir(exist_ok=True)
    (folder / "space.toml").write_text(SPACE.to_toml())
    (folder / "run.toml").write_text(make_document(folder.name, class_names=class_names, **settings).to_toml())
    study = RunStudy.in_memory()  # a database would commit every epoch, which is slow
    fill(study)
    return Run(folder, read_document(folder), study)


def reread(run: Run) -> Run:
    """The same run with the record and the files as they are now."""
    return Run(run.run_dir, read_document(run.run_dir), run.study)


def add_trials(study: RunStudy, num_trials: int, *, seed: int = 0, offset: float = 0.0) -> None:
    """Trials with made-up curves, the seed config first, stopped by the real rule; two workers take turns.

    `offset` is added to all scores: with -1 they are those of log losses between 0 and 1.
    """
    rng = random.Random(seed)
    clock = [1_800_000_000.0, 1_800_000_001.0]
    recorded: dict[int, list[float]] = {epoch: [] for epoch in RUNGS}
    for index in range(num_trials):
        worker = index % 2
        config = SEED_CONFIG.flat() if index == 0 else SPACE.draw(rng)
        number = add_trial(
            study, config, origin="sampled" if index else "seed", num_params=rng.randint(200_000, 999_999)
        )
        skill = 0.9 - 0.3 * abs(math.log(config["muon_lr"] / 0.1)) / 3 - 0.2 * rng.random()
        for epoch in range(1, MAX_EPOCHS + 1):
            score = skill * (1 - 0.6 * math.exp(-epoch / 2)) + 0.01 * rng.random() + offset
            clock[worker] += 20
            record_epoch(study, number, epoch, score, recorded_at=clock[worker], worker=f"host:{worker}")
            if epoch in RUNGS:
                decision = decide(epoch, score, recorded[epoch], REDUCTION_FACTOR)
                recorded[epoch].append(score)
                study.record_rung(number, decision)
                if decision.is_stopped:
                    study.finish(number, TrialStatus.STOPPED)
                    break
        else:
            study.finish(number, TrialStatus.COMPLETED, value=score)


def add_trial(study: RunStudy, config: dict[str, Any], *, origin: str = "sampled", num_params: int = 500_000) -> int:
    """A trial that has just begun."""
    profile = {"num_params": num_params, "multiply_adds": 60_000_000, "receptive_field": 80}
    return study.add_trial(NewTrial(config=config, seed=1, origin=origin, profile=profile))


def record_epoch(study: RunStudy, number: int, epoch: int, score: float, *, recorded_at: float, worker: str) -> None:
    """An epoch of a trial, 20 s long."""
    losses = {"train_loss": 2.0 / epoch, "val_loss": 2.1 / epoch, "val_accuracy": 0.9 * abs(score), "val_error": 0.01}
    times = {"seconds": 19.0, "images_per_s": 2000.0, "recorded_at": recorded_at}
    metrics = {**losses, **times, "lr": 0.1, "worker": worker}
    study.record_epoch(number, epoch=epoch, score=score, metrics=metrics)


def add_retrains(run: Run, *, accuracies: dict[str, float], num_images: int = 400, num_seeds: int = 1) -> None:
    """Retrainings of the named configs with about these test accuracies, and their answers to the test images."""
    winner = _finals(run).winner
    assert winner is not None
    number = winner.record.number
    trial_numbers = {"winner": number, "seed": 0, "default": 2 if number == 1 else 1}
    num_classes = len(run.class_names)
    for name, accuracy in accuracies.items():
        for index in range(num_seeds):
            rng = np.random.default_rng([len(name), index])
            labels = rng.integers(0, num_classes, num_images)
            probabilities = _answers(labels, accuracy, num_classes, rng)
            measured = float((probabilities.argmax(axis=1) == labels).mean())
            score = run.metric.measure(labels, probabilities).score
            images = rng.integers(0, 256, (num_images, 32, 32, 3), dtype=np.uint8)
            record = RetrainRecord(
                config_name=name,
                trial_number=trial_numbers[name],
                seed_index=index,
                retrain_seed=index,
                includes_val=True,
                epochs_trained=MAX_EPOCHS,
                num_params=657_146,
                multiply_adds=47_917_696,
                receptive_field=80,
                seconds=180.0,
                test_score=score,
                test_score_tta=score + 0.003,
                test_accuracy=measured,
                test_accuracy_tta=measured + 0.003,
                test_loss=0.5,
                train_losses=tuple(2.0 / epoch for epoch in range(1, MAX_EPOCHS + 1)),
            )
            write_predictions(predictions_path(run.run_dir, record.key), Examples(images, labels), probabilities)
            run.study.record_retrain(record)


def add_finals(run: Run, fresh_scores: Mapping[int, Sequence[float]]) -> None:
    """Retrainings of finalists: by trial number, their validation accuracies on fresh seeds."""
    for number, scores in fresh_scores.items():
        for index, score in enumerate(scores):
            run.study.record_retrain(finalist_record(number, index, score))


def finalist_record(number: int, seed_index: int, val_score: float) -> RetrainRecord:
    """One retraining of a finalist."""
    return RetrainRecord(
        config_name=FINALIST,
        trial_number=number,
        seed_index=seed_index,
        retrain_seed=seed_index,
        includes_val=False,
        epochs_trained=MAX_EPOCHS,
        num_params=500_000,
        multiply_adds=60_000_000,
        receptive_field=80,
        seconds=170.0,
        val_score=val_score,
    )


def finalist_numbers(run: Run) -> list[int]:
    """The trials that go into the finals, best of the search first."""
    return [one.record.number for one in _finals(run).finalists]


def _finals(run: Run) -> Finals:
    return finals_of(run.study.trials(), run.study.retrains(), RetrainPlan.of(run.settings))


def _answers(labels: np.ndarray, accuracy: float, num_classes: int, rng: np.random.Generator) -> np.ndarray:
    others = (labels + rng.integers(1, max(2, num_classes), len(labels))) % num_classes
    answered = np.where(rng.random(len(labels)) < accuracy, labels, others)
    logits = rng.normal(0, 0.5, (len(labels), num_classes))
    logits[np.arange(len(labels)), answered] += 3 + rng.random(len(labels)) * 3
    exponents = np.exp(logits)
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), dtype=np.float32)
