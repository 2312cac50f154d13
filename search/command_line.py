"""The command line: the options of a search, and the commands on finished runs.

`python -m search.command_line > docs/options.md` writes the page of all options.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NoReturn, get_args, get_origin

from search.errors import UserError
from search.options import Option
from search.settings import OPTIONS, RUN, SearchSettings

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


class CommandLineParser(argparse.ArgumentParser):
    """Reports errors in one line; argparse would print the usage of all options as well."""

    def error(self, message: str) -> NoReturn:
        """Raises UserError with the message."""
        raise UserError(f"{message.rstrip('.')}. `{self.prog} --help` lists all options.")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The given options. UserError names the first unknown word and the option nearest to it."""
        options, unknown = self.parse_known_args(words)
        if not unknown:
            return options
        name = unknown[0].partition("=")[0]
        if not name.startswith("-"):
            self.error(f"`{name}` does not belong to any option")
        known = {option.lstrip("-"): option for option in self._option_string_actions}
        close = difflib.get_close_matches(name.lstrip("-"), known, n=1)
        if not close:
            self.error(f"unknown option `{name}`")
        raise UserError(f"unknown option `{name}`. Did you mean `{known[close[0]]}`?")


def build_parser() -> CommandLineParser:
    """The options of a search, grouped. The namespace has the given ones only, by field name, and those of no field."""
    parser = CommandLineParser(
        prog="tune_main.py",
        description="Searches the best small convolutional network for a folder of images, retrains it and tests it.",
        epilog=_commands_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"convladder {_version()}")
    groups = {title: parser.add_argument_group(title) for title in dict.fromkeys(one.group for one in OPTIONS.values())}
    for name, option in OPTIONS.items():
        text = _help_text(name, option).replace("%", "%%")
        kind = _kind(name)
        if kind is bool:
            groups[option.group].add_argument(f"--{option.flag}", action=_switch(name), dest=name, help=text)
            continue
        # Text of every other kind is checked with the settings, so that all bad values are reported at once.
        reader = seconds if option.unit == "s" else int if kind is int else str
        groups[option.group].add_argument(
            f"--{option.flag}", type=reader, metavar=_metavar(name, option), dest=name, help=text
        )
    groups[RUN].add_argument(
        "--plan", action="store_true", help="forecast within a minute what the run would take here, and stop"
    )
    groups[RUN].add_argument(
        "--resume",
        type=path,
        metavar="RUN_DIR",
        help="resume a run that was cut off; with --trials, extend it; with --dataset, say where its images are now",
    )
    groups[RUN].add_argument(
        "--trust-folder", action="store_true", help="with --resume: although other users can write to the run's folder"
    )
    return parser


def options_page() -> str:
    """docs/options.md: every option of a search, with its default and its name in run.toml and Python."""
    lines = [
        "# Options",
        "",
        "Generated from `search/settings.py`: `python -m search.command_line > docs/options.md`.",
        "",
        "*Fixed*: the value decides the scores, so a resumed run must have the same one.",
        "",
        "Besides these options, `--plan` forecasts a run instead of starting it, and `--resume RUN_DIR` resumes a run "
        "and takes only `--trials`, `--dataset` (where the same images are now) and `--trust-folder` (on a disk where "
        "every file is writable by everyone).",
    ]
    group = None
    for name, option in OPTIONS.items():
        if option.group != group:
            group = option.group
            lines += ["", f"## {group.capitalize()}", "", "| option | field | default | meaning |", "|---|---|---|---|"]
        flag = f"--{option.flag}" if _kind(name) is bool else f"--{option.flag} {_metavar(name, option)}"
        note = " *Fixed.*" if option.is_fixed else ""
        cells = (f"`{flag}`", f"`{name}`", _default_text(name, option), f"{option.help}.{note}")
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _kind(name: str) -> Any:
    """The type of a field, None left out."""
    annotation = SearchSettings.model_fields[name].annotation
    parts = get_args(annotation)
    return parts[0] if NoneType in parts else annotation


def _switch(name: str) -> str:
    """A flag without a value turns its field's default around."""
    return "store_false" if SearchSettings.model_fields[name].default else "store_true"


def _metavar(name: str, option: Option) -> str:
    kind = _kind(name)
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    return option.metavar or ("TIME" if option.unit == "s" else "N")


def _default_text(name: str, option: Option) -> str:
    default = SearchSettings.model_fields[name].default
    if option.default_text is not None:
        return option.default_text
    if _kind(name) is bool:
        return "no"
    return f"{default:g} s" if option.unit == "s" else str(default)


def _help_text(name: str, option: Option) -> str:
    return option.help if _kind(name) is bool else f"{option.help} (default: {_default_text(name, option)})"


def command_parser(name: str) -> CommandLineParser:
    """The options of one of `COMMANDS`; UserError for an unknown name."""
    if name not in COMMANDS:
        raise UserError(f"unknown command `{name}`. Known: {', '.join(COMMANDS)}. A search needs no command.")
    text, arguments = COMMANDS[name]
    parser = CommandLineParser(prog=f"tune_main.py {name}", description=f"{text[0].upper()}{text[1:]}.")
    for flag, settings in arguments.items():
        parser.add_argument(flag, **settings)
    return parser


def _commands_text() -> str:
    lines = [f"  {name:<9}{text}" for name, (text, _arguments) in COMMANDS.items()]
    return "commands on folders and runs (COMMAND --help lists their options):\n" + "\n".join(lines)


def path(text: str) -> Path:
    """A path; `~` means home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"names a home that does not exist; got {text!r}") from None


def seconds(text: str) -> float:
    """Seconds from text such as 90s, 45min, 2h or a plain number of seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or (match[2] or "s") not in _SECONDS:
        raise argparse.ArgumentTypeError(f"must be a time such as 90s, 45min or 2h; got {text!r}")
    return float(match[1]) * _SECONDS[match[2] or "s"]


COMMANDS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "predict": (
        "classify image files with the network of a run",
        {
            "run_dir": {"type": path, "metavar": "RUN_DIR", "help": "a run's folder"},
            "images": {"type": path, "metavar": "IMAGE", "nargs": "+", "help": "an image file, any format and size"},
        },
    ),
    "inspect": (
        "say what a run would read from a folder of images; exit code 2 if a run would refuse it",
        {
            "dataset": {"metavar": "WHAT", "help": "as --dataset of a search"},
            "--data-dir": {"default": Path("data"), "type": path, "metavar": "DIR", "help": "as of a search"},
            "--image-size": {"type": int, "metavar": "N", "help": "as of a search"},
            "--seed": {"type": int, "default": 0, "metavar": "N", "help": "as of a search"},
            "--skip-unreadable": {"action": "store_true", "help": "leave out images that cannot be read"},
        },
    ),
    "export": (
        "write the network of a run as one file for other programs, and check it",
        {
            "run_dir": {"type": path, "metavar": "RUN_DIR", "help": "a run's folder"},
            "--format": {"required": True, "choices": ("onnx", "torch-export"), "help": "file format"},
            "--out": {
                "type": path,
                "metavar": "FILE",
                "help": "file or folder to write to (default: model.onnx or model.pt2 in RUN_DIR)",
            },
            "--images": {
                "type": path,
                "metavar": "IMAGE",
                "nargs": "+",
                "default": (),
                "help": "image files for the check (default: the images kept in RUN_DIR, else training images)",
            },
        },
    ),
    "compare": (
        "compare two runs: spaces, budgets, winners, gains and costs",
        {
            "run_a": {"type": path, "metavar": "RUN_A", "help": "a run's folder"},
            "run_b": {"type": path, "metavar": "RUN_B", "help": "the other run's folder"},
            "--page": {"type": path, "metavar": "FILE", "help": "also write the comparison as an HTML page"},
        },
    ),
}


def _version() -> str:
    try:
        return metadata.version("convladder")
    except metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.stdout.write(options_page())
