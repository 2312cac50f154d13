"""Folders, disk space, permissions and records that would make a run fail are reported at once, before slow imports."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from run_documents import make_document

import tune_main
from search.analysis.results import Run
from search.errors import UserError
from search.machine import temporary_folder
from search.settings import SearchSettings
from search.setup import disk_space
from search.setup.disk_space import bytes_needed
from search.setup.preflight import new_run_problems, resume_problems
from search.setup.run_lock import run_lock
from search.study.backup import DatabaseBackup
from search.study.study import RunStudy, open_study

REPOSITORY = Path(__file__).parent.parent


def settings(results_dir: Path, **values: object) -> SearchSettings:
    return SearchSettings(run_name="r", results_dir=results_dir, **values)  # type: ignore[arg-type]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """The files of a run that are checked before it is resumed."""
    folder = tmp_path / "r"
    folder.mkdir(mode=0o755)
    (folder / "run.toml").write_text(make_document().to_toml())
    RunStudy.in_database(f"sqlite:///{folder / 'study.db'}", "r").set_note("winner", 3)
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


def test_a_fresh_folder_is_fine(tmp_path: Path) -> None:
    assert new_run_problems(settings(tmp_path / "not" / "yet", max_params=1000)) == []


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "run.toml").write_text("")
    (problem,) = new_run_problems(settings(tmp_path))
    assert problem.endswith(f"exists already. Give another --name, or resume it: --resume {tmp_path / 'r'}.")


def test_files_of_a_run_killed_while_loading_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "run.lock").write_text("process 1 on a machine")
    assert new_run_problems(settings(tmp_path, max_params=1000)) == []


def test_a_results_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (problem,) = new_run_problems(settings(tmp_path / "file" / "results"))
    assert problem.endswith(f"{tmp_path / 'file'} is a file. Give a folder.")


def test_a_folder_without_permission_is_refused() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o555)
        (problem,) = as_nobody(lambda: new_run_problems(settings(Path(folder) / "results", max_params=1000)))
    assert problem.endswith(f"{folder} is not writable. Give another folder.")


def as_nobody(call: Callable[[], list[str]]) -> list[str]:
    """The lines that a call returns in a process without root's rights."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setuid(65534)
        os.write(writer, "\n".join(call()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        text = lines.read()
    assert os.waitpid(child, 0)[1] == 0
    return text.splitlines()


def test_a_read_only_disk_is_refused(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        (problem,) = new_run_problems(settings(tmp_path / "results"))
        assert f"{tmp_path} is not writable. Give another folder." in problem
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_too_little_disk_space_is_reported_in_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    asked = settings(tmp_path, scheduler="asha", cpus_per_trial=os.cpu_count(), max_params=2_000_000)
    (problem,) = new_run_problems(asked)
    # One trial: 3 files of 4 numbers of 4 bytes for each of two million parameters, and the record.
    assert bytes_needed(asked) == 96_000_000 + 8 * 2**20 + 20 * 25 * 2048
    assert "100 MB are free and the run may need 105 MB" in problem


def test_a_long_temporary_folder_gives_way_to_a_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 40)
    long.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(long))
    assert temporary_folder.short_temp_dir() == Path("/tmp")
    monkeypatch.setattr(os, "access", lambda path, _mode: str(path) != "/tmp")
    (problem,) = new_run_problems(settings(tmp_path, max_params=1000))
    assert f"the temporary folder {long} has more than 28 characters" in problem


def test_all_problems_are_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(disk_space, "MIN_TEMP_BYTES", 10**18)
    assert len(new_run_problems(settings(tmp_path / "file"))) == 2


def test_problems_are_reported_before_slow_imports(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = f"""
import sys, tune_main
code = tune_main.main(["--results-dir", "{tmp_path / "file"}"])
assert not {{"torch", "ray", "optuna", "pandas"}} & set(sys.modules), "imported for nothing"
sys.exit(code)
"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("tune_main.py: error: ") == 1
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


def test_an_intact_run_can_be_resumed(run_dir: Path) -> None:
    assert resume_problems(run_dir) == []


def test_a_locked_run_names_its_holder(run_dir: Path) -> None:
    with run_lock(run_dir):
        (problem,) = resume_problems(run_dir)
    assert f"{run_dir} is in use by process {os.getpid()} on" in problem
    assert resume_problems(run_dir) == []


@pytest.mark.parametrize("name", [".", "study.db", "run.toml", "checkpoints/trial-0000"])
def test_a_run_that_others_can_write_to_is_refused(run_dir: Path, name: str) -> None:
    (run_dir / "checkpoints" / "trial-0000").mkdir(mode=0o755, parents=True)
    path = run_dir / name
    path.chmod(path.stat().st_mode | 0o002)
    (problem,) = resume_problems(run_dir)
    assert "is writable by other users. If nobody changed it: chmod -R go-w" in problem
    assert "--trust-folder" in problem
    assert resume_problems(run_dir, trust_folder=True) == []


@pytest.mark.parametrize("name", ["sharp #1", "what? 100% {x}"])
def test_a_record_is_found_in_a_folder_of_any_name(run_dir: Path, name: str) -> None:
    moved = run_dir.parent / name / "r"
    moved.parent.mkdir()
    run_dir.rename(moved)
    assert resume_problems(moved) == []
    assert not (run_dir.parent / name.partition("#")[0]).is_file()
    assert Run.load(moved).study.notes()["winner"] == 3


def test_a_lost_sqlite_storage_is_named_and_not_created_anew(run_dir: Path, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    (run_dir / "run.toml").write_text(make_document(storage=storage).to_toml())
    (problem,) = resume_problems(run_dir)
    assert problem == f"--storage {storage}: {tmp_path / 'shared.db'} is missing. Restore it from a copy."
    with pytest.raises(UserError, match="is missing"):
        _ = Run.load(run_dir).study
    assert not (tmp_path / "shared.db").exists()
    RunStudy.in_database(storage, "another")
    with pytest.raises(UserError, match="the database holds no run named r"):
        _ = Run.load(run_dir).study


def test_a_missing_driver_is_named_by_its_package(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs the package MySQLdb, not installed here: pip install mysqlclient"):
        open_study(settings(tmp_path, storage="mysql://host/name"))


@pytest.mark.parametrize("damage", ["missing", "garbage", "torn"])
def test_a_damaged_record_names_its_last_good_copy(run_dir: Path, damage: str) -> None:
    database = run_dir / "study.db"
    (problem,) = _damaged(run_dir, database.read_bytes(), damage)
    assert "there is no study.backup.db yet. Restore it from your own copy." in problem
    database.unlink(missing_ok=True)
    RunStudy.in_database(f"sqlite:///{database}", "r").set_note("winner", 3)
    DatabaseBackup(database).take_if_due()
    (problem,) = _damaged(run_dir, database.read_bytes(), damage)
    backup = run_dir / "study.backup.db"
    assert problem.endswith(f"Restore the last good copy: cp {backup} {database}")
    shutil.copy(backup, database)
    assert resume_problems(run_dir) == []
    assert RunStudy.in_database(f"sqlite:///{database}", "r").notes()["winner"] == 3


def _damaged(run_dir: Path, content: bytes, damage: str) -> list[str]:
    database = run_dir / "study.db"
    if damage == "missing":
        database.unlink()
    else:
        database.write_bytes(b"no database" * 500 if damage == "garbage" else content[: len(content) // 2])
    return resume_problems(run_dir)


def test_a_record_of_another_version_is_refused_and_not_called_damaged(run_dir: Path) -> None:
    url = f"sqlite:///{run_dir / 'study.db'}"
    RunStudy.in_database(url, "r").set_note("record_version", 99)
    with pytest.raises(UserError, match=r"^the record of r was written by another version \(record 99, .*\. Use"):
        open_study(settings(run_dir.parent))


def test_backups_are_whole_and_not_taken_too_often(run_dir: Path) -> None:
    database, copy = run_dir / "study.db", run_dir / "study.backup.db"
    backup = DatabaseBackup(database)
    backup.take_if_due()
    taken = copy.stat().st_mtime_ns
    with sqlite3.connect(copy) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    backup.take_if_due()
    assert copy.stat().st_mtime_ns == taken
    assert not list(run_dir.glob("*.tmp"))


def test_the_command_line_prints_a_line_for_each_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune_main.main(["--results-dir", str(tmp_path), "--name", "r", "--trials", "0", "--seed", "-1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": error: ")[0] for line in lines] == ["tune_main.py"] * 2
