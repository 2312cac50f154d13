"""run.toml after anyone may have edited it: each mistake is one line that names the file, the key and the value."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from run_documents import make_document

from search.errors import UserError
from search.settings import RECORD_VERSION
from search.setup.document import read_document


def table() -> dict[str, Any]:
    return tomllib.loads(make_document().to_toml())


def write(folder: Path, document: dict[str, Any]) -> Path:
    (folder / "run.toml").write_text(tomli_w.dumps(document))
    return folder


def test_a_document_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    document = make_document(
        class_names=("a", 'quo"ted', "new\nline", "漢字"),
        seed=3,
        time_budget_s=0.1 + 7200,
        space=Path("my space.toml"),
        storage="sqlite:////x/y.db",
    )
    document = document.model_copy(
        update={
            "forecast": {"wall_s": {"median": 1 / 3, "low": 1e-300, "high": 1e16}, "gpus": 0},
            "measurements": {"engine": [{"precision": "bf16", "ms": 12.345678901234567}], "packing": []},
        }
    )
    (tmp_path / "run.toml").write_text(document.to_toml())
    assert read_document(tmp_path) == document


def test_values_that_are_none_are_left_out() -> None:
    written = table()
    assert "forecast" not in written
    assert "storage" not in written["settings"]
    assert written["settings"]["results_dir"] == str(Path("results").absolute())


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"holds no run: it has no readable run.toml. Give a folder under results/"):
            read_document(folder)


@pytest.mark.parametrize("content", [b"[settings\n", b"\xff\xfe\x00", b"record_version"])
def test_invalid_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(UserError, match=r"run.toml is damaged \(.+\). Restore it from a copy.$"):
        read_document(tmp_path)


@pytest.mark.parametrize("name", ["settings", "data", "engine", "slots", "versions", "hardware"])
def test_a_missing_section_is_named(tmp_path: Path, name: str) -> None:
    document = table()
    del document[name]
    with pytest.raises(UserError, match=rf"run.toml is damaged \(`{name}` is missing\). Restore it"):
        read_document(write(tmp_path, document))
    with pytest.raises(UserError, match=rf"run.toml is damaged \(`{name}` must be a table; got 3\). Restore it"):
        read_document(write(tmp_path, {**document, name: 3}))


@pytest.mark.parametrize(("content", "version"), [({"record_version": 99}, 99), ({"a": 1}, None)])
def test_another_version_is_refused(tmp_path: Path, content: dict[str, Any], version: int | None) -> None:
    message = rf"another version \(record {version}, this program writes {RECORD_VERSION}\). Use that version or start"
    with pytest.raises(UserError, match=message):
        read_document(write(tmp_path, content))


@pytest.mark.parametrize(
    ("section", "values", "problem"),
    [
        ("settings", {"run_name": 3}, "`run_name` (--name) must be text; got 3"),
        ("settings", {"num_trials": "many"}, "`num_trials` (--trials) must be a whole number; got 'many'"),
        ("settings", {"num_trials": 2.0}, "`num_trials` (--trials) must be a whole number; got 2.0"),
        ("settings", {"num_trials": True}, "`num_trials` (--trials) must be a whole number; got True"),
        ("settings", {"num_trials": 0}, "`num_trials` (--trials) must be at least 1; got 0"),
        ("settings", {"time_budget_s": "2h"}, "`time_budget_s` (--time-budget) must be a number; got '2h'"),
        ("settings", {"image_size": [16]}, "`image_size` must be a whole number; got [16]"),
        ("settings", {"baseline": 1}, "`baseline` (--no-baseline) must be true or false; got 1"),
        ("settings", {"space": 4}, "`space` must be a path; got 4"),
        ("settings", {"scheduler": "pasha"}, "`scheduler` must be 'promotion' or 'asha'; got 'pasha'"),
        ("settings", {"grace_period": 99}, "`grace_period` must be at most `max_epochs`; got grace_period 99"),
        ("settings", {"num_trails": 3}, "unknown key `num_trails`. Did you mean `num_trials`? Known keys: num_trials"),
        ("engine", {"compile": 1}, "`compile` in [engine] must be true or false; got 1"),
        ("engine", {"device_": "cpu"}, "unknown key `device_`. Did you mean `device`? Known keys: device, precision"),
        ("data", {"class_names": "cat"}, "`class_names` in [data] must be a list; got 'cat'"),
        ("data", {"num_val": "1"}, "`num_val` in [data] must be a whole number; got '1'"),
        ("data", {"num_vals": 1}, "unknown key `num_vals`. Did you mean `num_val`? Known keys: name"),
        ("hardware", {"memory_gib": "much"}, "`memory_gib` in [hardware] must be a number; got 'much'"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, section: str, values: dict[str, Any], problem: str) -> None:
    document = table()
    document[section] |= values
    with pytest.raises(UserError, match=re.escape(f"run.toml is damaged ({problem}")) as caught:
        read_document(write(tmp_path, document))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "known"),
    [({"network": {"sha": "1"}}, "sha256, files"), ({"engines": {"H100": {"sha": "1"}}}, "device, precision")],
)
def test_an_unknown_key_in_a_section_that_not_every_run_has_is_named(
    tmp_path: Path, section: dict[str, Any], known: str
) -> None:
    with pytest.raises(UserError, match=f"unknown key `sha`.*Known keys: {known}"):
        read_document(write(tmp_path, table() | section))


def test_an_unknown_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown key `enigne`\. Did you mean `engine`"):
        read_document(write(tmp_path, table() | {"enigne": {}}))


def test_all_bad_values_are_reported_at_once(tmp_path: Path) -> None:
    document = table()
    document["settings"] |= {"num_trials": 0, "seed": -1}
    document["slots"] = {"num_concurrent": "all", "gpus": [], "cpus_per_trial": 1}
    with pytest.raises(UserError) as caught:
        read_document(write(tmp_path, document))
    path = tmp_path / "run.toml"
    assert str(caught.value).splitlines() == [
        f"{path} is damaged ({problem}). Restore it from a copy."
        for problem in (
            "`num_trials` (--trials) must be at least 1; got 0",
            "`seed` must be at least 0; got -1",
            "`num_concurrent` in [slots] must be a whole number; got 'all'",
            "`gpus_per_trial` in [slots] is missing",
            "`gpus` in [slots] must be a whole number; got []",
        )
    ]
