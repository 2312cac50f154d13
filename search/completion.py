"""What the shell offers after Tab, by argcomplete; docs/options.md says how to switch it on."""

from __future__ import annotations

import argparse
from typing import Any, Literal, get_args, get_origin

import argcomplete
from argcomplete.completers import FilesCompleter

from search.command_line import add_arguments, build_parser
from search.commands import COMMANDS
from search.run_options import DATA_SETS
from search.settings import OPTIONS, kind_of


def answer_shell() -> None:
    """Answers argcomplete's request, which is in the environment, and ends the process."""
    argcomplete.autocomplete(_parser(), always_complete_options=False)


def _parser() -> argparse.ArgumentParser:
    """All that may stand on the command line: the options of a search, or a command and its own."""
    parser = build_parser()
    # Read before the commands are added: their names are not options.
    for action in parser._actions:
        if action.dest in OPTIONS and get_origin(kind := kind_of(action.dest)) is Literal:
            action.choices = get_args(kind)
    commands = parser.add_subparsers()
    added = [
        add_arguments(commands.add_parser(name, help=text), arguments) for name, (text, arguments) in COMMANDS.items()
    ]
    for action in [*parser._actions, *(action for actions in added for action in actions)]:
        if action.dest == "dataset":
            action.completer = _complete_dataset  # type: ignore[attr-defined]
    return parser


def _complete_dataset(prefix: str, **_context: Any) -> list[str]:
    return [*(name for name in DATA_SETS if name.startswith(prefix)), *FilesCompleter()(prefix)]
