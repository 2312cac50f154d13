"""The command line: arguments -> SearchSettings -> search.run_search -> words on the screen.

python tune_main.py --gpus 1
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from search.settings import SearchSettings, UserError
from search.stopping import RunFailed, RunInterrupted, StopRequest
from search.world import new_run_problems, resume_problems

if TYPE_CHECKING:
    from search.results import Run

# How the settings are spelled on the command line, where that differs from the field's name.
_FIELDS = {
    "trials": "num_trials",
    "epochs": "max_epochs",
    "time_budget": "time_budget_s",
    "trial_timeout": "trial_timeout_s",
    "name": "run_name",
    "no_baseline": "baseline",
}
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the process's exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except ValueError as error:
        if not _is_user_error(error):
            raise
        for line in str(error).splitlines():
            print(f"tune_main.py: error: {line}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    """The options, grouped, with defaults and units."""
    parser = argparse.ArgumentParser(
        prog="tune_main.py",
        description="Searches the best small convolutional network for a folder of images, retrains it and tests it.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"convladder {_version()}")
    defaults = {field.name: field.default for field in SearchSettings.__dataclass_fields__.values()}
    for title, options in _OPTIONS.items():
        group = parser.add_argument_group(title)
        for name, kind, metavar, text in options:
            key = name.replace("-", "_")
            if kind is bool:
                group.add_argument(f"--{name}", action="store_true", default=None, help=text)
                continue
            default = defaults.get(_FIELDS.get(key, key))
            shown = text if "default" in text else f"{text} (default {default})"
            group.add_argument(f"--{name}", type=kind, metavar=metavar, help=shown.replace("%", "%%"))
    return parser


def seconds(text: str) -> float:
    """Seconds from text such as 90s, 45min, 2h or a plain number of seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or (match[2] or "s") not in _SECONDS:
        raise argparse.ArgumentTypeError(f"must be a time such as 90s, 45min or 2h; got {text!r}")
    return float(match[1]) * _SECONDS[match[2] or "s"]


_OPTIONS: dict[str, list[tuple[str, Callable[[str], object] | type, str | None, str]]] = {
    "the search": [
        ("trials", int, "N", "trials to train; configs over the limits do not count"),
        ("epochs", int, "N", "length of a full training, in trials and in the retrain, in epochs"),
        ("grace-period", int, "N", "epochs that every trial gets before it may be stopped"),
        ("reduction-factor", int, "N", "one trial in N goes on past each rung"),
        ("time-budget", seconds, "TIME", "time for everything, as 90s, 45min or 2h (default: no limit)"),
        ("space", Path, "FILE", "search space, a TOML file (default: the space that comes with the program)"),
        ("max-params", int, "N", "networks must have fewer parameters"),
        ("min-receptive-field", int, "N", "networks must have a larger receptive field, in pixels"),
        ("seed", int, "N", "seed of everything that is drawn"),
        ("no-baseline", bool, None, "do not train the seed config to compare with"),
    ],
    "the images": [
        (
            "dataset",
            str,
            "WHAT",
            "cifar10, digits, auto (CIFAR-10 if it can be had, else digits), or a folder of images or image parquet",
        ),
        ("data-dir", Path, "DIR", "where downloaded data sets are kept"),
        ("image-size", int, "N", "resize images to N x N pixels (default: the size they have)"),
        ("search-examples", int, "N", "training images that each trial uses; the retrain uses all (default: all)"),
    ],
    "the machine": [
        ("gpus", int, "N", "GPUs to spread trials over; 0 trains on CPU cores"),
        ("trials-per-gpu", int, "N", "trials side by side on each GPU (default: as many as are measured to pay)"),
        ("cpus-per-trial", int, "N", "CPU cores of each trial (default: as few as are measured to pay)"),
        ("precision", str, "auto|bf16|fp32", "arithmetic; auto measures what is faster here"),
        ("max-failures", int, "N", "how often a trial whose worker process died starts again"),
        ("trial-timeout", seconds, "TIME", "a trial that ends no epoch for so long is killed (default 1h)"),
        ("strict", bool, None, "fail if a GPU was asked for and none is there"),
    ],
    "the run": [
        ("name", str, "NAME", "name of the run's folder (default: the time of the start)"),
        ("results-dir", Path, "DIR", "where run folders are made"),
        ("storage", str, "URL", "SQLAlchemy URL of the run's record (default: SQLite in the run's folder)"),
        ("resume", Path, "RUN_DIR", "go on with a run that was cut off; with --trials, extend it (default: a new run)"),
    ],
}


def _run(options: argparse.Namespace) -> int:
    given = {key: value for key, value in vars(options).items() if value is not None}
    resumed: Path | None = given.pop("resume", None)
    if "no_baseline" in given:
        given["no_baseline"] = False
    values = {_FIELDS.get(key, key): value for key, value in given.items()}
    if resumed is not None:
        refused = [f"--{key.replace('_', '-')}" for key in given if key != "trials"]
        if refused:
            raise UserError(f"--resume takes its settings from the run; leave out {', '.join(refused)}.")
        run_dir, settings = resumed, None
    else:
        settings = SearchSettings(**{"run_name": time.strftime("%Y-%m-%d_%H%M%S"), **values})
        run_dir = settings.run_dir
    problems = resume_problems(run_dir) if settings is None else new_run_problems(settings)
    if problems:
        raise UserError("\n".join(problems))
    try:
        with StopRequest().installed():
            run = _search(run_dir, settings, values.get("num_trials"))
    except RunInterrupted as interruption:
        print(f"\nstopped; {_what_is_kept(run_dir)}")
        return interruption.exit_code
    except RunFailed as failure:
        print(f"tune_main.py: error: {failure}\n{_what_is_kept(run_dir)}", file=sys.stderr)
        return 1
    print((run.run_dir / "summary.md").read_text())
    print(f"everything is in {run.run_dir}")
    return 0


def _search(run_dir: Path, settings: SearchSettings | None, num_trials: int | None) -> Run:
    """A new run with `settings`, or the run in the folder taken up again."""
    # Loaded only now: torch and pandas take seconds, and a wrong flag is told at once.
    from search.run import resume_search, run_search

    return resume_search(run_dir, num_trials=num_trials) if settings is None else run_search(settings)


def _what_is_kept(run_dir: Path) -> str:
    if not (run_dir / "run.toml").exists():
        return "the run had not begun, so nothing is left of it."
    return f"everything so far is kept. Go on with: python tune_main.py --resume {shlex.quote(str(run_dir))}"


def _is_user_error(error: ValueError) -> bool:
    if isinstance(error, UserError):
        return True
    from model.data import DataError
    from search.parameter import SpaceError

    return isinstance(error, (DataError, SpaceError))


def _version() -> str:
    try:
        return metadata.version("convladder")
    except metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
