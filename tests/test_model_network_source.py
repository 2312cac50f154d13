"""A user's network: found, shipped as text, and told apart from another."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from own_nets import GOOD, write_nets

from model.builder import NetworkError
from model.network_source import BUILT_IN, NetworkSource, builder_of, completed, read_source, recorded_source, space_of

CONFIG = {"width": 4, "bias": True}
BUILD_ELSEWHERE = """
import json, sys, torch
from model.network_source import NetworkSource, builder_of
build = builder_of(NetworkSource(**json.loads(sys.stdin.read())))
torch.manual_seed(3)
print(build({"width": 4, "bias": True}, num_classes=3, image_size=8).state_dict()["2.weight"].tolist())
"""


def whole_source(name: str) -> NetworkSource:
    source, modules = read_source(name)
    builder_of(source)(CONFIG, num_classes=3, image_size=8)
    return completed(source, modules)


def test_a_process_without_the_files_builds_the_same_network(tmp_path: Path) -> None:
    source = whole_source(write_nets(tmp_path / "nets"))
    assert sorted(source.files) == ["blocks.py", "my_nets.py"]
    for name in source.files:
        (tmp_path / "nets" / name).unlink()
    torch.manual_seed(3)
    here = builder_of(source)(CONFIG, num_classes=3, image_size=8).state_dict()["2.weight"]
    done = subprocess.run(
        [sys.executable, "-c", BUILD_ELSEWHERE],
        input=json.dumps(dataclasses.asdict(source)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert torch.equal(torch.tensor(json.loads(done.stdout)), here)


def test_a_package_below_the_current_folder_is_shipped_and_an_installed_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_nets(tmp_path / "mine")
    nets = tmp_path / "mine" / "my_nets.py"
    nets.write_text(GOOD.replace("from blocks", "from mine.blocks"))
    assert sorted(whole_source("mine.my_nets:build").files) == ["mine/blocks.py", "mine/my_nets.py"]
    source, modules = read_source("torchvision.models:resnet18")
    assert (source.files, modules, len(source.sha256)) == ({}, None, 64)
    network = builder_of(source)({"width_per_group": 64}, num_classes=3, image_size=64)
    assert network.get_parameter("fc.weight").shape == (3, 512)
    assert space_of(source) is None


def test_the_record_tells_a_changed_file_without_running_it(tmp_path: Path) -> None:
    name = write_nets(tmp_path / "nets")
    source = whole_source(name)
    assert recorded_source(name, source.files) == source
    (tmp_path / "nets" / "blocks.py").write_text("raise SystemExit('must not be run')")
    assert recorded_source(name, source.files).sha256 != source.sha256
    (tmp_path / "nets" / "blocks.py").unlink()
    with pytest.raises(NetworkError, match=r"cannot be read: .*blocks\.py"):
        recorded_source(name, source.files)


def test_the_second_of_two_files_with_one_name_is_read(tmp_path: Path) -> None:
    first, second = write_nets(tmp_path / "a"), write_nets(tmp_path / "b", GOOD.replace("nn.Flatten(), ", ""))
    assert whole_source(first).sha256 != whole_source(second).sha256


def test_the_built_in_networks_are_a_builder() -> None:
    network = builder_of(BUILT_IN)({"c1_width": 8}, num_classes=3, image_size=32)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


@pytest.mark.parametrize(
    ("text", "function", "message"),
    [
        ("def build(:\n", "build", r"^cannot be imported: my_nets\.py:1: SyntaxError: "),
        (
            "import torch\nimport no_such_thing\n",
            "build",
            r"^cannot be imported: my_nets\.py:2: ModuleNotFoundError: .*",
        ),
        ("def make(): ...\n", "build", r"^has no `build`\. It has: make$"),
        ("build = 3\n", "build", r"`build` is not a function; it is int"),
        ("SPACE = 3\ndef build(): ...\n", "build", "SPACE must be a dict"),
    ],
)
def test_what_cannot_be_imported_is_one_line(tmp_path: Path, text: str, function: str, message: str) -> None:
    write_nets(tmp_path, text)
    with pytest.raises(NetworkError, match=message) as caught:
        space_of(read_source(f"{tmp_path}/my_nets.py:{function}")[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/nowhere/my_nets.py:build", "there is no file /nowhere/my_nets.py"),
        ("no_such_package.nets:build", "there is no module no_such_package, neither installed nor in"),
        ("torchvision.models:resnet180", r"no classifier resnet180\. Did you mean resnet18\?"),
        ("torchvision.models:xyz", r"no classifier xyz\. Known: alexnet, .*resnet18"),
    ],
)
def test_what_is_not_there_is_said(name: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        read_source(name)
