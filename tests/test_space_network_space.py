"""The space of networks: its default file, a user's file over it, and the limits as its constraint."""

from __future__ import annotations

import pickle
import random
import re
from dataclasses import asdict
from typing import Any

import pytest

from model.config import CONFIG_KEYS, network_values
from model.network_config import NetworkConfig
from model.profile import limit_violations, profile_network
from model.recipe import Recipe
from search.errors import SpaceError
from search.space.network_space import network_space
from search.space.space import SearchSpace
from search.space.space_check import Limits

LIMITS: dict[str, Any] = {"max_params": 1_000_000, "min_receptive_field": 44, "num_classes": 10, "image_size": 32}


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return network_space(None, Limits(**LIMITS))


def test_the_default_space_decides_every_key(space: SearchSpace) -> None:
    assert sorted([*space.parameters, *space.fixed]) == sorted(CONFIG_KEYS)
    assert not space.parameters.keys() & space.fixed.keys()


def test_a_space_read_from_its_own_file_draws_alike(space: SearchSpace) -> None:
    """A resumed run reads the file, and its proposals must be those of the undisturbed one."""
    again = network_space(space.to_toml(), Limits(**LIMITS))
    assert list(again.parameters) == list(space.parameters)
    assert again.draw(random.Random(5)) == space.draw(random.Random(5))


def test_the_default_config_keeps_all_limits(space: SearchSpace) -> None:
    config = space.default_config()
    assert config is not None
    assert max(space.violations(config).values()) <= 0
    profile = profile_network(network_values(config))
    assert 800_000 < profile.num_params < 1_000_000
    assert profile.num_max_pools == 3


def test_most_random_configs_train_and_many_keep_the_limits(space: SearchSpace) -> None:
    rng = random.Random(1)
    excesses = [space.violations(space.draw(rng)) for _ in range(150)]
    assert all(excess["invalid_config"] == 0 for excess in excesses)
    assert sum(max(excess.values()) <= 0 for excess in excesses) / len(excesses) > 0.4


def test_no_random_config_costs_five_times_the_notebooks_network(space: SearchSpace) -> None:
    rng = random.Random(2)
    costs = [profile_network(network_values(space.draw(rng))).multiply_adds for _ in range(100)]
    assert max(costs) < 5 * 48e6


def test_the_constraint_is_the_networks_limits(space: SearchSpace) -> None:
    config = space.draw(random.Random(3))
    expected = limit_violations(network_values(config), **LIMITS)
    assert space.violations(config) == {"invalid_config": 0.0, **expected}
    tighter = network_space(None, Limits(**{**LIMITS, "max_params": 500_000}))
    assert tighter.violations(config)["num_params"] == expected["num_params"] + 500_000


def test_values_that_do_not_fit_together_are_a_violation(space: SearchSpace) -> None:
    config = {**space.draw(random.Random(4)), "c2_kind": "spatially_separable", "c2_num_convs": 3}
    violations = space.violations(config)
    assert violations["invalid_config"] == 1
    assert violations.keys() == space.violations(space.draw(random.Random(4))).keys()


def test_a_space_travels_between_processes(space: SearchSpace) -> None:
    copy = pickle.loads(pickle.dumps(space))
    config = space.draw(random.Random(5))
    assert copy == space
    assert copy.violations(config) == space.violations(config)


def test_a_file_replaces_its_keys_and_keeps_the_others(space: SearchSpace) -> None:
    narrowed = network_space('muon_lr = {kind = "log", low = 0.05, high = 0.15}\nactivation = "silu"', Limits(**LIMITS))
    assert narrowed.parameters["muon_lr"].high == 0.15
    assert (
        narrowed.parameters["muon_lr"].default == space.parameters["muon_lr"].default
    )  # kept: it lies in the new range
    assert narrowed.fixed == {"activation": "silu", **space.fixed}
    rest = space.parameters.keys() - {"muon_lr", "activation"}
    assert {key: narrowed.parameters[key] for key in rest} == {key: space.parameters[key] for key in rest}


def test_a_default_outside_the_new_range_is_dropped() -> None:
    moved = network_space('muon_lr = {kind = "log", low = 0.4, high = 0.9}', Limits(**LIMITS))
    assert moved.parameters["muon_lr"].default is None
    assert moved.default_config() is None


def test_no_key_is_searched_that_the_optimizer_ignores() -> None:
    space = network_space('optimizer = "nesterov"\nlr = {kind = "log", low = 0.1, high = 0.4}', Limits(**LIMITS))
    assert {"lr", "momentum"} <= space.parameters.keys()
    assert {"muon_lr", "adamw_lr", "adamw_weight_decay"} <= space.fixed.keys()


def test_a_fixed_key_may_be_searched(space: SearchSpace) -> None:
    wider = network_space('flip = {kind = "choice", values = [false, true]}', Limits(**LIMITS))
    assert wider.parameters["flip"].default is True
    assert wider.default_config() == space.default_config()


def test_base_none_fixes_the_other_keys_at_their_own_defaults() -> None:
    text = """
    base = "none"
    lr = {kind = "log", low = 0.01, high = 1.0}
    c3_kind = "dilated"
    output_kind = "depthwise_separable"
    """
    space = network_space(text, Limits(**LIMITS))
    assert list(space.parameters) == ["lr"]
    expected = NetworkConfig().flat() | asdict(Recipe()) | {"c3_kind": "dilated", "output_kind": "depthwise_separable"}
    del expected["lr"]
    assert space.fixed == expected


@pytest.mark.parametrize(
    "text",
    [
        None,
        'base = "none"\nc2_kind = "dilated"\nc3_kind = "depthwise_separable"\nlr = {kind = "log", low = 3, high = 4}',
    ],
)
def test_the_copy_of_a_space_is_the_same_space(text: str | None) -> None:
    space = network_space(text, Limits(**LIMITS))
    assert network_space(space.to_toml(), Limits(**LIMITS)) == space
    assert SearchSpace.from_toml(space.to_toml(), known_keys=CONFIG_KEYS) == space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_size = 0", "`batch_size` = 0 cannot be trained: `batch_size` must satisfy 1 <= batch_size"),
        ('flip = "yes"', "`flip` = 'yes' cannot be trained: `flip` must be true or false; got 'yes'."),
        ('momentum = {kind = "linear", low = 0.5, high = 1.0}', "`momentum` = 1.0 cannot be trained: `momentum` must"),
        (
            'c1_width = {kind = "linear", low = 8.0, high = 64.0}',
            "`c1_width` = 8.0 cannot be trained: `width` must be a",
        ),
        (
            'activation = {kind = "choice", values = ["relu", "tanh"]}',
            "`activation` = 'tanh' cannot be trained: `activation` must be one of relu, gelu, silu, celu; got 'tanh'.",
        ),
        (
            'c3_kind = "spatially_separable"\nc3_num_convs = 3',
            "`num_convs` must be 2 in a spatially_separable block: (3, 1) and (1, 3); got 3.",
        ),
        ("weigth_decay = 0.1", "unknown key `weigth_decay`. Did you mean `weight_decay`? Known keys: stem,"),
        (
            'lr = {kind = "log", low = 0.1, high = 0.4}',
            '`lr` is searched, but `optimizer` = "muon" ignores it. Leave it out or set `optimizer`',
        ),
        ('base = "nothing"', '`base` must be "default" or "none"; got \'nothing\'.'),
        ('base = "none"', "the search space has nothing to search."),
        (
            'c2_kind = "dense"\nc3_kind = "dilated"\noutput_kind = "dense"',
            "num_depthwise_separable in 100 of 100 (by 1 or more). Give fewer layers in --require",
        ),
    ],
)
def test_a_file_that_cannot_be_searched_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=re.escape(message)):
        network_space(text, Limits(**LIMITS))


def test_each_refused_value_is_named_on_a_line() -> None:
    text = 'optimizer = "sgd"\nbatch_size = 0\nlr = {kind = "linear", low = -1.0, high = 0.0}'
    with pytest.raises(SpaceError) as caught:
        network_space(text, Limits(**LIMITS))
    assert [line.split(" cannot")[0] for line in str(caught.value).splitlines()] == [
        "`batch_size` = 0",
        "`lr` = -1.0",
        "`lr` = 0.0",
    ]


def test_limits_that_no_config_can_keep_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"no config within the limits .* num_params in 100 of 100"):
        network_space(None, Limits(**{**LIMITS, "max_params": 1000}))
    with pytest.raises(SpaceError, match=r"no config within the limits .* image_size in 100 of 100.* --image-size"):
        network_space(None, Limits(**{**LIMITS, "image_size": 4}))


def test_limits_that_few_configs_can_keep_are_accepted() -> None:
    network_space(None, Limits(**{**LIMITS, "max_params": 250_000}))
