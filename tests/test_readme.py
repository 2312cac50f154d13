"""Every command and code block of the README, run on a few tiny images."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from image_files import write_image_folder

REPOSITORY = Path(__file__).parent.parent
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
SHELL = [line.partition("  #")[0].strip() for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
SMALLER = {
    "--name mine": "--name mine --trials 3 --epochs 2 --grace-period 1 --no-baseline",
    "--trials 40": "--trials 4",
    "--name own": "--name own --trials 2 --epochs 1 --grace-period 1 --no-baseline --cpus-per-trial 1",
    "--name resnet": "--name resnet --trials 1 --epochs 1 --grace-period 1 --no-baseline --cpus-per-trial 1",
}
"""Appended or replaced, so that a run takes seconds: the README's own are for real data."""
TIMEOUT_S = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images that the README names."""
    folder = tmp_path_factory.mktemp("newcomer")
    write_image_folder(folder / "my_photos", num_images=12)
    (nets,) = [text for kind, text in BLOCKS if kind == "python" and "def build(" in text]
    (folder / "my_nets.py").write_text(nets)
    for name in ("cat.jpg", "dog.png"):
        source = next((folder / "my_photos" / "train").rglob("*.png"))
        (folder / name).write_bytes(source.read_bytes())
    return folder


def run(folder: Path, words: list[str]) -> None:
    """Runs a program in the folder; it must succeed."""
    done = subprocess.run(
        words,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_commands_and_the_python_block_work_in_the_order_of_the_readme(folder: Path) -> None:
    commands = [line for line in SHELL if line.startswith("python tune_main.py ")]
    assert len(commands) == 9
    for command in commands:
        for text, smaller in SMALLER.items():
            command = command.replace(text, smaller)
        run(folder, [sys.executable, str(REPOSITORY / "tune_main.py"), *shlex.split(command)[2:]])
    python = [text for kind, text in BLOCKS if kind == "python"]
    assert python
    for text in python:
        run(folder, [sys.executable, "-c", text])


def test_every_make_command_has_its_target() -> None:
    targets = [line.split()[1] for line in SHELL if line.startswith("make ")]
    assert {"tune", "test"} <= set(targets)
    for target in targets:
        run(REPOSITORY, ["make", "--dry-run", target])


def test_no_block_goes_unread() -> None:
    assert {kind for kind, _ in BLOCKS} <= {"sh", "python", "toml"}
    assert all(line.startswith(("make ", "python tune_main.py ")) for line in SHELL)
