"""Folders that cannot be compared are told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from fabricated_run import make_run

import tune_main
from search.study.study import RunStudy


def test_a_folder_without_a_run_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune_main.main(["compare", str(tmp_path), str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_a_run_without_its_record_is_told_and_gets_no_empty_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a"
    make_run(folder, lambda study: None)
    assert tune_main.main(["compare", str(folder), str(folder)]) == 2
    assert capsys.readouterr().err == (
        f"tune_main.py: error: {folder / 'study.db'} is damaged (it is missing) and there is no study.backup.db yet. "
        "Restore it from your own copy.\n"
    )
    assert not (folder / "study.db").exists()


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0"])
def test_a_damaged_record_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    folder = tmp_path / "a"
    make_run(folder, lambda study: None)
    (folder / "study.db").write_bytes(content)
    assert tune_main.main(["compare", str(folder), str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tune_main.py: error: {folder / 'study.db'} is damaged (")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "cannot be read ('utf-8' codec can't decode byte 0xff"),
        (b"a = [3", "is damaged (the search space is not valid TOML: "),
        (b"", "is damaged (the search space has nothing to search."),
    ],
)
def test_a_damaged_search_space_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    folder = tmp_path / "a"
    make_run(folder, lambda study: None)
    RunStudy.in_database(f"sqlite:///{folder / 'study.db'}", "a")
    (folder / "space.toml").write_bytes(content)
    assert tune_main.main(["compare", str(folder), str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tune_main.py: error: {folder / 'space.toml'} {message}")
    assert line.endswith("Restore it from a copy.")
