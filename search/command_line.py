"""What can be said on the command line: the options of a search, and the commands beside it."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from search.errors import UserError
from search.settings import SearchSettings

# How the settings are spelled on the command line, where that differs from the field's name.
FIELDS = {
    "trials": "num_trials",
    "epochs": "max_epochs",
    "time_budget": "time_budget_s",
    "trial_timeout": "trial_timeout_s",
    "name": "run_name",
    "no_baseline": "baseline",
}
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


class CommandLineParser(argparse.ArgumentParser):
    """Says in one line what is wrong: argparse's usage of all options would push that off the screen."""

    def error(self, message: str) -> NoReturn:
        """UserError with the message."""
        raise UserError(f"{message.rstrip('.')}. `{self.prog} --help` lists all options.")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The options given; UserError names the first word that is none, and the option that it is most like."""
        options, unknown = self.parse_known_args(words)
        if not unknown:
            return options
        name = unknown[0].partition("=")[0]
        if not name.startswith("-"):
            self.error(f"`{name}` belongs to no option")
        known = {option.lstrip("-"): option for option in self._option_string_actions}
        close = difflib.get_close_matches(name.lstrip("-"), known, n=1)
        if not close:
            self.error(f"unknown option `{name}`")
        raise UserError(f"unknown option `{name}`. Did you mean `{known[close[0]]}`?")


def build_parser() -> CommandLineParser:
    """The options, grouped, with defaults and units."""
    parser = CommandLineParser(
        prog="tune_main.py",
        description="Searches the best small convolutional network for a folder of images, retrains it and tests it.",
        epilog=_commands_text(),
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
            default = defaults.get(FIELDS.get(key, key))
            shown = text if "default" in text else f"{text} (default {default})"
            group.add_argument(f"--{name}", type=kind, metavar=metavar, help=shown.replace("%", "%%"))
    return parser


def command_parser(name: str) -> CommandLineParser:
    """The options of one of `COMMANDS`; UserError for a name that is none."""
    if name not in COMMANDS:
        raise UserError(f"unknown command `{name}`. Known: {', '.join(COMMANDS)}; a search starts without one.")
    text, arguments = COMMANDS[name]
    parser = CommandLineParser(prog=f"tune_main.py {name}", description=f"{text[0].upper()}{text[1:]}.")
    for flag, settings in arguments.items():
        parser.add_argument(flag, **settings)
    return parser


def _commands_text() -> str:
    lines = [f"  {name:<9}{text}" for name, (text, _arguments) in COMMANDS.items()]
    return "commands on finished runs, each with a --help of its own:\n" + "\n".join(lines)


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
        ("scheduler", str, "promotion|asha", "let weak trials wait at a rung until they are due, or stop them there"),
        ("grace-period", int, "N", "epochs that every trial gets before it may be stopped"),
        (
            "reduction-factor",
            int,
            "N",
            "one trial in N goes on past each rung (default: 6; with asha 3)",
        ),
        (
            "stop-when-done",
            bool,
            None,
            "end once the last half of all training won less than the noise of the validation",
        ),
        ("time-budget", seconds, "TIME", "time for everything, as 90s, 45min or 2h (default: no limit)"),
        ("space", Path, "FILE", "search space, a TOML file (default: the space that comes with the program)"),
        ("max-params", int, "N", "networks must have fewer parameters"),
        ("min-receptive-field", int, "N", "networks must have a larger receptive field, in pixels"),
        ("seed", int, "N", "seed of everything that is drawn"),
        ("audit", float, "FRACTION", "chance that a trial about to be stopped goes on, to see what the stops cost"),
    ],
    "the result": [
        (
            "retrain-top",
            int,
            "K",
            "retrain the K best configs on fresh seeds to choose the winner (default: 1 on the CPU, 3 on a GPU)",
        ),
        ("retrain-seeds", int, "S", "seeds of every retraining (default: 1 on the CPU, 3 on a GPU)"),
        ("no-baseline", bool, None, "do not train the seed config and the space's default to compare with"),
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
        ("tensorboard", bool, None, "write TensorBoard event files of the trials into the run's folder"),
        ("mlflow", str, "URI", "tell an MLflow server or database of the trials, as http://HOST:5000 (default: none)"),
        ("wandb", str, "PROJECT", "tell Weights & Biases of the trials (default: no)"),
        ("plan", bool, None, "say within a minute what the run would take here, and end without it"),
        ("resume", Path, "RUN_DIR", "go on with a run that was cut off; with --trials, extend it (default: a new run)"),
    ],
}

COMMANDS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "predict": (
        "class and probability of image files, by the network of a run",
        {
            "run_dir": {"type": Path, "metavar": "RUN_DIR", "help": "a run's folder"},
            "images": {"type": Path, "metavar": "IMAGE", "nargs": "+", "help": "an image file of any kind and size"},
        },
    ),
    "export": (
        "the network of a run as one file for other programs, checked against the original",
        {
            "run_dir": {"type": Path, "metavar": "RUN_DIR", "help": "a run's folder"},
            "--format": {"required": True, "choices": ("onnx", "torch-export"), "help": "kind of file"},
            "--out": {
                "type": Path,
                "metavar": "FILE",
                "help": "the file (default: model.onnx or .pt2 in RUN_DIR)",
            },
            "--images": {
                "type": Path,
                "metavar": "IMAGE",
                "nargs": "+",
                "default": (),
                "help": "image files to check with (default: those kept in RUN_DIR, else training images)",
            },
        },
    ),
    "compare": (
        "two runs side by side: spaces, budgets, winners, gains and costs",
        {
            "run_a": {"type": Path, "metavar": "RUN_A", "help": "a run's folder"},
            "run_b": {"type": Path, "metavar": "RUN_B", "help": "another's"},
            "--page": {"type": Path, "metavar": "FILE", "help": "write the comparison as an HTML page, too"},
        },
    ),
}


def _version() -> str:
    try:
        return metadata.version("convladder")
    except metadata.PackageNotFoundError:
        return "(not installed)"
