"""The file of --config: the settings of a run in its [settings] table. A run's own run.toml is such a file."""

from __future__ import annotations

import contextlib
import textwrap
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import tomli_w
from pydantic import ValidationError, create_model

from search.errors import UserError
from search.files import read_text, write_atomically
from search.options import Option, problem_lines
from search.paths import is_own_code, whole_path
from search.run_options import DATA_SETS
from search.settings import OPTIONS, SearchSettings, kind_of

_TABLE = "settings"
_HEAD = """\
# The settings of a run. Start it with: python tune_main.py --config {name}
# Options on the command line win over this file. Relative paths start at this file's folder.
# A line such as #seed = 0 shows a default, or an example where nothing is set. Remove its # to change the value.

[settings]
"""


def read_settings_file(path: Path, *, overridden: Collection[str] = ()) -> dict[str, Any]:
    """The settings that a file gives, by field name; paths absolute, relative ones from the file's folder.

    `overridden`: fields that are given elsewhere and not checked here. UserError has a line for each bad value. From
    the run.toml of a run, its name is left out and its own copy of the search space is taken.
    """
    table = _read_table(path)
    fields = SearchSettings.model_fields
    given = {name: value for name, value in table.pop(_TABLE).items() if name not in overridden}
    if "record_version" in table:
        given.pop("run_name", None)
        given |= {"space": "space.toml"} if "space" in given else {}
        if is_own_code(given.get("network")):
            raise UserError(
                f"--config {path}: that run has its own network, whose code is run only if you name it: --network "
                f"{given['network']}."
            )
    elif table:
        raise UserError(f"--config {path}: {', '.join(table)} is outside the table [{_TABLE}]. Move it there.")
    known: dict[str, Any] = {name: (fields[name].annotation, fields[name]) for name in given if name in fields}
    checked = create_model("SettingsFile", __config__=SearchSettings.model_config, **known)
    try:
        with contextlib.chdir(path.absolute().parent):
            values = checked(**given)
    except ValidationError as error:
        lines = problem_lines(error.errors(), SearchSettings.name_at, lambda _place: tuple(fields))
        raise UserError("\n".join(f"--config {path}: {line}." for line in lines)) from None
    return {name: getattr(values, name) for name in known}


def _read_table(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(read_text(path))
    except OSError as error:
        raise UserError(f"--config {path} cannot be read ({error.strerror}). Give a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path} is not TOML ({error}). Correct it.") from None
    if not isinstance(table.get(_TABLE), dict):
        raise UserError(
            f"--config {path} has no table [{_TABLE}]. Give a file that `tune_main.py init` wrote, or a run's run.toml."
        )
    return table


def write_settings_file(path: Path, dataset: str) -> None:
    """A new file with the data set, and every other option commented out with its default.

    UserError if the file exists or cannot be written, or the data set is neither known nor a folder.
    """
    if dataset not in DATA_SETS:
        folder = whole_path(dataset)
        if not folder.is_dir():
            raise UserError(f"{dataset} is not a folder. Give a folder of images or {', '.join(DATA_SETS)}.")
        here = path.absolute().parent
        dataset = str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
    if path.exists():
        raise UserError(f"{path} exists already. Give another file: --out FILE.")
    try:
        write_atomically(path, settings_text(path.name, {"dataset": dataset}))
    except OSError as error:
        raise UserError(f"--out {path} cannot be written ({error.strerror}). Give another file.") from None


def settings_text(name: str, given: Mapping[str, Any]) -> str:
    """A settings file called `name`: the given fields, and the others as comments."""
    return _HEAD.format(name=name) + "".join(_option_lines(given))


def _option_lines(given: Mapping[str, Any]) -> Iterator[str]:
    group = None
    for name, option in OPTIONS.items():
        if option.group != group:
            group = option.group
            yield f"\n### {group.capitalize()}\n"
        line = tomli_w.dumps({name: given.get(name, _example(name, option))})
        yield f"\n{textwrap.fill(_comment(name, option), 118, initial_indent='# ', subsequent_indent='# ')}\n"
        yield line if name in given else f"#{line}"


def _comment(name: str, option: Option) -> str:
    kind, default = kind_of(name), SearchSettings.model_fields[name].default
    words = f"false: {option.help}" if kind is bool and default else option.help
    if get_origin(kind) is Literal:
        words = f"{' or '.join(get_args(kind))}: {words}"
    if option.unit == "s":
        words += "; here a number of seconds"
    return words if option.default_text is None else f"{words} (default: {option.default_text})"


def _example(name: str, option: Option) -> Any:
    """The default or, where nothing is set by default, an example."""
    field = SearchSettings.model_fields[name]
    if field.default is not None and not field.is_required():
        if isinstance(field.default, tuple):
            return ",".join(field.default)
        return str(field.default) if isinstance(field.default, Path) else field.default
    if field.examples:
        return field.examples[0]
    return 3600.0 if option.unit == "s" else option.metavar or option.flag
