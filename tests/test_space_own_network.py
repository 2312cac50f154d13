"""The space of an own network: its keys beside the recipe's, and its limits."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest
from own_nets import GOOD, write_nets

from model.network_source import read_source
from model.recipe import RECIPE_KEYS, Recipe
from search.errors import SpaceError
from search.space.network_space import default_entries, network_space
from search.space.space import SearchSpace
from search.space.space_check import Limits


def own_space(folder: Path, text: str | None, nets: str = GOOD, **limits: int) -> SearchSpace:
    source, _ = read_source(write_nets(folder, nets))
    own = {"max_params": 10_000, "min_receptive_field": 0, "num_classes": 3, "image_size": 8}
    return network_space(text, Limits(**{**own, **limits}, required=(), network=source))


def test_an_own_networks_keys_take_the_place_of_the_built_in_ones(tmp_path: Path) -> None:
    own = own_space(tmp_path, None)
    assert set(own.keys) == {"width", "bias", *RECIPE_KEYS}
    recipe = {key: parameter for key, parameter in default_entries()[0].items() if key in RECIPE_KEYS}
    assert {key: own.parameters[key] for key in own.parameters if key != "width"} == recipe
    changed = own_space(tmp_path, 'lr = 0.1\n[network]\nwidth = {kind = "choice", values = [2, 4]}\nbias = false')
    assert changed.default_config() is not None
    assert (changed.fixed["lr"], changed.fixed["bias"], changed.parameters["width"].default) == (0.1, False, 4)
    assert own_space(tmp_path, changed.to_toml()) == changed
    bare = own_space(tmp_path, 'base = "none"\n[network]\nwidth = {kind = "choice", values = [2, 4]}')
    assert bare.fixed == {"bias": True} | asdict(Recipe())


def test_without_a_space_of_its_own_the_file_says_which_keys_a_network_has(tmp_path: Path) -> None:
    nets = GOOD.replace("SPACE", "_OTHER")
    own = own_space(tmp_path, '[network]\nwidth = {kind = "int", low = 2, high = 8, step = 2}\nbias = true', nets)
    assert own_space(tmp_path, own.to_toml(), nets) == own


def test_an_own_network_is_bound_by_its_parameters_and_by_what_it_refuses(tmp_path: Path) -> None:
    own = own_space(tmp_path, None, max_params=170)
    config = own.typical_config()
    assert max(own.violations(config).values()) <= 0
    assert own.violations({**config, "width": 8})["num_params"] > 0
    assert own.violations({**config, "width": 5})["invalid_config"] == 1
    asked = own_space(tmp_path, None, min_receptive_field=2)
    assert asked.violations(config)["receptive_field"] == 0
    with pytest.raises(SpaceError, match=r"receptive_field in 100 of 100 \(by 1 or more\)") as caught:
        own_space(tmp_path, None, min_receptive_field=3)
    assert "--min-receptive-field" in str(caught.value)
    assert "--max-params" not in str(caught.value)


def test_the_least_max_params_that_would_do_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpaceError) as caught:
        own_space(tmp_path, None, max_params=10)
    (enough,) = map(int, re.findall(r"--max-params (\d+)", str(caught.value)))
    assert f"{enough - 1:,} parameters" in str(caught.value)
    assert not any(flag in str(caught.value) for flag in ("--min-receptive-field", "--require"))
    own_space(tmp_path, None, max_params=enough)
    with pytest.raises(SpaceError):
        own_space(tmp_path, None, max_params=enough - 1)


def test_a_value_that_fits_only_with_some_others_is_not_refused(tmp_path: Path) -> None:
    nets = GOOD.replace('"bias": True', '"bias": {"kind": "choice", "values": [True, False], "default": True}')
    refusal = 'if config["width"] == 8 and config["bias"]:\n        raise ValueError("too much")\n    '
    own = own_space(tmp_path, None, nets.replace("from blocks", f"{refusal}from blocks"))
    config = own.typical_config()
    assert [own.violations({**config, "width": 8, "bias": bias})["invalid_config"] for bias in (True, False)] == [1, 0]


@pytest.mark.parametrize(
    ("text", "nets", "message"),
    [
        ("[network]\nwidht = 4", GOOD, "unknown key `widht`. Did you mean `width`?"),
        ("[network]\nlr = 0.1", GOOD, "`lr` is a key of the recipe, so no network can have it. Rename it, or move it"),
        ("width = 4\n[network]\nwidth = 6", GOOD, "`width` stands both above and under [network]"),
        ("network = 3", GOOD, "`network` must be a table of the network's keys; got 3"),
        (
            None,
            GOOD.replace('"bias"', '"flip"'),
            "my_nets.py:build: `flip` is a key of the recipe, so no network can have it. Rename it.",
        ),
        (None, GOOD.replace('"high": 8', '"high": 2'), "SPACE of"),
        (
            "[network]\nwidth = {kind = 'int', low = 4, high = 7}",
            GOOD,
            "`width` = 7 cannot be trained: blocks.py:6: width",
        ),
    ],
)
def test_what_is_wrong_with_an_own_space_is_said(tmp_path: Path, text: str | None, nets: str, message: str) -> None:
    with pytest.raises(SpaceError, match=re.escape(message)):
        own_space(tmp_path, text, nets)
