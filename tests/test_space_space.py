"""The search space: kinds, files, and the message for everything that can be wrong in one."""

from __future__ import annotations

import random
import re

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.errors import SpaceError
from search.space.parameter import Parameter
from search.space.space import SearchSpace

EVERY_KIND = """
lr = {kind = "log", low = 1e-5, high = 1, default = 0.1}
dropout = {kind = "linear", low = 0.0, high = 0.3, step = 0.1, default = 0.0}
momentum = {kind = "linear", low = 0.8, high = 0.95}
width = {kind = "int", low = 16, high = 64, step = 16, default = 48}
splits = {kind = "log_int", low = 1, high = 8, default = 2}
activation = {kind = "choice", values = ["relu", "gelu"], default = "gelu"}
mixed = {kind = "choice", values = [0.0, 1e-07, 3, "a \\"quoted\\" text\\n", true], default = true}
flip = true
epochs = 25
tiny = 1e-300
"a key of words" = "\\u007f and \\\\"
"""


def test_each_kind_becomes_its_optuna_distribution() -> None:
    assert SearchSpace.from_toml(EVERY_KIND).distributions == {
        "lr": FloatDistribution(1e-5, 1.0, log=True),
        "dropout": FloatDistribution(0.0, 0.3, step=0.1),
        "momentum": FloatDistribution(0.8, 0.95),
        "width": IntDistribution(16, 64, step=16),
        "splits": IntDistribution(1, 8, log=True),
        "activation": CategoricalDistribution(["relu", "gelu"]),
        "mixed": CategoricalDistribution([0.0, 1e-07, 3, 'a "quoted" text\n', True]),
    }


def test_a_space_survives_its_file() -> None:
    space = SearchSpace.from_toml(EVERY_KIND)
    again = SearchSpace.from_toml(space.to_toml())
    assert again == space
    assert again.to_toml() == space.to_toml()


def test_a_table_of_its_own_reads_like_an_inline_one() -> None:
    inline = SearchSpace.from_toml('lr = {kind = "log", low = 0.01, high = 1.0}')
    assert SearchSpace.from_toml('[lr]\nkind = "log"\nlow = 0.01\nhigh = 1.0') == inline


def test_numbers_of_a_float_range_are_floats() -> None:
    lr = SearchSpace.from_toml('lr = {kind = "linear", low = 0, high = 2, default = 1}').parameters["lr"]
    assert [type(value) for value in (lr.low, lr.high, lr.default)] == [float] * 3


def test_random_draws_are_what_optuna_would_draw() -> None:
    space = SearchSpace.from_toml(EVERY_KIND)
    rng = random.Random(5)
    drawn = [space.draw(rng) for _ in range(400)]
    for config in drawn:
        for key, distribution in space.distributions.items():
            assert distribution._contains(distribution.to_internal_repr(config[key])), (key, config[key])
            assert space.parameters[key].allows(config[key])
        assert config["flip"] is True
    assert {config["width"] for config in drawn} == {16, 32, 48, 64}
    assert {config["splits"] for config in drawn} == set(range(1, 9))
    assert {config["mixed"] for config in drawn} == {0.0, 1e-07, 3, 'a "quoted" text\n', True}
    assert 0.4 < sum(config["lr"] < 10**-2.5 for config in drawn) / len(drawn) < 0.6  # the middle of the logarithm
    assert space.draw(random.Random(5)) == drawn[0]


def test_defaults_fill_a_config_only_if_all_are_there() -> None:
    space = SearchSpace.from_toml(EVERY_KIND)
    assert space.default_config() is None  # momentum has none
    space = SearchSpace({key: space.parameters[key] for key in ("lr", "mixed")}, {"flip": True})
    assert space.default_config() == {"lr": 0.1, "mixed": True, "flip": True}


def test_optuna_takes_the_default_config() -> None:
    space = SearchSpace.from_toml('lr = {kind = "log", low = 0.1, high = 1, default = 0.3}\nn = 3')
    study = optuna.create_study()
    study.enqueue_trial({"lr": 0.3})
    trial = study.ask(space.distributions)
    assert space.complete(trial.params) == {"lr": 0.3, "n": 3}


def test_the_constraint_is_asked_with_the_whole_config() -> None:
    space = SearchSpace.from_toml(
        'a = {kind = "int", low = 1, high = 9}\nb = 5',
        constraint=lambda config: {"sum": config["a"] + config["b"] - 10.0},
    )
    assert space.violations(space.complete({"a": 7})) == {"sum": 2.0}
    assert SearchSpace(space.parameters).violations({"a": 7}) == {}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('{kind = "log", low = 1.0, high = 0.1}', "low must be below high; got low = 1.0, high = 0.1. Swap them."),
        ('{kind = "int", low = 4, high = 4}', "low must be below high; got low = 4, high = 4. Write the value itself"),
        ('{kind = "log", low = 0.0, high = 1.0}', "kind log needs low > 0; got low = 0.0. Raise it or use kind linear"),
        ('{kind = "log_int", low = 0, high = 8}', "kind log_int needs low > 0; got low = 0. Raise it or use kind int"),
        ('{kind = "log", low = 0.1}', "`high` is missing. Kind log needs `low` and `high`."),
        ('{kind = "int", high = 3}', "`low` is missing. Kind int needs `low` and `high`."),
        ('{kind = "linear", low = "0", high = 1.0}', "`low` must be a finite number; got '0'."),
        ('{kind = "linear", low = 0.0, high = inf}', "`high` must be a finite number; got inf."),
        ('{kind = "linear", low = nan, high = 1.0}', "`low` must be a finite number; got nan."),
        ('{kind = "int", low = 1.0, high = 3}', "`low` must be a whole number; got 1.0."),
        ('{kind = "int", low = false, high = 3}', "`low` must be a whole number; got False."),
        ('{kind = "int", low = 1, high = 8, step = 2}', "`step` must lead from low = 1 to high = 8 exactly; got 2."),
        ('{kind = "int", low = 1, high = 8, step = 0}', "`step` must lead from low = 1 to high = 8 exactly; got 0."),
        ('{kind = "log", low = 0.1, high = 1.0, default = 2.0}', "default = 2.0 cannot be drawn from 0.1..1.0."),
        (
            '{kind = "int", low = 2, high = 8, step = 2, default = 5}',
            "default = 5 cannot be drawn from 2..8 in steps of 2",
        ),
        ('{kind = "int", low = 2, high = 8, default = 5.0}', "default = 5.0 cannot be drawn from 2..8."),
        ('{kind = "choice", values = ["a", "b"], default = "c"}', "default = 'c' cannot be drawn from 'a', 'b'."),
        ('{kind = "choice", values = [0, 1], default = true}', "default = True cannot be drawn from 0, 1."),
        ('{kind = "choice"}', "a choice needs `values`, a list with at least one value."),
        ('{kind = "choice", values = []}', "a choice needs `values`, a list with at least one value."),
        ('{kind = "choice", values = "relu"}', "`values` must be a list; got 'relu'."),
        ('{kind = "choice", values = ["a", "b", "a"]}', "`values` has 'a' twice"),
        ('{kind = "choice", values = [1, true]}', "`values` has True twice"),
        ('{kind = "choice", values = [1, [2]]}', "`values` must be texts, booleans or finite numbers; got [2]."),
        ('{kind = "logg", low = 1, high = 2}', "unknown kind 'logg'. Known kinds: log, linear, int, log_int, choice."),
        (
            '{kind = ["log"], low = 1, high = 2}',
            "unknown kind ['log']. Known kinds: log, linear, int, log_int, choice.",
        ),
        (
            "{low = 1, high = 2}",
            "a table needs `kind`, one of log, linear, int, log_int, choice; got the fields low, high.",
        ),
        ('{kind = "log", low = 1, hihg = 2}', "unknown field `hihg` of kind log. Known fields: low, high, default."),
        (
            '{kind = "log", low = 1, high = 2, step = 1}',
            "unknown field `step` of kind log. Known fields: low, high, default.",
        ),
        ("[0.1, 0.2]", "must be one finite value or a table"),
        ("nan", "must be one finite value or a table"),
        ("1999-12-31", "must be one finite value or a table"),
    ],
)
def test_each_mistake_has_one_line_with_its_key(entry: str, message: str) -> None:
    with pytest.raises(SpaceError, match=f"^`lr`: .*{re.escape(message)}") as caught:
        SearchSpace.from_toml(f"lr = {entry}", known_keys=("lr",))
    assert "\n" not in str(caught.value)


def test_an_unknown_key_names_its_neighbour_and_all_keys() -> None:
    text = 'weigth_decay = {kind = "log", low = 0.1, high = 1.0}'
    message = "unknown key `weigth_decay`. Did you mean `weight_decay`? Known keys: lr, weight_decay."
    with pytest.raises(SpaceError, match=re.escape(message)):
        SearchSpace.from_toml(text, known_keys=("lr", "weight_decay"))


def test_all_problems_of_a_file_come_at_once() -> None:
    text = 'lr = {kind = "log", low = 0.0, high = 1.0}\nfilp = true\nwidth = {kind = "int", low = 9, high = 1}'
    with pytest.raises(SpaceError) as caught:
        SearchSpace.from_toml(text, known_keys=("lr", "flip", "width"))
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "`lr`",
        "unknown key `filp`. Did you mean `flip`? Known keys",
        "`width`",
    ]


def test_a_file_that_is_no_toml_names_the_line() -> None:
    with pytest.raises(SpaceError, match=r"the search space is not valid TOML: .*line 2"):
        SearchSpace.from_toml("flip = true\nlr = {kind =\n")


@pytest.mark.parametrize("text", ["", "flip = true"])
def test_a_space_with_nothing_to_search_is_refused(text: str) -> None:
    with pytest.raises(SpaceError, match="the search space has nothing to search"):
        SearchSpace.from_toml(text)


def test_a_parameter_made_in_python_is_checked_too() -> None:
    with pytest.raises(SpaceError, match=r"unknown kind 'uniform'. Known kinds: log, linear"):
        Parameter(kind="uniform", low=0, high=1)
    with pytest.raises(SpaceError, match=r"low must be below high; got low = 2, high = 1"):
        Parameter(kind="int", low=2, high=1)
