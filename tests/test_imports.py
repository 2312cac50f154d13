"""The arrows between the rooms: tune_main -> search -> model, and who alone may touch what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
FOLDERS = ("model", "search", "benchmarks")
SOURCES = [REPOSITORY / "tune_main.py", *(path for name in FOLDERS for path in (REPOSITORY / name).rglob("*.py"))]
TREES = {str(path.relative_to(REPOSITORY)): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCES)}
# The trackers hear of the trials through Ray's own callbacks, which the rest of Ray need not know.
RAY_ROOMS = {f"search/tune/{name}.py" for name in ("searcher", "trackers", "trial_scheduler", "tuner")}
PRINTING_ROOMS = ("search/display/", "tune_main.py", "benchmarks/")


def imported(name: str) -> Iterator[str]:
    """Every module and name that a file imports, wherever in it: `a.b` and, for `from a.b import c`, `a.b.c` too."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages(name: str) -> set[str]:
    return {module.partition(".")[0] for module in imported(name)}


def room(*names: str) -> list[str]:
    return [path for path in TREES if path.startswith(names)]


def test_all_sources_are_seen() -> None:
    assert {"model/network.py", "search/run.py", "tune_main.py"} <= set(TREES)


@pytest.mark.parametrize("name", room("model/"))
def test_the_core_knows_no_search(name: str) -> None:
    assert packages(name).isdisjoint({"ray", "optuna", "pandas", "search", "tune_main", "benchmarks"})


@pytest.mark.parametrize("name", room("search/"))
def test_the_search_knows_no_command_line(name: str) -> None:
    assert packages(name).isdisjoint({"tune_main", "benchmarks"})
    assert ("argparse" in packages(name)) == (name == "search/command_line.py")


@pytest.mark.parametrize("name", room("model/", "search/", "tune_main"))
def test_ray_is_in_three_rooms(name: str) -> None:
    assert ("ray" in packages(name)) == (name in RAY_ROOMS)


@pytest.mark.parametrize("name", room("search/", "tune_main", "benchmarks/"))
def test_only_the_retrain_can_open_the_test_images(name: str) -> None:
    reads_test = any(module.endswith(".load_test_data") for module in imported(name))
    assert reads_test == (name == "search/retrain/retrainer.py")
    attributes = {node.attr for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute)}
    assert "load_test_data" not in attributes


@pytest.mark.parametrize("name", room("model/", "search/"))
def test_one_room_prints(name: str) -> None:
    calls = [node.func for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)]
    prints = any(isinstance(function, ast.Name) and function.id == "print" for function in calls)
    assert not prints or name.startswith(PRINTING_ROOMS)


@pytest.mark.parametrize("name", room("model/", "search/", "tune_main"))
def test_nothing_is_unpickled_but_the_data_set_that_comes_pickled(name: str) -> None:
    unpickles = not packages(name).isdisjoint({"pickle", "cloudpickle", "joblib", "shelve", "marshal"})
    assert unpickles == (name == "model/sources_cifar10.py")


@pytest.mark.parametrize("name", room("model/", "search/", "tune_main"))
def test_no_library_unpickles_for_us(name: str) -> None:
    attributes = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute)]
    spelled = {f"{node.value.id}.{node.attr}" for node in attributes if isinstance(node.value, ast.Name)}
    assert spelled.isdisjoint({"torch.load", "torch.save", "pd.read_pickle"})
    keywords = {node.arg for node in ast.walk(TREES[name]) if isinstance(node, ast.keyword)}
    assert "allow_pickle" not in keywords
