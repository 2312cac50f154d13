"""run.toml as anyone may have left it: each mistake is a line that names the file, the value and what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from minimal_document import MINIMAL, SECTIONS

from model.engine import Engine
from search.errors import UserError
from search.machine.slots import Slots
from search.settings import SearchSettings
from search.setup.document import read_document, section_as

PATH = Path("run.toml")


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(MINIMAL)
    assert set(read_document(tmp_path)) == {"record", *SECTIONS}


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"holds no run: it has no readable run.toml. Give a folder under results/"):
            read_document(folder)


@pytest.mark.parametrize("content", [b"[settings\n", b"\xff\xfe\x00", MINIMAL.encode()[:12]])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(UserError, match=r"run.toml is damaged \(.+\). Restore it from a copy.$"):
        read_document(tmp_path)


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize("instead", ["", "{name} = 3\n"])
def test_a_missing_section_is_named(tmp_path: Path, name: str, instead: str) -> None:
    (tmp_path / "run.toml").write_text(instead.format(name=name) + MINIMAL.replace(f"[{name}]\n", ""))
    with pytest.raises(UserError, match=rf"run.toml is damaged \(it lacks the section \[{name}\]\). Restore it"):
        read_document(tmp_path)


@pytest.mark.parametrize(("text", "version"), [("[record]\nversion = 99", 99), ("a = 1", None), ("record = 3", None)])
def test_a_run_of_another_version_is_refused(tmp_path: Path, text: str, version: int | None) -> None:
    (tmp_path / "run.toml").write_text(text)
    message = rf"was made by another version \(record {version}, this is 1\). Use that version or start a new run."
    with pytest.raises(UserError, match=message):
        read_document(tmp_path)


def test_a_section_comes_back_as_it_was_written() -> None:
    values = {
        "run_name": "run",
        "results_dir": Path("results"),
        "trial_timeout_s": 60,
        "storage": "sqlite://",
        "seed": 3,
    }
    assert section_as(SearchSettings, values, PATH) == SearchSettings(**values)
    assert section_as(Engine, {"device": "cuda:0", "compile": True}, PATH) == Engine(device="cuda:0", compile=True)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"run_name": 3}, "`run_name` must be text; got 3"),
        ({}, "`run_name` is missing"),
        ({"run_name": "run", "num_trials": "many"}, "`num_trials` must be a whole number; got 'many'"),
        ({"run_name": "run", "num_trials": 2.0}, "`num_trials` must be a whole number; got 2.0"),
        ({"run_name": "run", "num_trials": True}, "`num_trials` must be a whole number; got True"),
        ({"run_name": "run", "audit": "0.1"}, "`audit` must be a number; got '0.1'"),
        ({"run_name": "run", "image_size": [16]}, "`image_size` must be a whole number; got [16]"),
        ({"run_name": "run", "baseline": 1}, "`baseline` must be true or false; got 1"),
        ({"run_name": "run", "space": 4}, "`space` must be a path; got 4"),
        ({"run_name": "run", "scheduler": "pasha"}, "`scheduler` must be one of asha, promotion; got 'pasha'"),
        (
            {"run_name": "run", "num_trails": 3},
            "unknown key `num_trails`. Did you mean `num_trials`? Known keys: data",
        ),
    ],
)
def test_a_bad_value_is_named(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"run.toml is damaged ({problem}")):
        section_as(SearchSettings, values, PATH)


def test_all_bad_values_come_at_once() -> None:
    with pytest.raises(UserError) as caught:
        section_as(Slots, {"num_concurrent": "all", "gpus": None, "cpus_per_trial": 1}, PATH)
    assert str(caught.value).splitlines() == [
        "run.toml is damaged (`num_concurrent` must be a whole number; got 'all'). Restore it from a copy.",
        "run.toml is damaged (`gpus_per_trial` is missing). Restore it from a copy.",
        "run.toml is damaged (`gpus` must be a whole number; got None). Restore it from a copy.",
    ]
