"""From the end of a search to the test, on real tiny networks, for the tests of that stage."""

from __future__ import annotations

import dataclasses
import io
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from killed import Killed
from serial_retraining import train_serially
from tiny_space import TINY

import search.retrain.stage
from model.engine import Engine
from model.examples import Examples
from model.test_data import load_test_data
from model.training import EpochMetrics, Training
from search.display.display import Display
from search.machine.machine import Machine
from search.machine.slots import Slots
from search.retrain.stage import evaluate_retrained, note_winner
from search.schedulers.retrain_queue import RetrainQueue
from search.settings import SearchSettings
from search.setup.images import split_images
from search.setup.preparation import Preparation
from search.setup.prepare import prepare
from search.study.record import NewTrial, TrialStatus
from search.study.retrain_record import RetrainRecord
from search.study.study import RunStudy

MACHINE = Machine(
    engine=Engine(num_threads=1), slots=Slots(num_concurrent=1, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
)
MAX_EPOCHS = 2


def prepared_in(folder: Path) -> Preparation:
    """Of a search in 100 of 200 digits, whose retraining stage has two finalists and two seeds."""
    (folder / "space.toml").write_text(TINY)
    settings = SearchSettings(
        run_name="run", dataset="digits", image_size=16, space=folder / "space.toml", max_epochs=MAX_EPOCHS,
        grace_period=1, search_examples=100, retrain_top=2, retrain_seeds=2, precision="fp32",
    )  # fmt: skip
    whole = prepare(settings, kept=MACHINE)
    examples = Examples(whole.data.examples.images[:200], whole.data.examples.labels[:200])
    data = dataclasses.replace(whole.data, examples=examples)
    return dataclasses.replace(whole, data=data, images=split_images(settings, data))


def preparation_in(folder: Path, prepared: Preparation, **changes: Any) -> Preparation:
    (folder / "run").mkdir(exist_ok=True)
    settings = prepared.settings.changed(results_dir=folder, **changes)
    return dataclasses.replace(prepared, settings=settings)


def study_of(prepared: Preparation, *last_scores: float) -> RunStudy:
    """The default config, then the same with other widths; each completed with its score."""
    study = RunStudy.in_memory()
    [default] = prepared.given_trials
    for number, score in enumerate(last_scores):
        config = {**default.config, "c1_width": 4 + number}
        profile = prepared.describe(config)
        study.add_trial(NewTrial(config=config, seed=number, profile=profile))
        study.record_epoch(number, epoch=MAX_EPOCHS, score=score, metrics={})
        study.finish(number, TrialStatus.COMPLETED, value=score)
    return study


def watched_story(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is trained, by epochs, and when the test images are opened, in order."""
    told: list[str] = []

    def watched(self: Training) -> EpochMetrics:
        told.append(f"epoch, {len(self.images.train_indices)} images, {len(self.images.val_indices)} held out")
        return train_epoch(self)

    def opened(*arguments: Any, **options: Any) -> Any:
        told.append("test images opened")
        return load_test_data(*arguments, **options)

    train_epoch = Training.train_epoch
    monkeypatch.setattr(Training, "train_epoch", watched)
    monkeypatch.setattr(search.retrain.stage, "load_test_data", opened)
    return told


def stage(preparation: Preparation, study: RunStudy, kill_at: int = 0) -> str:
    """Trains and tests; what it prints. `kill_at`: the report that kills it, from 1."""
    stream = io.StringIO()
    display, reports = Display(stream), count(1)

    def on_report(_key: str, _metrics: dict[str, Any]) -> None:
        if next(reports) == kill_at:
            raise Killed

    on_winner = partial(note_winner, preparation.settings, study, display)
    queue = RetrainQueue(preparation.settings, study, preparation.baselines, on_winner)
    train_serially(preparation, queue, on_report)
    evaluate_retrained(preparation, queue, study, display)
    return stream.getvalue()


def untimed(study: RunStudy) -> dict[str, RetrainRecord]:
    """The record's retrainings by key, without what a clock said."""
    return {record.key: dataclasses.replace(record, seconds=0.0) for record in study.retrains()}
