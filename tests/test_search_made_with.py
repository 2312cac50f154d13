"""A run is taken up only as what it was; every difference is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from model.engine import Engine
from search.errors import SpaceError, UserError
from search.machine.slots import Slots
from search.settings import SearchSettings
from search.setup.compatibility import check_made_with, note_made_with
from search.setup.prepare import Machine, Preparation, prepare
from search.setup.run_folder import RunFolder
from search.space.space import SearchSpace
from search.study.study import RunStudy

MACHINE = Machine(
    engine=Engine(num_threads=1), slots=Slots(num_concurrent=1, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
)
ADVICE = r"Bring the old one back or start a new run\."


@pytest.fixture(scope="module")
def preparation(tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    """A run's, whose folder is there."""
    folder = tmp_path_factory.mktemp("results")
    settings = SearchSettings(
        run_name="run", dataset="digits", image_size=16, search_examples=500, precision="fp32", results_dir=folder
    )
    preparation = prepare(settings, kept=MACHINE)
    with RunFolder(settings.run_dir).created():
        RunFolder(settings.run_dir).write_new(preparation)
    return preparation


@pytest.fixture
def study(preparation: Preparation) -> RunStudy:
    study = RunStudy.in_memory()
    note_made_with(study, preparation)
    return study


@pytest.fixture
def space_file(preparation: Preparation) -> Any:
    """The run's space.toml, put back afterwards."""
    path = preparation.settings.run_dir / "space.toml"
    text = path.read_text()
    yield path
    path.write_text(text)


def test_a_run_as_it_was_is_taken_up(preparation: Preparation, study: RunStudy) -> None:
    check_made_with(study, preparation)
    grown = dataclasses.replace(preparation.settings, num_trials=99, trial_timeout_s=5.0, max_failures=7)
    check_made_with(study, dataclasses.replace(preparation, settings=grown))


def test_other_images_or_another_split_are_refused(preparation: Preparation, study: RunStudy) -> None:
    data = dataclasses.replace(preparation.data, fingerprint="f" * 64)
    arrays = dataclasses.replace(preparation.arrays, split_hash="e" * 64)
    other_split = dataclasses.replace(preparation, arrays=arrays)
    fewer = dataclasses.replace(preparation.arrays, train_indices=preparation.arrays.train_indices[:400])
    for changed, message in (
        (dataclasses.replace(preparation, data=data), rf"another data set \(.+\): \w+ then, f+ now\. {ADVICE}"),
        (other_split, rf"another train/validation split: \w+ then, e+ now\. {ADVICE}"),
        (dataclasses.replace(preparation, arrays=fewer), rf"number of training images: 500 then, 400 now\. {ADVICE}"),
    ):
        with pytest.raises(UserError, match=message):
            check_made_with(study, changed)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_params", 5, "another limit --max-params: 1000000 then, 5 now"),
        ("min_receptive_field", 5, "another limit --min-receptive-field: 44 then, 5 now"),
        ("max_epochs", 30, "another length --epochs: 25 then, 30 now"),
        ("grace_period", 4, "another --grace-period: 3 then, 4 now"),
        ("reduction_factor", 2, "another --reduction-factor: 6 then, 2 now"),
        ("seed", 1, "another seed: 0 then, 1 now"),
        ("scheduler", "asha", "another --scheduler: promotion then, asha now"),
    ],
)
def test_an_edited_setting_is_refused(
    preparation: Preparation, study: RunStudy, field: str, value: int | str, message: str
) -> None:
    settings = dataclasses.replace(preparation.settings, **{field: value})
    with pytest.raises(UserError, match=rf"^the run was made with {message}\. {ADVICE}$"):
        check_made_with(study, dataclasses.replace(preparation, settings=settings))


def test_another_chance_of_an_audit_is_refused(preparation: Preparation) -> None:
    def with_audit(chance: float) -> Preparation:
        settings = dataclasses.replace(preparation.settings, scheduler="asha", audit=chance)
        return dataclasses.replace(preparation, settings=settings)

    study = RunStudy.in_memory()
    note_made_with(study, with_audit(0.1))
    check_made_with(study, with_audit(0.1))
    with pytest.raises(UserError, match=rf"^the run was made with another --audit: 0.1 then, 0.5 now\. {ADVICE}$"):
        check_made_with(study, with_audit(0.5))


def test_another_search_space_is_refused_key_by_key(preparation: Preparation, study: RunStudy) -> None:
    parameters = dict(preparation.space.parameters)
    gone = sorted(parameters)[0]
    del parameters[gone]
    space = SearchSpace(parameters, {**preparation.space.fixed, "num_wonders": 3})
    with pytest.raises(UserError) as caught:
        check_made_with(study, dataclasses.replace(preparation, space=space))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert any(f"search space, `{gone}`: {{'kind'" in line and "then, nothing now" in line for line in lines)
    assert any("search space, `num_wonders`: nothing then, 3 now" in line for line in lines)


def test_an_edited_space_file_is_refused_though_nothing_reads_it(
    preparation: Preparation, study: RunStudy, space_file: Path
) -> None:
    space_file.write_text("num_wonders = 3\n" + space_file.read_text())
    with pytest.raises(UserError, match=r"another search space, `num_wonders`: nothing then, 3 now"):
        check_made_with(study, preparation)


def test_a_lost_or_broken_space_file_is_named(preparation: Preparation, study: RunStudy, space_file: Path) -> None:
    text = space_file.read_text()
    space_file.unlink()
    with pytest.raises(UserError, match=r"space\.toml cannot be read \(.*No such file.*\)\. Restore it from a copy\."):
        check_made_with(study, preparation)
    space_file.write_text(text + "\n= broken")
    with pytest.raises(SpaceError, match="the search space is not valid TOML"):
        check_made_with(study, preparation)


def test_all_differences_are_told_at_once(preparation: Preparation, study: RunStudy) -> None:
    settings = dataclasses.replace(preparation.settings, seed=1, max_params=5)
    with pytest.raises(UserError) as caught:
        check_made_with(study, dataclasses.replace(preparation, settings=settings))
    assert len(str(caught.value).splitlines()) == 2


def test_a_record_that_does_not_say_is_refused(preparation: Preparation) -> None:
    with pytest.raises(UserError, match="does not say what the run was made with: another version began it"):
        check_made_with(RunStudy.in_memory(), preparation)
