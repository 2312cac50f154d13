"""The command line: the options of a search, and the commands on finished runs.

`python -m search.command_line > docs/options.md` writes the page of all options.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Literal, NoReturn, get_args, get_origin

from search.commands import COMMANDS, path, seconds
from search.errors import UserError
from search.options import Option
from search.run_options import RUN
from search.settings import OPTIONS, SearchSettings, kind_of


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
        kind = kind_of(name)
        if kind is bool:
            groups[option.group].add_argument(f"--{option.flag}", action=_switch(name), dest=name, help=text)
            continue
        # Text of every other kind is checked with the settings, so that all bad values are reported at once.
        reader = seconds if option.unit == "s" else int if kind is int else str
        groups[option.group].add_argument(
            f"--{option.flag}", type=reader, metavar=_metavar(name, option), dest=name, help=text
        )
    _add_starts(groups[RUN])
    return parser


def _add_starts(group: argparse._ArgumentGroup) -> None:
    """The options of no field: they say how a run starts."""
    group.add_argument(
        "--plan", action="store_true", help="forecast within a minute what the run would take here, and stop"
    )
    group.add_argument(
        "--config",
        type=path,
        metavar="FILE",
        help="take settings from a file that `init` wrote, or a run's run.toml; options on the command line win",
    )
    group.add_argument(
        "--resume",
        type=path,
        metavar="RUN_DIR",
        help="resume a run that was cut off; with --trials, extend it; with --dataset, say where its images are now; "
        "with --network, name its own network again; with --cluster, say where it goes on",
    )
    group.add_argument(
        "--trust-folder", action="store_true", help="with --resume: although other users can write to the run's folder"
    )


def options_page() -> str:
    """docs/options.md: every option of a search, with its default and its name in run.toml and Python."""
    lines = [
        "# Options",
        "",
        "Generated from `search/run_options.py`: `python -m search.command_line > docs/options.md`.",
        "",
        "*Fixed*: the value decides the scores, so a resumed run must have the same one.",
        "",
        "TIME has a unit, such as 90s, 45min or 2h. In files and in Python it is a number of seconds.",
        "",
        "Besides these options, `--config FILE` takes the fields from the table `[settings]` of a TOML file, such as "
        "`tune_main.py init` writes and each run keeps as run.toml; options on the command line win. `--plan` "
        "forecasts a run instead of starting it. `--resume RUN_DIR` resumes a run "
        "and takes only `--trials`, `--dataset` (where the same images are now), `--network` (an own network has to be "
        "named again, because a run's folder never says what code to run), `--notify`, `--cluster` (where the run goes "
        "on; `local` for this machine) and `--trust-folder` (on a disk where every file is writable by everyone).",
        "",
        'For completion by Tab in bash and zsh: `eval "$(.venv/bin/activate-global-python-argcomplete --dest=-)"`, '
        "for good in `~/.bashrc` or, after `compinit`, in `~/.zshrc`.",
    ]
    group = None
    for name, option in OPTIONS.items():
        if option.group != group:
            group = option.group
            lines += ["", f"## {group.capitalize()}", "", "| option | field | default | meaning |", "|---|---|---|---|"]
        flag = f"--{option.flag}" if kind_of(name) is bool else f"--{option.flag} {_metavar(name, option)}"
        note = " *Fixed.*" if option.is_fixed else ""
        cells = (f"`{flag}`", f"`{name}`", _default_text(name, option), f"{option.help}.{note}")
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _switch(name: str) -> str:
    """A flag without a value turns its field's default around."""
    return "store_false" if SearchSettings.model_fields[name].default else "store_true"


def _metavar(name: str, option: Option) -> str:
    kind = kind_of(name)
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    return option.metavar or ("TIME" if option.unit == "s" else "N")


def _default_text(name: str, option: Option) -> str:
    default = SearchSettings.model_fields[name].default
    if option.default_text is not None:
        return option.default_text
    if kind_of(name) is bool:
        return "no"
    return f"{default:g} s" if option.unit == "s" else str(default)


def _help_text(name: str, option: Option) -> str:
    return option.help if kind_of(name) is bool else f"{option.help} (default: {_default_text(name, option)})"


def command_parser(name: str) -> CommandLineParser:
    """The options of one of `COMMANDS`; UserError for an unknown name."""
    if name not in COMMANDS:
        raise UserError(f"unknown command `{name}`. Known: {', '.join(COMMANDS)}. A search needs no command.")
    text, arguments = COMMANDS[name]
    parser = CommandLineParser(prog=f"tune_main.py {name}", description=f"{text[0].upper()}{text[1:]}.")
    add_arguments(parser, arguments)
    return parser


def add_arguments(parser: argparse.ArgumentParser, arguments: Mapping[str, Mapping[str, Any]]) -> list[argparse.Action]:
    """Gives a parser the arguments of a command, as `COMMANDS` has them."""
    return [parser.add_argument(flag, **settings) for flag, settings in arguments.items()]


def _commands_text() -> str:
    lines = [f"  {name:<9}{text}" for name, (text, _arguments) in COMMANDS.items()]
    return "commands on folders and runs (COMMAND --help lists their options):\n" + "\n".join(lines)


def _version() -> str:
    try:
        return metadata.version("convladder")
    except metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.stdout.write(options_page())
