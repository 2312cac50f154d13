"""The private temporary folder: closed to others, removed by its run or by the next one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from search.machine import temporary_folder


def test_the_private_folder_is_closed_to_others_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary_folder, "short_temp_dir", lambda: tmp_path)
    with temporary_folder.private_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_folders_of_killed_runs_are_removed_and_others_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary_folder, "short_temp_dir", lambda: tmp_path)
    abandoned, young, foreign = tmp_path / "cl-abandoned", tmp_path / "cl-young", tmp_path / "else"
    for folder in (abandoned, young, foreign):
        folder.mkdir()
        (folder / "owner.lock").write_text("")
    os.utime(abandoned / "owner.lock", (0, 0))
    os.utime(foreign / "owner.lock", (0, 0))
    with temporary_folder.private_folder() as living:
        os.utime(living / "owner.lock", (0, 0))
        temporary_folder.remove_abandoned(tmp_path)
        assert living.exists()
    assert not abandoned.exists()
    assert young.exists()
    assert foreign.exists()


def test_only_an_empty_folder_that_ray_made_again_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary_folder, "short_temp_dir", lambda: tmp_path)
    made_again, used, foreign = (tmp_path / name for name in ("cl-again/1/session_x", "cl-used/1/session_x", "cl-else"))
    for folder in (made_again, used, foreign):
        folder.mkdir(parents=True)
    (used / "log").write_text("")
    with temporary_folder.private_folder() as living:
        starting = living / "1" / "session_x"
        starting.mkdir(parents=True)
        temporary_folder.remove_abandoned(tmp_path)
        assert starting.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"cl-used", "cl-else"}
    assert (used / "log").exists()
