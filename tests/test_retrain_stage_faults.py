"""What a kill, a failure or a divergence changes between the end of a search and the test."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from killed import Killed
from retrain_stages import preparation_in, prepared_in, stage, study_of, untimed, watched_story
from safetensors.torch import load_file
from serial_retraining import train_serially

from search.display.display import Display
from search.errors import RunFailed
from search.retrain.stage import evaluate_retrained
from search.schedulers.retrain_queue import RetrainQueue
from search.setup.preparation import Preparation
from search.study.study import RunStudy


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    return prepared_in(tmp_path_factory.mktemp("space"))


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return watched_story(monkeypatch)


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


def _killer_at_text(text: str) -> Any:
    def killed(_display: Display, message: str) -> None:
        if text in message:
            raise Killed

    return killed
