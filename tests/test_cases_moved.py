"""A run whose images were moved: it says so, and goes on with the same images elsewhere and with no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from image_files import encode_png, random_image, write_splits

import search.run
from model.engine import Engine
from search.errors import UserError
from search.machine.machine import Machine
from search.machine.slots import Slots
from search.run import resume_search
from search.settings import SearchSettings
from search.setup.compatibility import note_compatibility
from search.setup.document import read_document
from search.setup.prepare import prepare
from search.setup.run_folder import RunFolder, read_settings
from search.study.study import open_study

MACHINE = Machine(
    engine=Engine(num_threads=1), slots=Slots(num_concurrent=1, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
)


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that has just begun on tmp_path/images, named relative to a folder that is not the current one later."""
    write_splits(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    settings = SearchSettings(run_name="run", dataset="images", results_dir=Path("results"), min_receptive_field=0)
    preparation = prepare(settings, kept=MACHINE)
    folder = RunFolder(settings.run_dir)
    with folder.created():
        study = open_study(settings)
        note_compatibility(study, preparation.settings, preparation.data_record, preparation.space)
        folder.write_new(preparation.document(), preparation.space)
    monkeypatch.chdir("/")
    monkeypatch.setattr(search.run, "_run", lambda preparation, *_rest, **_named: preparation)
    return settings.run_dir


def test_the_images_are_found_from_any_folder(run_dir: Path, tmp_path: Path) -> None:
    resume_search(run_dir)
    assert read_settings(run_dir).dataset == str(tmp_path / "images")


def test_moved_images_are_asked_for_and_taken_if_they_are_the_same(run_dir: Path, tmp_path: Path) -> None:
    moved = shutil.move(tmp_path / "images", tmp_path / "moved")
    with pytest.raises(
        UserError, match=rf"the images of this run, {tmp_path}/images, are gone\. .*--dataset NEW_FOLDER"
    ):
        resume_search(run_dir)
    resume_search(run_dir, dataset=str(moved))
    document = read_document(run_dir)
    assert document.settings.dataset == document.data.name == str(tmp_path / "moved")
    resume_search(run_dir)


@pytest.mark.parametrize(
    ("split", "message"), [("train", r"the data set \(sha256"), ("test", r"the test split \(sha256")]
)
def test_other_images_are_refused(run_dir: Path, tmp_path: Path, split: str, message: str) -> None:
    (tmp_path / "images" / split / "cat" / "00.png").write_bytes(encode_png(random_image()))
    with pytest.raises(UserError, match=message):
        resume_search(run_dir, dataset=str(tmp_path / "images"))
