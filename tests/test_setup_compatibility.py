"""A run is resumed only with everything that decides its scores; each difference is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from model.engine import Engine
from search.errors import SpaceError, UserError
from search.machine.machine import Machine
from search.machine.slots import Slots
from search.settings import OPTIONS, SearchSettings
from search.setup.compatibility import check_compatibility, note_compatibility
from search.setup.preparation import Preparation
from search.setup.prepare import prepare
from search.setup.run_folder import RunFolder
from search.space.space import SearchSpace
from search.study.study import RunStudy

MACHINE = Machine(
    engine=Engine(num_threads=1), slots=Slots(num_concurrent=1, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
)
ADVICE = r"Restore it or start a new run\."


def note(study: RunStudy, run: Preparation) -> None:
    note_compatibility(study, run.settings, run.data_record, run.space)


def check(study: RunStudy, run: Preparation) -> None:
    check_compatibility(study, run.settings, run.data_record, run.space)


@pytest.fixture(scope="module")
def preparation(tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    """A prepared run whose folder exists."""
    folder = tmp_path_factory.mktemp("results")
    settings = SearchSettings(
        run_name="run", dataset="digits", image_size=16, search_examples=500, precision="fp32", results_dir=folder
    )
    preparation = prepare(settings, kept=MACHINE)
    with RunFolder(settings.run_dir).created():
        RunFolder(settings.run_dir).write_new(preparation.document(), preparation.space)
    return preparation


@pytest.fixture
def study(preparation: Preparation) -> RunStudy:
    study = RunStudy.in_memory()
    note(study, preparation)
    return study


@pytest.fixture
def space_file(preparation: Preparation) -> Any:
    """The run's space.toml, put back afterwards."""
    path = preparation.settings.run_dir / "space.toml"
    text = path.read_text()
    yield path
    path.write_text(text)


def test_an_unchanged_run_is_resumed(preparation: Preparation, study: RunStudy) -> None:
    check(study, preparation)
    grown = preparation.settings.changed(num_trials=99, trial_timeout_s=5.0, max_failures=7, baseline=False)
    check(study, dataclasses.replace(preparation, settings=grown))


def test_other_images_or_another_split_are_refused(preparation: Preparation, study: RunStudy) -> None:
    data = dataclasses.replace(preparation.data, fingerprint="f" * 64)
    images = dataclasses.replace(preparation.images, split_hash="e" * 64)
    other_split = dataclasses.replace(preparation, images=images)
    survey = dataclasses.replace(preparation.survey, test_fingerprint="d" * 64)
    fewer = dataclasses.replace(preparation.images, train_indices=preparation.images.train_indices[:400])
    for changed, message in (
        (
            dataclasses.replace(preparation, data=data),
            rf"^the data set \(.+\) was \w+ when the run began and is f+ now\. {ADVICE}$",
        ),
        (
            dataclasses.replace(preparation, survey=survey),
            rf"^the test split \(.+\) was \w+ when the run began and is d+ now\. {ADVICE}$",
        ),
        (other_split, rf"^the train/validation split was \w+ when the run began and is e+ now\. {ADVICE}$"),
        (
            dataclasses.replace(preparation, images=fewer),
            rf"^the number of training images was 500 when the run began and is 400 now\. {ADVICE}$",
        ),
    ):
        with pytest.raises(UserError, match=message):
            check(study, changed)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_params", 5, "--max-params was 1000000 when the run began and is 5 now"),
        ("min_receptive_field", 5, "--min-receptive-field was 44 when the run began and is 5 now"),
        ("max_epochs", 30, "--epochs was 25 when the run began and is 30 now"),
        ("grace_period", 4, "--grace-period was 3 when the run began and is 4 now"),
        ("reduction_factor", 2, "--reduction-factor was 6 when the run began and is 2 now"),
        ("seed", 1, "--seed was 0 when the run began and is 1 now"),
        ("metric", "auc", "--metric was accuracy when the run began and is auc now"),
        ("class_weights", "balanced", "--class-weights was none when the run began and is balanced now"),
        ("scheduler", "asha", "--scheduler was promotion when the run began and is asha now"),
    ],
)
def test_an_edited_setting_is_refused(
    preparation: Preparation, study: RunStudy, field: str, value: int | str, message: str
) -> None:
    settings = preparation.settings.changed(**{field: value})
    with pytest.raises(UserError, match=rf"^{message}\. {ADVICE}$"):
        check(study, dataclasses.replace(preparation, settings=settings))


def test_the_settings_that_decide_scores_are_these() -> None:
    fixed = {name for name, option in OPTIONS.items() if option.is_fixed}
    lengths = {"max_epochs", "grace_period", "reduction_factor", "scheduler"}
    limits = {"max_params", "min_receptive_field", "require"}
    assert fixed == lengths | limits | {"seed", "metric", "class_weights"}


def test_another_search_space_is_refused_key_by_key(preparation: Preparation, study: RunStudy) -> None:
    parameters = dict(preparation.space.parameters)
    gone = sorted(parameters)[0]
    del parameters[gone]
    space = SearchSpace(parameters, {**preparation.space.fixed, "num_wonders": 3})
    with pytest.raises(UserError) as caught:
        check(study, dataclasses.replace(preparation, space=space))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert any(f"`{gone}` in the search space was {{'kind'" in line and "and is nothing now" in line for line in lines)
    assert any(
        "`num_wonders` in the search space was nothing when the run began and is 3 now" in line for line in lines
    )


def test_an_edited_space_file_is_refused_though_nothing_reads_it(
    preparation: Preparation, study: RunStudy, space_file: Path
) -> None:
    space_file.write_text("num_wonders = 3\n" + space_file.read_text())
    with pytest.raises(
        UserError, match=r"`num_wonders` in the search space was nothing when the run began and is 3 now"
    ):
        check(study, preparation)


def test_a_lost_or_broken_space_file_is_named(preparation: Preparation, study: RunStudy, space_file: Path) -> None:
    text = space_file.read_text()
    space_file.unlink()
    with pytest.raises(UserError, match=r"space\.toml cannot be read \(.*No such file.*\)\. Restore it from a copy\."):
        check(study, preparation)
    space_file.write_text(text + "\n= broken")
    with pytest.raises(SpaceError, match="the search space is not valid TOML"):
        check(study, preparation)


def test_all_differences_are_reported_at_once(preparation: Preparation, study: RunStudy) -> None:
    settings = preparation.settings.changed(seed=1, max_params=5)
    with pytest.raises(UserError) as caught:
        check(study, dataclasses.replace(preparation, settings=settings))
    assert len(str(caught.value).splitlines()) == 2


def test_a_record_without_the_facts_is_refused(preparation: Preparation) -> None:
    with pytest.raises(UserError, match="does not say what the run began with"):
        check(RunStudy.in_memory(), preparation)
