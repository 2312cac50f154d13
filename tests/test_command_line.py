"""What the command line reads, and how it reports a slip, before any slow import."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import tune_main
from search.command_line import build_parser, command_parser, options_page
from search.commands import COMMANDS, seconds
from search.errors import UserError
from search.settings import OPTIONS, SearchSettings

REPOSITORY = Path(__file__).parent.parent
SLOW = {"torch", "ray", "optuna", "pandas", "numpy", "sqlalchemy"}


def settings_of(*words: str) -> SearchSettings:
    return SearchSettings(**{"run_name": "r", **vars(build_parser().parse(words))})


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_no_option_gives_the_defaults() -> None:
    assert settings_of() == SearchSettings(run_name="r")


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("--trials", "3"), "num_trials", 3),
        (("--name=x",), "run_name", "x"),
        (("--time-budget", "2h"), "time_budget_s", 7200.0),
        (("--trial-timeout", "90s"), "trial_timeout_s", 90.0),
        (("--space", "a/b.toml"), "space", Path("a/b.toml")),
        (("--data-dir", "a"), "data_dir", Path("a")),
        (("--scheduler", "asha"), "scheduler", "asha"),
        (("--reduction-factor", "4"), "reduction_factor", 4),
        (("--no-baseline",), "baseline", False),
        (("--strict",), "strict", True),
        (("--mlflow", "http://h:5000"), "mlflow", "http://h:5000"),
    ],
)
def test_an_option_sets_its_field(words: tuple[str, ...], field: str, value: object) -> None:
    assert settings_of(*words) == SearchSettings(run_name="r").changed(**{field: value})


@pytest.mark.parametrize(("text", "expected"), [("90s", 90.0), ("1.5 min", 90.0), ("45min", 2700.0), ("1.5h", 5400.0)])
def test_time_is_read_in_its_unit(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--trails", "3"), "unknown option `--trails`. Did you mean `--trials`?"),
        (("--seeed=3",), "unknown option `--seeed`. Did you mean `--seed`?"),
        (("--frobnicate",), "unknown option `--frobnicate`. `tune_main.py --help` lists all options."),
        (("--stop-when-done",), "unknown option `--stop-when-done`."),
        (("--trials", "3", "7"), "`7` does not belong to any option. `tune_main.py --help` lists all options."),
        (("--trials", "x"), "argument --trials: invalid int value: 'x'. `tune_main.py --help` lists all options."),
        (("--time-budget", "5"), "argument --time-budget: must have a unit, such as 5s or 5min; got '5'. "),
        (
            ("control", "r", "--time-budget", "2.5"),
            "argument --time-budget: must have a unit, such as 2.5s or 2.5min; ",
        ),
        (("--time-budget", "soon"), "argument --time-budget: must be a time such as 90s, 45min or 2h; got 'soon'. "),
        (("export", "r", "--formt", "onnx"), "the following arguments are required: --format. "),
        (("predict", "r", "a.png", "--pag", "x"), "unknown option `--pag`. `tune_main.py predict --help` lists all"),
        (
            ("tune",),
            "unknown command `tune`. Known: init, predict, inspect, export, list, compare, ",
        ),
    ],
)
def test_a_slip_is_reported_in_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert tune_main.main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"tune_main.py: error: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--max-upload-gb", "inf"),
        ("--max-upload-gb", "nan"),
        ("--max-upload-gb", "0"),
        ("--max-upload-gb", "much"),
        ("--url", "lab.example/convladder"),
        ("--url", "https:///convladder"),
        ("--url", "http://[lab"),
    ],
)
def test_a_service_is_not_started_with_nonsense(option: str, value: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"argument {option}: must be")) as caught:
        command_parser("serve").parse([option, value])
    assert repr(value) in str(caught.value)


def test_resume_takes_only_trials(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--resume", str(tmp_path), "--trials", "9", "--seed", "3", "--no-baseline", "--plan"]
    assert tune_main.main(words) == 2
    assert capsys.readouterr().err.endswith(" and --trust-folder. Leave out --seed, --no-baseline, --plan.\n")


def children_s() -> float:
    """Computing time of the processes that have ended, which other programs do not lengthen as they do the wait."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_help_has_every_option_with_its_default_and_is_quick() -> None:
    run_python("import tune_main")  # writes the bytecode
    before_s = children_s()
    done = subprocess.run(
        [sys.executable, "tune_main.py", "--help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert children_s() - before_s < 2, "0.2 s"
    words = " ".join(done.stdout.split())
    for option in OPTIONS.values():
        assert f"--{option.flag}" in words
        assert option.help in words
    assert "(default: 20)" in words
    assert "(default: 1 to 5, as many as cost about what the search costs)" in words
    assert all(f" {name} " in words for name in COMMANDS)


@pytest.mark.parametrize("words", [["--help"], ["--trails", "3"], ["--trials", "0"], ["predict", "--help"]])
def test_nothing_slow_is_imported_to_answer(words: list[str]) -> None:
    code = f"""
import sys, tune_main
try:
    tune_main.main({words!r})
finally:
    print("slow:", sorted({SLOW!r} & set(sys.modules)))
"""
    assert run_python(code).stdout.endswith("slow: []\n")


def test_the_page_of_options_is_up_to_date() -> None:
    page = (REPOSITORY / "docs" / "options.md").read_text()
    assert page == options_page(), "run: python -m search.command_line > docs/options.md"
    for name, option in OPTIONS.items():
        assert f"`--{option.flag}" in page
        assert f"`{name}`" in page


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command_parser(name).parse(["--help"])
    assert f"tune_main.py {name}" in capsys.readouterr().out
