"""run.toml and space.toml, what describes a run, read and checked: files that anyone may have edited.

Imports nothing slow.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from model.config import unknown_key_message
from search.errors import UserError
from search.settings import RECORD_VERSION

_SECTIONS = ("settings", "data", "engine", "slots", "versions", "hardware")
_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
Section = TypeVar("Section")


def read_document(run_dir: Path) -> dict[str, Any]:
    """All sections of a run's run.toml. UserError if there is none, or it is damaged or of another version."""
    path = run_dir / "run.toml"
    try:
        document = tomllib.loads(path.read_text())
    except OSError:
        raise UserError(f"{run_dir} holds no run: it has no readable run.toml. Give a folder under results/.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from None
    record = document.get("record")
    version = record.get("version") if isinstance(record, dict) else None
    if version != RECORD_VERSION:
        raise UserError(
            f"{run_dir} was made by another version (record {version}, this is {RECORD_VERSION}). "
            "Use that version or start a new run."
        )
    for name in _SECTIONS:
        if not isinstance(document.get(name), dict):
            raise damaged(path, f"it lacks the section [{name}]")
    return document


def read_space_text(run_dir: Path) -> str:
    """The run's own copy of its search space. UserError if it cannot be read."""
    path = run_dir / "space.toml"
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}). Restore it from a copy.") from None


def damaged(path: Path, reason: str) -> UserError:
    """What to say of a run.toml that is not what a run writes."""
    return UserError(f"{path} is damaged ({reason}). Restore it from a copy.")


def section_as(kind: type[Section], values: Mapping[str, Any], path: Path) -> Section:
    """A section of the file as the dataclass that it was written from. UserError has a line for each bad value."""
    problems = list(_problems(kind, values))
    if problems:
        raise UserError("\n".join(str(damaged(path, problem)) for problem in problems))
    return kind(**values)


def _problems(kind: type[Any], values: Mapping[str, Any]) -> Iterator[str]:
    hints = get_type_hints(kind)
    for key in values:
        if key not in hints:
            yield unknown_key_message(key, tuple(hints)).removesuffix(".")
    for field in fields(kind):
        if field.name not in values:
            if field.default is MISSING:
                yield f"`{field.name}` is missing"
        elif (wanted := _mismatch(values[field.name], hints[field.name])) is not None:
            yield f"`{field.name}` must be {wanted}; got {values[field.name]!r}"


def _mismatch(value: Any, hint: Any) -> str | None:
    """What the value should have been; None where it is."""
    if get_origin(hint) is Literal:
        return None if value in get_args(hint) else f"one of {', '.join(get_args(hint))}"
    kinds = [kind for kind in (get_args(hint) or (hint,)) if kind is not NoneType]
    # A whole number is a number, too; true is none.
    accepted = (*kinds, int) if float in kinds else tuple(kinds)
    is_of_kind = isinstance(value, accepted) and (type(value) is bool) == (bool in kinds)
    return None if is_of_kind else " or ".join(_TYPE_NAMES[kind] for kind in kinds)
