"""Every option is declared once; every bad value is refused with its name, its rule and the value."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from search.errors import UserError
from search.paths import from_here, sqlite_file
from search.run_options import DATA_SETS, Scheduler
from search.schedulers.rungs import reduction_factor_of, rungs_of
from search.settings import OPTIONS, SearchSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"run_name": "../up"},
            "`run_name` (--name) must be letters, digits, dots, dashes or underscores, at most 80;",
        ),
        ({"run_name": ""}, "at most 80; got ''."),
        ({"run_name": "a" * 81}, "at most 80; got"),
        ({"run_name": None}, "`run_name` (--name) must be text; got None."),
        ({"precision": "fp16"}, "`precision` must be 'auto', 'bf16' or 'fp32'; got 'fp16'."),
        ({"scheduler": "pbt"}, "`scheduler` must be 'promotion' or 'asha'; got 'pbt'."),
        ({"image_size": 7}, "`image_size` must be at least 8; got 7."),
        ({"search_examples": 0}, "`search_examples` must be at least 1; got 0."),
        ({"max_params": 0}, "`max_params` must be at least 1; got 0."),
        ({"min_receptive_field": -1}, "`min_receptive_field` must be at least 0; got -1."),
        ({"num_trials": 0}, "`num_trials` (--trials) must be at least 1; got 0."),
        ({"num_trials": 100_001}, "`num_trials` (--trials) must be at most 100000; got 100001."),
        ({"num_trials": 2.0}, "`num_trials` (--trials) must be a whole number; got 2.0."),
        ({"num_trials": True}, "`num_trials` (--trials) must be a whole number; got True."),
        ({"max_epochs": 0}, "`max_epochs` (--epochs) must be at least 1; got 0."),
        ({"grace_period": 0}, "`grace_period` must be at least 1; got 0."),
        ({"reduction_factor": 1}, "`reduction_factor` must be at least 2; got 1."),
        ({"time_budget_s": 0.5}, "`time_budget_s` (--time-budget) must be at least 1; got 0.5."),
        ({"time_budget_s": float("nan")}, "`time_budget_s` (--time-budget) must be a finite number; got nan."),
        ({"seed": -1}, "`seed` must be at least 0; got -1."),
        ({"gpus": -1}, "`gpus` must be at least 0; got -1."),
        ({"retrain_top": 0}, "`retrain_top` must be at least 1; got 0."),
        ({"retrain_seeds": 0}, "`retrain_seeds` must be at least 1; got 0."),
        ({"trials_per_gpu": 0}, "`trials_per_gpu` must be at least 1; got 0."),
        ({"cpus_per_trial": 0}, "`cpus_per_trial` must be at least 1; got 0."),
        ({"max_failures": -1}, "`max_failures` must be at least 0; got -1."),
        ({"strict": 1}, "`strict` must be true or false; got 1."),
        ({"results_dir": 3}, "`results_dir` must be a path; got 3."),
        ({"num_trails": 3}, "unknown key `num_trails`. Did you mean `num_trials`? Known keys: num_trials,"),
        ({"audit": 0.1}, "unknown key `audit`."),
        (
            {"grace_period": 9, "max_epochs": 8},
            "`grace_period` must be at most `max_epochs`; got grace_period 9 with max_epochs 8. Lower "
            "--grace-period or raise --epochs.",
        ),
    ],
)
def test_a_setting_out_of_bounds_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        SearchSettings(**{"run_name": "run", **values})


def test_all_bad_values_are_reported_at_once() -> None:
    with pytest.raises(UserError) as caught:
        SearchSettings(num_trials=0, seed=-1)
    assert str(caught.value).splitlines() == [
        "`num_trials` (--trials) must be at least 1; got 0.",
        "`seed` must be at least 0; got -1.",
        "`run_name` (--name) is missing.",
    ]


def test_a_changed_copy_is_checked_and_leaves_the_original() -> None:
    settings = SearchSettings(run_name="r", seed=7)
    assert settings.changed(num_trials=30) == SearchSettings(run_name="r", seed=7, num_trials=30)
    assert settings.num_trials == 20
    with pytest.raises(UserError, match=r"`num_trials` \(--trials\) must be at least 1; got 0"):
        settings.changed(num_trials=0)
    with pytest.raises(UserError, match="unknown key `trials`"):
        settings.changed(trials=3)


def test_settings_are_immutable_values() -> None:
    settings = SearchSettings.model_validate({"run_name": "r", "results_dir": "x"})
    assert settings.results_dir == Path("x").absolute()
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 1
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert len({settings, settings.changed(), settings.changed(seed=1)}) == 2


def test_paths_are_absolute_and_home_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    given: dict[str, Any] = {
        "results_dir": "~/runs",
        "data_dir": "data",
        "space": "~/space.toml",
        "dataset": "~/photos",
    }
    settings = SearchSettings(run_name="r", **given)
    assert [str(getattr(settings, name)) for name in given] == [
        "/home/me/runs",
        str(tmp_path / "data"),
        "/home/me/space.toml",
        "/home/me/photos",
    ]
    assert SearchSettings(run_name="r", dataset="photos").dataset == str(tmp_path / "photos")
    assert [SearchSettings(run_name="r", dataset=name).dataset for name in DATA_SETS] == list(DATA_SETS)
    assert from_here(tmp_path / "results" / "r") == Path("results/r")
    assert from_here(Path("/elsewhere/r")) == Path("/elsewhere/r")
    monkeypatch.chdir("/")
    assert settings.changed().run_dir == Path("/home/me/runs/r")


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("sqlite:///rel.db", "{here}/rel.db"),
        ("sqlite:////abs.db", "/abs.db"),
        ("sqlite:///~/runs.db", "/home/me/runs.db"),
        ("sqlite+pysqlite:///sub/rel.db", "{here}/sub/rel.db"),
        ("sqlite:///rel.db?timeout=30", "{here}/rel.db"),
        ("sqlite:///file:rel.db?uri=true", "{here}/rel.db"),
    ],
)
def test_sqlite_files_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, whole: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    settings = SearchSettings(run_name="r", storage=url, mlflow=url)
    assert settings.mlflow == settings.storage
    assert settings.storage is not None
    assert sqlite_file(settings.storage) == Path(whole.format(here=tmp_path))
    assert ("timeout=30" in settings.storage) == ("timeout" in url)


def test_other_urls_stay_as_they_are() -> None:
    for url in (
        "postgresql://me@host/name?sslmode=require",
        "postgresql://host:port/name",
        "mysql+pymysql://host/x",
        "http://host:5000",
        "nonsense",
    ):
        assert SearchSettings(run_name="r", storage=url).storage == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:se@cr/et@host/name", "postgresql+psycopg://me:***@host/name"),
        ("postgresql//:secret@host", "postgresql//:***@host"),
        (
            "postgresql://me@host/n?password=secret&sslmode=require",
            "postgresql://me@host/n?password=***&sslmode=require",
        ),
        ("postgresql://host/n?sslmode=require&sslPassword=secret", "sslmode=require&sslPassword=***"),
        ("http://me:secret@host:5000", "http://me:***@host:5000"),
    ],
)
def test_a_password_in_a_url_is_refused_and_not_shown(url: str, shown: str) -> None:
    with pytest.raises(UserError) as refused:
        SearchSettings(run_name="r", storage=url, mlflow=url)
    for line, field in zip(str(refused.value).splitlines(), ("storage", "mlflow"), strict=True):
        assert line.startswith(f"`{field}` must be without its password")
        assert shown in line
        assert "PGPASSWORD" in line
        assert not re.search("se@?cr/?et", line)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(
        UserError, match=re.escape(f"`storage` must be a database that stays, not one in memory; got '{url}")
    ):
        SearchSettings(run_name="r", storage=url)


@pytest.mark.parametrize("name", ["sharp #1", "what? yes", "100%20 {x}", "a&b;c='d'", "ü ✓"])
def test_the_url_of_a_record_survives_any_path(tmp_path: Path, name: str) -> None:
    settings = SearchSettings(run_name="r", results_dir=tmp_path / name)
    assert sqlite_file(settings.storage_url) == tmp_path / name / "r" / "study.db"


@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "caf\udce9"])
def test_a_path_that_cannot_be_kept_is_refused(path: str) -> None:
    with pytest.raises(UserError, match=r"`results_dir` (names a home that does not|must be UTF-8, as run.toml is)"):
        SearchSettings(run_name="r", results_dir=Path(path))


def test_every_option_is_declared_in_full() -> None:
    assert list(OPTIONS) == list(SearchSettings.model_fields)
    flags = [option.flag for option in OPTIONS.values()]
    assert len(set(flags)) == len(flags)
    for name, option in OPTIONS.items():
        default = SearchSettings.model_fields[name].default
        assert option.help
        assert not option.help.endswith(".")
        assert option.default_text or default is not None, f"{name}: help must say what None stands for"


@pytest.mark.parametrize("name", ["a", "Run-1.2_b", "7", "a" * 80])
def test_usual_names_are_allowed(name: str) -> None:
    assert SearchSettings(run_name=name).run_dir == Path("results").absolute() / name


def test_the_lowest_of_everything_is_allowed() -> None:
    settings = SearchSettings(
        run_name="r", image_size=8, num_trials=1, max_epochs=1, grace_period=1, reduction_factor=2, time_budget_s=1
    )
    assert settings.grace_period == settings.max_epochs


@pytest.mark.parametrize(("max_epochs", "grace_period"), [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_the_default_grace_period_is_no_longer_than_a_training(max_epochs: int, grace_period: int) -> None:
    settings = SearchSettings(run_name="r", max_epochs=max_epochs)
    assert settings.resolved().grace_period == grace_period
    assert rungs_of(settings) == rungs_of(settings.resolved())


def test_the_record_is_in_the_run_folder_unless_told_otherwise(tmp_path: Path) -> None:
    assert SearchSettings(run_name="r", results_dir=tmp_path).storage_url == f"sqlite:///{tmp_path}/r/study.db"
    assert SearchSettings(run_name="r", storage="postgresql://h/n").storage_url == "postgresql://h/n"


@pytest.mark.parametrize(("scheduler", "usual"), [("promotion", 6), ("asha", 3)])
def test_how_many_go_on_depends_on_the_scheduler(scheduler: Scheduler, usual: int) -> None:
    settings = SearchSettings(run_name="r", scheduler=scheduler)
    assert settings.resolved().reduction_factor == reduction_factor_of(settings) == usual
    asked = SearchSettings(run_name="r", scheduler=scheduler, reduction_factor=4)
    assert asked.resolved().reduction_factor == reduction_factor_of(asked) == 4
