"""A run's folder: created once, held by one process, and described by run.toml."""

from __future__ import annotations

import dataclasses
import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.engine import Engine
from search.errors import UserError
from search.machine.machine import Machine
from search.machine.slots import Slots
from search.settings import SearchSettings
from search.setup.document import read_document
from search.setup.preparation import Preparation
from search.setup.prepare import prepare
from search.setup.run_folder import RunFolder, read_machine, read_settings
from search.space.space import SearchSpace

REPOSITORY = Path(__file__).parent.parent
MACHINE = Machine(
    engine=Engine(num_threads=1), slots=Slots(num_concurrent=2, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
)
HOLD = """
import sys, time
from pathlib import Path
from search.setup.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def settings_in(folder: Path, **values: Any) -> SearchSettings:
    given = {"run_name": "run", "dataset": "digits", "image_size": 16, "precision": "fp32", **values}
    return SearchSettings(results_dir=folder, **given)


@pytest.fixture(scope="module")
def preparation(tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    return prepare(settings_in(tmp_path_factory.mktemp("unused"), search_examples=500), kept=MACHINE)


def written(preparation: Preparation, folder: Path) -> tuple[RunFolder, Preparation]:
    """A run's folder under `folder`, described on disk."""
    settings = preparation.settings.changed(results_dir=folder)
    moved = dataclasses.replace(preparation, settings=settings)
    run_folder = RunFolder(settings.run_dir)
    with run_folder.created():
        run_folder.write_new(moved.document(), moved.space)
    return run_folder, moved


def test_a_name_is_used_once(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "trials.csv").write_text("precious")
    with pytest.raises(UserError, match=r"run .*exists.*Give another --"), RunFolder(tmp_path / "run").created():
        pytest.fail("it was made")
    assert (tmp_path / "run" / "trials.csv").read_text() == "precious"


@pytest.mark.parametrize("path", ["file/run", "file/results/run"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UserError, match=r"file.*Give a"), RunFolder(tmp_path / path).created():
        pytest.fail("it was made")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_run_that_fails_before_it_is_described_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="bad input"), RunFolder(tmp_path / "run").created():
        raise RuntimeError("bad input")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_held_by_another_process_names_it_and_ends_with_it(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, cwd=REPOSITORY)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        message = rf"is in use by process {holder.pid} on .+\. Wait for it to end or stop it\."
        with pytest.raises(UserError, match=message), RunFolder(tmp_path).locked():
            pytest.fail("it was locked twice")
    finally:
        holder.kill()
        holder.communicate()
    with RunFolder(tmp_path).locked():
        pass


def test_a_folder_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"missing is not a folder\. Give a folder"),
        RunFolder(tmp_path / "missing").locked(),
    ):
        pytest.fail("it was locked")
    assert not (tmp_path / "missing").exists()


def test_settings_come_back_as_they_were(preparation: Preparation, tmp_path: Path) -> None:
    folder, written_preparation = written(preparation, tmp_path)
    assert read_settings(folder.path) == written_preparation.settings
    assert read_machine(folder.path, written_preparation.settings) == MACHINE
    assert SearchSpace.from_toml((folder.path / "space.toml").read_text()) == preparation.space


def test_the_document_describes_the_run(preparation: Preparation) -> None:
    document = preparation.document()
    assert document.data.fingerprint == preparation.data.fingerprint
    assert document.data.split_hash == preparation.images.split_hash
    assert (document.data.num_train, document.data.num_val) == (500, len(preparation.images.val_indices))
    assert document.data.image_size == 16
    assert document.data.class_names == tuple("0123456789")
    assert document.data.mean == preparation.images.mean
    assert set(document.versions) >= {"python", "torch", "ray", "optuna", "commit"}
    assert document.settings == preparation.settings
    assert document.hardware.cpu_cores >= 1
    assert (document.engine, document.slots) == (MACHINE.engine, MACHINE.slots)


def test_a_moved_run_is_resumed_in_its_new_place(preparation: Preparation, tmp_path: Path) -> None:
    folder, _ = written(preparation, tmp_path)
    (tmp_path / "elsewhere").mkdir()
    moved = folder.path.rename(tmp_path / "elsewhere" / "run")
    assert read_settings(moved).run_dir == moved


def test_a_renamed_run_is_refused(preparation: Preparation, tmp_path: Path) -> None:
    folder, _ = written(preparation, tmp_path)
    renamed = folder.path.rename(tmp_path / "other")
    with pytest.raises(UserError, match=r"other was created as run, the name in its record. Rename it back"):
        read_settings(renamed)


def test_an_extended_run_keeps_its_description(preparation: Preparation, tmp_path: Path) -> None:
    folder, unchanged = written(preparation, tmp_path)
    before = read_document(folder.path)
    folder.write_settings(unchanged.settings.changed(num_trials=40), before.data)
    assert read_settings(folder.path).num_trials == 40
    assert read_document(folder.path).model_copy(update={"settings": before.settings}) == before


def test_a_forecast_is_added_and_the_rest_stays(preparation: Preparation, tmp_path: Path) -> None:
    folder, _ = written(preparation, tmp_path)
    before = read_document(folder.path)
    table = {"epochs": {"median": 1 / 3, "low": 0.1, "high": 2.0}, "gpus": 0, "endings": {"stopped": 4.5}}
    folder.write_forecast(table)
    assert read_document(folder.path).forecast == table
    assert read_document(folder.path).model_copy(update={"forecast": None}) == before


def test_a_holder_without_a_name_is_another_process(tmp_path: Path) -> None:
    with RunFolder(tmp_path).locked():
        (tmp_path / "run.lock").write_text("")
        with pytest.raises(UserError, match="is in use by another process"), RunFolder(tmp_path).locked():
            pytest.fail("it was locked twice")


def test_a_full_disk_keeps_nobody_from_locking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with RunFolder(tmp_path).locked(), pytest.raises(UserError, match="is in use by"), RunFolder(tmp_path).locked():
        pytest.fail("it was locked twice")
