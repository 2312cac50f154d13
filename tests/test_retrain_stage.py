"""From the end of a search to the test, on real tiny networks: who wins, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from fabricated_run import finalist_record
from retrain_stages import MAX_EPOCHS, preparation_in, prepared_in, stage, study_of, untimed, watched_story
from safetensors.torch import load_file

from search.errors import RunFailed, RunInterrupted
from search.retrain.stage import retrain_splits
from search.setup.preparation import Preparation
from search.study.study import EARLY_END_NOTE, RunStudy


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    return prepared_in(tmp_path_factory.mktemp("space"))


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return watched_story(monkeypatch)


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


def test_all_splits_share_their_images(prepared: Preparation) -> None:
    """So Ray stores them once."""
    splits = retrain_splits(prepared)
    assert {id(one.images) for one in splits.values()} == {id(prepared.images.images)}
    assert {id(one.labels) for one in splits.values()} == {id(prepared.images.labels)}


def test_a_search_that_was_stopped_before_any_score_ends_as_asked(
    tmp_path: Path, prepared: Preparation, story: list[str]
) -> None:
    study = RunStudy.in_memory()
    study.set_note(EARLY_END_NOTE, "search stopped by ada: 0 of 4 trials had started and 0 had ended")
    with pytest.raises(RunInterrupted):
        stage(preparation_in(tmp_path, prepared), study)
    assert story == []


def test_without_a_score_there_is_nothing_to_retrain(tmp_path: Path, prepared: Preparation, story: list[str]) -> None:
    with pytest.raises(RunFailed, match="no trial ended with a score, so there is nothing to retrain"):
        stage(preparation_in(tmp_path, prepared), RunStudy.in_memory())
    assert story == []
