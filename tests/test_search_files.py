"""Files that appear whole or not at all, and the TOML in them."""

from __future__ import annotations

import errno
import math
import os
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest

from search.files import write_atomically
from search.toml_text import toml_document, toml_line

TEXTS = (
    "",
    "plain",
    'quo"ted',
    "back\\slash",
    "two\nlines\r\n",
    "tab\t\x00\x1f\x7f\x85",
    "äöü 漢字 🎉",
    "a.b = [c]",
    "'''",
)


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_write_that_fails_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, "old")

    def fail(*_args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new" * 1000)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


def test_an_interrupted_write_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "table.csv", "new")
    assert list(tmp_path.iterdir()) == []


def test_a_write_replaces_the_file_and_lets_others_read_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, "old")
    write_atomically(path, "größer")
    assert path.read_text(encoding="utf-8") == "größer"
    assert path.stat().st_mode & 0o777 == 0o644


def _random_value(rng: random.Random, depth: int) -> Any:
    kind = rng.randrange(7 if depth else 5)
    if kind == 0:
        return rng.choice([True, False])
    if kind == 1:
        return rng.randint(-(2**63), 2**63 - 1)
    if kind == 2:
        return rng.choice([rng.uniform(-1, 1), 10.0 ** rng.randint(-300, 300), -0.0, 0.1 + 0.2, math.inf, 1e16, 5e-324])
    if kind in (3, 4):
        return "".join(rng.choice(TEXTS) for _ in range(rng.randrange(3)))
    if kind == 5:
        return [_random_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return _random_table(rng, depth - 1)


def _random_table(rng: random.Random, depth: int) -> dict[str, Any]:
    return {rng.choice(TEXTS) + str(index): _random_value(rng, depth) for index in range(rng.randrange(5))}


@pytest.mark.parametrize("seed", range(200))
def test_what_is_written_is_read_back(seed: int) -> None:
    document = _random_table(random.Random(seed), depth=3)
    read = tomllib.loads(toml_document(document))
    assert read == document


def test_values_without_a_toml_form_are_left_out() -> None:
    document = {"a": None, "b": 1, "c": {"d": None, "e": {"f": None, "g": 2}}, "h": Path("x/y")}
    assert tomllib.loads(toml_document(document)) == {"b": 1, "c": {"e": {"g": 2}}, "h": "x/y"}


def test_plain_values_come_before_the_sections() -> None:
    assert toml_document({"c": {"d": 1}, "a": 2}) == "a = 2\n\n[c]\nd = 1\n"
    assert toml_line("lr", {"kind": "log", "low": 0.1}) == 'lr = {kind = "log", low = 0.1}\n'
