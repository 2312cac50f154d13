"""Completion by Tab: what the program answers when argcomplete's shell function asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


def offered(folder: Path, words: str) -> set[str]:
    """What is offered for the last of the words after `python tune_main.py`."""
    line, answer = f"python tune_main.py {words}", folder / "answer"
    request = {
        "_ARGCOMPLETE": "2",  # of the line's words, the first two are the program
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "PYTHONPATH": str(REPOSITORY),
    }
    subprocess.run(
        [sys.executable, REPOSITORY / "tune_main.py"], cwd=folder, env={**os.environ, **request}, check=True, timeout=60
    )
    return {word.strip() for word in answer.read_text().split("\n")}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--trial", {"--trials", "--trials-per-gpu", "--trial-timeout"}),
        ("--precision ", {"auto", "bf16", "fp32"}),
        ("--dataset d", {"digits", "dir/"}),
        ("exp", {"export"}),
        ("export results --format ", {"onnx", "torch-export"}),
        ("init d", {"digits", "dir/"}),
        ("compare d", {"dir/"}),
    ],
)
def test_tab_completes_options_values_commands_and_files(tmp_path: Path, words: str, expected: set[str]) -> None:
    (tmp_path / "dir").mkdir()
    assert offered(tmp_path, words) == expected


def test_the_shell_finds_its_mark_where_it_looks() -> None:
    assert "PYTHON_ARGCOMPLETE_OK" in (REPOSITORY / "tune_main.py").read_text()[:1024]
