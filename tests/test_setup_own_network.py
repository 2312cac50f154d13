"""Code is run only if the user names it, and only if it is what the run began with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from own_nets import write_nets
from run_documents import make_document

from model.network_source import BUILT_IN, builder_of, completed, read_source
from search.errors import UserError
from search.paths import is_own_code
from search.settings import SearchSettings
from search.setup.document import NetworkRecord, RunDocument
from search.setup.own_network import network_of_run, read_network
from search.setup.settings_file import read_settings_file


@pytest.fixture
def document(tmp_path: Path) -> RunDocument:
    name = write_nets(tmp_path / "nets")
    source, modules = read_source(name)
    builder_of(source)({"width": 4, "bias": True}, num_classes=3, image_size=8)
    record = NetworkRecord.of(completed(source, modules))
    return make_document(network=name).model_copy(update={"network": record})


def test_a_runs_own_network_is_not_run_unless_it_is_named(tmp_path: Path, document: RunDocument) -> None:
    (tmp_path / "nets" / "my_nets.py").write_text("raise SystemExit('must not be run')")
    with pytest.raises(UserError, match=r"whose code is run only if you name it: --network .*my_nets\.py:build"):
        network_of_run(tmp_path, document, None)


def test_a_named_one_must_be_the_same_wherever_it_is_now(tmp_path: Path, document: RunDocument) -> None:
    moved = write_nets(tmp_path / "moved")
    assert network_of_run(tmp_path, document, moved).files.keys() == {"my_nets.py", "blocks.py"}
    (tmp_path / "moved" / "blocks.py").write_text("raise SystemExit('must not be run')")
    with pytest.raises(UserError, match=r"its source is not what .* began with \(sha256 [0-9a-f]{16}, then"):
        network_of_run(tmp_path, document, moved)
    with pytest.raises(UserError, match=r"^--network /no/my_nets\.py:build: there is no file /no/my_nets\.py\.$"):
        network_of_run(tmp_path, document, "/no/my_nets.py:build")


@pytest.mark.parametrize("change", [("my_nets.py", "renamed.py"), (":build", ":make")])
def test_another_file_or_function_is_refused_by_both_names(
    tmp_path: Path, document: RunDocument, change: tuple[str, str]
) -> None:
    name = document.settings.network
    assert name is not None
    other = name.replace(*change)
    shutil.copy(tmp_path / "nets" / "my_nets.py", tmp_path / "nets" / "renamed.py")
    with pytest.raises(UserError) as caught:
        network_of_run(tmp_path, document, other)
    (line,) = str(caught.value).splitlines()
    assert other in line
    assert "my_nets.py:build" in line


def test_built_in_networks_need_no_name_and_take_none(tmp_path: Path) -> None:
    assert network_of_run(tmp_path, make_document(), None) == BUILT_IN == read_network(None)[0]
    with pytest.raises(UserError, match=r"has built-in networks\. Leave out --network x\.py:build\.$"):
        network_of_run(tmp_path, make_document(), "x.py:build")


def test_torchvisions_networks_are_not_the_users_code(tmp_path: Path) -> None:
    source, _ = read_source("torchvision.models:resnet18")
    document = make_document(network=source.name).model_copy(update={"network": NetworkRecord.of(source)})
    assert network_of_run(tmp_path, document, None) == source
    assert is_own_code("my_nets.py:build")
    assert is_own_code("os:system")


def test_a_runs_settings_do_not_name_code_for_a_new_run(tmp_path: Path, document: RunDocument) -> None:
    (tmp_path / "run.toml").write_text(document.to_toml())
    with pytest.raises(UserError, match="whose code is run only if you name it"):
        read_settings_file(tmp_path / "run.toml")
    assert "network" not in read_settings_file(tmp_path / "run.toml", overridden=["network"])


def test_limits_of_the_built_in_networks_do_not_bind_own_ones() -> None:
    own = SearchSettings(run_name="r", network="/x/my_nets.py:build").resolved()
    assert (own.require, own.min_receptive_field, own.max_params) == ((), 0, 1_000_000)
    assert own.changed(seed=1).resolved().require == ()
    asked = SearchSettings(run_name="r", network="torchvision.models:resnet18", min_receptive_field=30).resolved()
    assert asked.min_receptive_field == 30
    assert SearchSettings(run_name="r").resolved().require == ("depthwise_separable", "dilated", "max_pools")
    with pytest.raises(UserError, match="`require` is for the built-in networks"):
        SearchSettings(run_name="r", network="my.nets:build", require=("dilated",))


@pytest.mark.parametrize(("text", "expected"), [("none", ()), ("dilated, max_pools", ("dilated", "max_pools"))])
def test_required_layers_are_named_with_commas(text: Any, expected: tuple[str, ...]) -> None:
    assert SearchSettings(**{"run_name": "r", "require": text}).require == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"require": "dilate"}, r"`require` must be 'depthwise_separable', 'dilated' or 'max_pools'; got 'dilate'\."),
        ({"network": "my_nets.py"}, r"`network` must be FILE\.py:NAME or MODULE:NAME.*; got 'my_nets\.py'\."),
    ],
)
def test_rubbish_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SearchSettings(run_name="r", **values)
