"""Which retraining comes next, what the record gets of each, and that a killed one ends as the undisturbed one."""

from __future__ import annotations

import dataclasses
import io
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from fabricated_run import finalist_record
from killed import Killed
from retrained_run import PROFILE, TINY, completed_trials, preparation_of, some_digits
from safetensors.torch import load_file
from serial_retraining import train_serially

from model.config import TrainConfig
from model.data import TrainingData
from model.engine import Engine
from model.seeds import derive_seed
from model.split_images import on_device
from model.training import Training, train_epochs
from search.display.display import Display
from search.errors import RunFailed
from search.retrain.stage import evaluate_retrained, note_winner, retrain_splits
from search.schedulers.retrain_queue import RetrainQueue
from search.settings import SearchSettings
from search.setup.preparation import Preparation
from search.study.finals import Finals
from search.study.record import NewTrial
from search.study.retrain_record import RetrainRecord
from search.study.study import RunStudy

EPOCHS = 4
WIDER = TINY.changed(c3_width=8)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return some_digits(96)


def study_of(*configs: TrainConfig) -> RunStudy:
    return completed_trials(*configs, max_epochs=EPOCHS)


def prepared(folder: Path, data: TrainingData, **settings: Any) -> Preparation:
    (folder / "run").mkdir(exist_ok=True)
    values = {"run_name": "run", "results_dir": folder, "max_epochs": EPOCHS, "search_examples": 40, **settings}
    return preparation_of(SearchSettings(**values), data)


def run(preparation: Preparation, study: RunStudy, kill_at: int = 99) -> list[int]:
    """Trains and tests whatever the record lacks; returns the epochs that were reported."""
    epochs: list[int] = []

    def on_report(key: str, metrics: dict[str, Any]) -> None:
        if metrics.get("epoch") == kill_at:
            raise Killed
        epochs.append(metrics.get("epoch", 0))

    display = Display(io.StringIO())
    on_winner = partial(note_winner, preparation.settings, study, display)
    queue = RetrainQueue(preparation.settings, study, {}, on_winner)
    train_serially(preparation, queue, on_report)
    evaluate_retrained(preparation, queue, study, display)
    return epochs


def untimed(record: RetrainRecord) -> RetrainRecord:
    return dataclasses.replace(record, seconds=0.0)


def test_a_finished_retraining_is_recorded_and_not_done_again(data: TrainingData, tmp_path: Path) -> None:
    preparation, study = prepared(tmp_path, data), study_of(TINY)
    assert run(preparation, study) == [1, 2, 3, 4]
    [row] = study.retrains()
    assert (row.epochs_trained, len(row.train_losses), row.val_scores) == (4, 4, ())
    assert row.test_accuracy is not None
    assert 0 <= row.test_accuracy <= 1
    assert run(preparation, study) == []
    assert study.retrains() == [row]
    assert not list((tmp_path / "run").glob("checkpoints/*/*"))


def test_a_new_winner_is_retrained_in_the_place_of_the_old_one(data: TrainingData, tmp_path: Path) -> None:
    preparation, study = prepared(tmp_path, data), study_of(TINY)
    run(preparation, study)
    old = load_file(tmp_path / "run" / "model.safetensors")
    longer = study_of(TINY, WIDER)
    longer.record_retrain(study.retrains()[0])
    with pytest.raises(Killed):
        run(preparation, longer, kill_at=2)
    assert not (tmp_path / "run" / "model.safetensors").exists(), "old weights must not outlive their winner"
    assert longer.retrains() == []
    assert run(preparation, longer)[-1] == EPOCHS
    [row] = longer.retrains()
    assert (row.trial_number, len(row.train_losses)) == (1, 4)
    new = load_file(tmp_path / "run" / "model.safetensors")
    assert {name: value.shape for name, value in new.items()} != {name: value.shape for name, value in old.items()}


def test_checkpoints_of_an_earlier_winner_are_not_continued(data: TrainingData, tmp_path: Path) -> None:
    preparation = prepared(tmp_path, data)
    with pytest.raises(Killed):
        run(preparation, study_of(TINY), kill_at=4)
    undisturbed, study = study_of(TINY, WIDER), study_of(TINY, WIDER)
    run(prepared(tmp_path / "run", data), undisturbed)
    assert run(preparation, study) == [1, 2, 3, 4]
    assert untimed(study.retrains()[0]) == untimed(undisturbed.retrains()[0])


@pytest.mark.parametrize("kill_at", [1, 3, 4])
def test_a_killed_retraining_ends_as_the_undisturbed_one(data: TrainingData, tmp_path: Path, kill_at: int) -> None:
    preparation, undisturbed, study = prepared(tmp_path, data), study_of(TINY), study_of(TINY)
    run(preparation, undisturbed)
    weights = load_file(tmp_path / "run" / "model.safetensors")
    with pytest.raises(Killed):
        run(preparation, study, kill_at=kill_at)
    epochs = run(preparation, study)
    assert epochs == list(range(EPOCHS + 1 - len(epochs), EPOCHS + 1))
    assert len(epochs) <= EPOCHS + 1 - max(1, kill_at - 1)
    assert untimed(study.retrains()[0]) == untimed(undisturbed.retrains()[0])
    again = load_file(tmp_path / "run" / "model.safetensors")
    assert again.keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in again.items())


def test_a_lost_checkpoint_of_a_trained_network_is_made_up_for(data: TrainingData, tmp_path: Path) -> None:
    preparation, undisturbed, study = prepared(tmp_path, data), study_of(TINY), study_of(TINY)
    run(preparation, undisturbed)
    queue = RetrainQueue(preparation.settings, study, {})
    train_serially(preparation, queue)
    for path in (tmp_path / "run").glob("checkpoints/*/*"):
        path.unlink()
    assert run(preparation, study) == []
    assert untimed(study.retrains()[0]) == untimed(undisturbed.retrains()[0])


def test_a_finalist_is_judged_on_the_validation_images_it_has_not_seen(data: TrainingData, tmp_path: Path) -> None:
    preparation, study = prepared(tmp_path, data, retrain_top=2, retrain_seeds=2), study_of(TINY)
    queue = RetrainQueue(preparation.settings, study, {})
    train_serially(preparation, queue)
    [_, row] = study.retrains()
    arrays = retrain_splits(preparation)["finals"]
    assert len(arrays.train_indices) + len(arrays.val_indices) == len(data.examples), "trials saw only 40 images"
    oracle = Training(
        TINY, on_device(arrays, torch.device("cpu")), max_epochs=EPOCHS, seed=derive_seed(0, "finalist:0:1"),
        engine=Engine(num_threads=1),
    )  # fmt: skip
    metrics = list(train_epochs(oracle))
    assert row.val_scores == tuple(one.val_score for one in metrics)
    assert row.train_losses == tuple(one.train_loss for one in metrics)
    assert row.val_score == metrics[-1].val_score
    assert (row.key, row.retrain_seed) == ("finalist:0:1", derive_seed(0, "finalist:0:1"))
    assert (row.includes_val, row.epochs_trained, row.test_accuracy) == (False, EPOCHS, None)


def test_the_winner_trains_on_all_images_and_each_seed_differs(data: TrainingData, tmp_path: Path) -> None:
    preparation, study = prepared(tmp_path, data, retrain_seeds=2), study_of(TINY)
    arrays = retrain_splits(preparation)["all"]
    assert (len(arrays.train_indices), len(arrays.val_indices)) == (len(data.examples), 0)
    run(preparation, study)
    first, second = study.retrains()[:2]
    assert [first.retrain_seed, second.retrain_seed] == [derive_seed(0, f"retrain:winner:{seed}") for seed in (0, 1)]
    assert first.train_losses[0] != second.train_losses[0]


def test_a_retraining_is_tested_by_the_runs_metric_with_the_accuracy_beside_it(
    data: TrainingData, tmp_path: Path
) -> None:
    preparation, study = prepared(tmp_path, data, metric="log_loss"), study_of(TINY)
    run(preparation, study)
    [row] = study.retrains()
    assert row.test_loss is not None
    assert row.test_accuracy is not None
    assert row.test_score == pytest.approx(-row.test_loss, rel=1e-5)
    assert row.test_score_tta != row.test_score
    assert 0 <= row.test_accuracy <= 1


@pytest.mark.parametrize(("finals", "metric", "worst"), [(False, "accuracy", 0), (True, "log_loss", -15.94)])
def test_a_training_that_diverges_gets_the_worst_score_and_says_so(
    data: TrainingData, tmp_path: Path, finals: bool, metric: str, worst: float
) -> None:
    sizes = {"retrain_top": 2, "retrain_seeds": 2} if finals else {}
    preparation = prepared(tmp_path, data, metric=metric, **sizes)
    study = study_of(TINY.changed(lr=1e30))
    run(preparation, study)
    rows = study.retrains()
    assert len(rows) == (4 if finals else 1)
    for row in rows:
        assert str(row.error).startswith("diverged: the loss was not finite")
        assert row.epochs_trained < EPOCHS
        scores = [row.test_score, row.test_score_tta] if row.includes_val else [row.val_score]
        assert scores == [pytest.approx(worst, abs=0.01)] * len(scores)
        accuracies = (row.val_accuracy, row.test_accuracy, row.test_accuracy_tta, row.test_loss)
        assert accuracies == ((None, 0, 0, None) if row.includes_val else (0, None, None, None))


def test_a_training_that_fails_is_no_result_and_the_next_call_tries_again(data: TrainingData, tmp_path: Path) -> None:
    preparation, study = prepared(tmp_path, data), study_of(TINY)
    queue = RetrainQueue(preparation.settings, study, {})
    assignment = queue.suggest()
    assert assignment is not None
    assert queue.report(assignment["retraining"], {"ended": "failed", "error": "out of memory: no room"})
    queue.release(assignment["retraining"])
    assert queue.suggest() is None
    with pytest.raises(RunFailed, match="the retraining of winner, seed 1 failed: out of memory: no room"):
        evaluate_retrained(preparation, queue, study, Display(io.StringIO()))
    assert study.retrains() == []
    assert RetrainQueue(preparation.settings, study, {}).suggest() == assignment


def order(queue: RetrainQueue) -> list[str]:
    return [task.key for task in queue.due()]


def test_finals_come_first_and_the_slowest_config_of_each_group() -> None:
    """Trials 1 and 2 are the finalists; the baselines are trials 0 and 1, so that the second may still win."""
    study = completed_trials(TINY, TINY, TINY, max_epochs=EPOCHS)
    baselines = {
        number: NewTrial(config=TINY.flat(), seed=number, origin=origin, profile=PROFILE)
        for number, origin in enumerate(("seed", "default"))
    }
    winners: list[Finals] = []
    settings = SearchSettings(run_name="r", max_epochs=EPOCHS, retrain_top=2, retrain_seeds=1)
    queue = RetrainQueue(settings, study, baselines, winners.append)
    assert order(queue) == ["finalist:1:0", "finalist:2:0", "retrain:seed:0"]
    assert queue.num_tasks == 2 + 3
    given = [queue.suggest() for _ in range(4)]
    assert [one and one["images"] for one in given] == ["finals", "finals", "all", None]
    for number, score in ((2, 0.6), (1, 0.7)):
        study.record_retrain(finalist_record(number, 0, score))
        queue.release(f"finalist:{number}:0")
    assert order(queue) == ["retrain:winner:0"], "the default has won, and the seed config is still training"
    [finals] = winners
    assert finals.winner is not None
    assert finals.winner.record.number == 1
    assert queue.num_tasks == 4
    queue.release("retrain:seed:0")
    assert order(queue) == ["retrain:seed:0", "retrain:winner:0"], "its worker died, so it is due again"


def test_without_a_score_nothing_is_due() -> None:
    settings = SearchSettings(run_name="r", retrain_top=2, retrain_seeds=2)
    queue = RetrainQueue(settings, RunStudy.in_memory(), {0: NewTrial(config=TINY.flat(), seed=0, profile=PROFILE)})
    assert (queue.due(), queue.tasks) == ([], [])
