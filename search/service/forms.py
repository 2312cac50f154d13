"""Forms of the pages: fields of the settings as inputs, and what was typed as a request."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from search.commands import seconds, time_text
from search.errors import UserError
from search.service.bodies import validation_errors
from search.service.submission import ALLOWED, RunRequest
from search.settings import OPTIONS, SearchSettings, kind_of
from search.study.wishes import Wish
from search.text import value_text


@dataclass(frozen=True)
class FormField:
    """One input."""

    name: str
    label: str
    help: str
    kind: Literal["number", "time", "switch", "choice"]
    default: str
    choices: tuple[str, ...] = ()


def field_of(name: str) -> FormField:
    """The input of a setting."""
    declared, option = SearchSettings.model_fields[name], OPTIONS[name]
    default = option.default_text or ("" if declared.default is None else value_text(declared.default))
    label, kind = option.flag.replace("-", " "), kind_of(name)
    if option.unit == "s":
        default = option.default_text or time_text(declared.default)
        return FormField(name, label, option.help, "time", default)
    if get_origin(kind) is Literal:
        return FormField(name, label, option.help, "choice", str(declared.default), get_args(kind))
    return FormField(name, label, option.help, "switch" if kind is bool else "number", default)


def request_of(form: Mapping[str, str]) -> tuple[Any, list[dict[str, Any]]]:
    """The request that a form makes, and what is wrong with it. Empty inputs stand for defaults."""
    values: dict[str, Any] = {}
    errors: list[dict[str, Any]] = []
    for name in ("run_name", "dataset", "space"):
        if form.get(name, "").strip():
            values[name] = form[name].replace("\r\n", "\n") if name == "space" else form[name].strip()
    for name in ("cores", "priority", *ALLOWED):
        text = form.get(name, "").strip()
        if text:
            try:
                values[name] = _value(name, text)
            except argparse.ArgumentTypeError as error:
                errors.append({"field": name, "message": f"{error}."})
    try:
        return RunRequest(**values), errors
    except ValidationError as error:
        return None, errors + validation_errors(error.errors())


def wish_of(form: Mapping[str, str]) -> Wish:
    """The wish that a form makes. UserError if it is none."""
    values: dict[str, Any] = {}
    for name, field in Wish.options().items():
        text = form.get(name, "").strip()
        if text and name == "action":
            values[name] = text
        elif text and field.unit == "s":
            try:
                values[name] = seconds(text)
            except argparse.ArgumentTypeError as error:
                raise UserError(f"`{name}` {error}.") from None
        elif text:
            values[name] = int(text) if re.fullmatch(r"-?\d{1,12}", text) else text
    return Wish(**values)


def located_lines(error: UserError) -> list[dict[str, Any]]:
    """The lines of an error, each with the field that it names first."""
    lines = str(error).splitlines()
    names = [re.match(r"`(\w+)`", line) for line in lines]
    return [
        {"message": line, **({"field": found[1]} if found else {})} for line, found in zip(lines, names, strict=True)
    ]


def shown_value(name: str, value: Any) -> str:
    """A value of a request as it is typed; of a switch, whether it turns the default around."""
    if isinstance(value, bool):
        return "on" if value != SearchSettings.model_fields[name].default else ""
    return time_text(value) if _is_time(name) else str(value)


def _is_time(name: str) -> bool:
    return name in OPTIONS and OPTIONS[name].unit == "s"


def _value(name: str, text: str) -> Any:
    if _is_time(name):
        return seconds(text)
    if name in OPTIONS and kind_of(name) is bool:
        # A switch turns its default around, as on the command line.
        return not SearchSettings.model_fields[name].default
    return int(text) if re.fullmatch(r"-?\d{1,12}", text) else text
