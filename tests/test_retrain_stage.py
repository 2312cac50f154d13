"""From the end of a search to the test, on real tiny networks: who wins, in which order, and what a kill changes."""

from __future__ import annotations

import dataclasses
import io
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fabricated_run import finalist_record
from killed import Killed
from safetensors.torch import load_file
from serial_retraining import train_serially
from tiny_space import TINY

import search.retrain.stage
from model.engine import Engine
from model.examples import Examples
from model.test_data import load_test_data
from model.training import EpochMetrics, Training
from search.display.display import Display
from search.errors import RunFailed
from search.machine.machine import Machine
from search.machine.slots import Slots
from search.retrain.stage import evaluate_retrained, note_winner, retrain_splits
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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    folder = tmp_path_factory.mktemp("space")
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


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> list[str]:
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


def test_the_test_images_are_opened_once_and_after_everything_else(
    tmp_path: Path, prepared: Preparation, story: list[str]
) -> None:
    preparation = preparation_in(tmp_path, prepared)
    study = study_of(preparation, 0.2, 0.6, 0.5)
    output = stage(preparation, study)
    num_all, num_val = len(preparation.data.examples), len(preparation.images.val_indices)
    # Finalists see the whole training split, not the 100 images of a trial; the rest sees the validation images, too.
    finals = [f"epoch, {num_all - num_val} images, {num_val} held out"] * (2 * 2 * MAX_EPOCHS)
    last = [f"epoch, {num_all} images, 0 held out"] * (2 * 2 * MAX_EPOCHS)
    assert story == [*finals, *last, "test images opened"]
    keys = {f"finalist:{number}:{index}" for number in (1, 2) for index in (0, 1)}
    keys |= {f"retrain:{name}:{index}" for name in ("winner", "default") for index in (0, 1)}
    records = untimed(study)
    assert set(records) == keys
    scores = {key: record.val_score or 0.0 for key, record in records.items()}
    means = {number: sum(scores[f"finalist:{number}:{index}"] for index in (0, 1)) for number in (1, 2)}
    winner = 1 if means[1] >= means[2] else 2
    assert study.notes()["winner"] == winner
    assert {records[f"retrain:winner:{index}"].trial_number for index in (0, 1)} == {winner}
    assert f"the winner is trial {winner}: " in output
    assert len({record.retrain_seed for record in records.values()}) == 8
    assert load_file(tmp_path / "run" / "model.safetensors")
    assert f"c1_width = {4 + winner}\n" in (tmp_path / "run" / "best_config.toml").read_text()
    assert not list((tmp_path / "run").glob("checkpoints/*/*"))
    assert len(list((tmp_path / "run" / "test_predictions").iterdir())) == 4


def test_the_worse_of_the_search_wins_if_it_is_better_on_fresh_seeds(tmp_path: Path, prepared: Preparation) -> None:
    preparation = preparation_in(tmp_path, prepared, baseline=False, retrain_seeds=1)
    study = study_of(preparation, 0.1, 0.6, 0.5)
    for number, score in ((1, 0.3), (2, 0.7)):
        study.record_retrain(finalist_record(number, 0, score))
    stage(preparation, study)
    assert study.notes()["winner"] == untimed(study)["retrain:winner:0"].trial_number == 2


def test_nothing_more_is_trained_for_one_config_on_one_seed(
    tmp_path: Path, prepared: Preparation, story: list[str]
) -> None:
    preparation = preparation_in(tmp_path, prepared, retrain_top=1, retrain_seeds=1)
    study = study_of(preparation, 0.2, 0.6)
    stage(preparation, study)
    assert len(story) == 2 * MAX_EPOCHS + 1
    assert set(untimed(study)) == {"retrain:winner:0", "retrain:default:0"}


def test_a_winner_that_is_a_baseline_is_not_trained_twice(tmp_path: Path, prepared: Preparation) -> None:
    preparation = preparation_in(tmp_path, prepared, retrain_top=1, retrain_seeds=1)
    study = study_of(preparation, 0.6, 0.2)
    stage(preparation, study)
    assert set(untimed(study)) == {"retrain:winner:0"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prepared: Preparation) -> RunStudy:
    """The record of a stage that nothing cut off."""
    study = study_of(prepared, 0.2, 0.6, 0.5)
    stage(preparation_in(tmp_path_factory.mktemp("undisturbed"), prepared), study)
    return study


@pytest.mark.parametrize("kill_at", [1, 4, 9, 16])
def test_killed_after_any_epoch_it_ends_as_the_undisturbed_one(
    tmp_path: Path,
    prepared: Preparation,
    undisturbed: RunStudy,
    kill_at: int,
    story: list[str],
) -> None:
    preparation, study = preparation_in(tmp_path, prepared), study_of(prepared, 0.2, 0.6, 0.5)
    with pytest.raises(Killed):
        stage(preparation, study, kill_at)
    assert "test images opened" not in story
    stage(preparation, study)
    assert untimed(study) == untimed(undisturbed)
    assert len(story) <= 16 + 1 + 1  # at most the epoch that was cut off is trained again
    assert story.count("test images opened") == 1
    story.clear()
    stage(preparation, study)
    assert story == []


def test_killed_between_two_tests_the_first_is_not_done_again(
    tmp_path: Path, prepared: Preparation, monkeypatch: pytest.MonkeyPatch, story: list[str]
) -> None:
    preparation = preparation_in(tmp_path, prepared, retrain_top=1, retrain_seeds=1)
    study = study_of(prepared, 0.2, 0.6)
    with monkeypatch.context() as patch:
        patch.setattr(Display, "message", _killer_at_text("test accuracy"))
        with pytest.raises(Killed):
            stage(preparation, study)
    assert set(untimed(study)) == {"retrain:winner:0"}
    first = untimed(study)["retrain:winner:0"]
    story.clear()
    stage(preparation, study)
    assert story == ["test images opened"]
    assert untimed(study)["retrain:winner:0"] == first


def test_the_winner_is_tested_though_a_baseline_fails(tmp_path: Path, prepared: Preparation) -> None:
    """A baseline that needs more memory than there is would fail at every resume."""
    preparation = preparation_in(tmp_path, prepared, retrain_top=1, retrain_seeds=1)
    study = study_of(prepared, 0.2, 0.6)
    queue = RetrainQueue(preparation.settings, study, preparation.baselines)
    queue.fail("retrain:default:0", "out of memory: no room")
    train_serially(preparation, queue)
    with pytest.raises(RunFailed, match="the retraining of default config, seed 1 failed: out of memory: no room"):
        evaluate_retrained(preparation, queue, study, Display(io.StringIO()))
    assert set(untimed(study)) == {"retrain:winner:0"}
    assert load_file(tmp_path / "run" / "model.safetensors")
    stage(preparation, study)
    assert set(untimed(study)) == {"retrain:winner:0", "retrain:default:0"}, "a resume tries it again"


def test_of_seeds_that_diverge_no_weights_are_kept_but_the_next_ones_are(tmp_path: Path, prepared: Preparation) -> None:
    preparation = preparation_in(tmp_path, prepared, retrain_top=1, retrain_seeds=2, baseline=False)
    study = study_of(prepared, 0.2, 0.6)
    queue = RetrainQueue(preparation.settings, study, {})
    first_task = queue.suggest()
    assert first_task is not None
    assert first_task["retraining"] == "retrain:winner:0"
    assert queue.report("retrain:winner:0", {"ended": "diverged", "error": "the loss is not finite"})
    train_serially(preparation, queue)
    evaluate_retrained(preparation, queue, study, Display(io.StringIO()))
    first, second = untimed(study)["retrain:winner:0"], untimed(study)["retrain:winner:1"]
    assert (first.error, second.error) == ("the loss is not finite", None)
    assert load_file(tmp_path / "run" / "model.safetensors")


def test_all_splits_share_their_images(prepared: Preparation) -> None:
    """So Ray stores them once."""
    splits = retrain_splits(prepared)
    assert {id(one.images) for one in splits.values()} == {id(prepared.images.images)}
    assert {id(one.labels) for one in splits.values()} == {id(prepared.images.labels)}


def test_without_a_score_there_is_nothing_to_retrain(tmp_path: Path, prepared: Preparation, story: list[str]) -> None:
    with pytest.raises(RunFailed, match="no trial ended with a score, so there is nothing to retrain"):
        stage(preparation_in(tmp_path, prepared), RunStudy.in_memory())
    assert story == []


def _killer_at_text(text: str) -> Any:
    def killed(_display: Display, message: str) -> None:
        if text in message:
            raise Killed

    return killed
