"""How an option is declared, and the messages for values that break its rule. Imports nothing slow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.config_checks import unknown_key_message
from search.errors import UserError

_RULES = {
    "missing": "is missing",
    "greater_than_equal": "must be at least {ge:g}; got {input!r}",
    "less_than_equal": "must be at most {le:g}; got {input!r}",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}; got {input!r}",
    "literal_error": "must be {expected}; got {input!r}",
    "int_type": "must be a whole number; got {input!r}",
    "float_type": "must be a number; got {input!r}",
    "finite_number": "must be a finite number; got {input!r}",
    "bool_type": "must be true or false; got {input!r}",
    "string_type": "must be text; got {input!r}",
    "path_type": "must be a path; got {input!r}",
    "list_type": "must be a list; got {input!r}",
    "tuple_type": "must be a list; got {input!r}",
    "dict_type": "must be a table; got {input!r}",
    "model_type": "must be a table; got {input!r}",
    "dataclass_type": "must be a table; got {input!r}",
}
"""The sentence for each kind of pydantic error."""
Place = tuple[int | str, ...]
"""Where a value is: keys and indices from the outside in."""
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


@dataclass(frozen=True, kw_only=True)
class Option:
    """What the command line and docs/options.md say of a field."""

    flag: str
    """Without its dashes."""
    group: str
    help: str
    metavar: str | None
    default_text: str | None
    """What None stands for."""
    unit: str | None
    """s: seconds; the command line reads times with a unit, such as 45min."""
    is_fixed: bool
    """Whether the value decides the scores, so that a resumed run must have the same."""


def option(
    flag: str,
    group: str,
    help: str,
    *,
    default: Any = None,
    metavar: str | None = None,
    default_text: str | None = None,
    unit: str | None = None,
    is_fixed: bool = False,
    **bounds: Any,
) -> Any:
    """A field of the settings. `default` is ... for a field that must be given.

    `bounds` are pydantic's, such as ge, or `examples`: a list with a value for a settings file, if `default` is None.
    """
    declared = Option(
        flag=flag,
        group=group,
        help=help,
        metavar=metavar,
        default_text=default_text,
        unit=unit,
        is_fixed=is_fixed,
    )
    return Field(default, **bounds, json_schema_extra={"option": declared})  # type: ignore[dict-item]


class Options(BaseModel):
    """Fields that are options, immutable. UserError has a line for each bad value: the field, the rule, the value."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    if not TYPE_CHECKING:  # so that type checkers still see the fields

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                fields = type(self).model_fields
                lines = problem_lines(error.errors(), self.name_at, lambda _place: tuple(fields))
                raise UserError("\n".join(f"{line}." for line in lines)) from None

    @classmethod
    def options(cls) -> dict[str, Option]:
        """What the command line says of each field, by the field's name."""
        return {name: _declared(field.json_schema_extra) for name, field in cls.model_fields.items()}

    @classmethod
    def name_at(cls, place: Place) -> str:
        """A field as users know it: by its name in Python and run.toml, and by its flag where that differs."""
        name = str(place[0])
        flag = cls.options()[name].flag
        return f"`{name}`" if flag == name.replace("_", "-") else f"`{name}` (--{flag})"


def _declared(extra: Any) -> Option:
    declared: Option = extra["option"]
    return declared


def split_at_commas(names: object) -> object:
    """The command line's text, or a list of TOML, as a tuple; of none the empty one."""
    if isinstance(names, str):
        return tuple(name.strip() for name in names.split(",") if name.strip() not in ("", "none"))
    return tuple(names) if isinstance(names, list) else names


def problem_lines(
    problems: Iterable[Any], name_of: Callable[[Place], str], known_keys: Callable[[Place], tuple[str, ...]]
) -> Iterator[str]:
    """One line for each bad value, without a full stop: its name, the rule and the value.

    `problems`: the `errors()` of a ValidationError. `name_of`: what the user calls the value at a place. `known_keys`:
    the keys that are allowed at that place.
    """
    for problem in problems:
        place, kind, context = problem["loc"], problem["type"], problem.get("ctx", {})
        if kind in _UNKNOWN:
            yield unknown_key_message(str(place[-1]), known_keys(place)).removesuffix(".")
        elif kind == "value_error":
            yield from _own_lines(context["error"], name_of(place) if place else "")
        else:
            rule = _RULES.get(kind)
            words = rule.format(**context, input=problem["input"]) if rule else problem["msg"]
            yield f"{name_of(place)} {words}"


def _own_lines(error: ValueError, name: str) -> Iterator[str]:
    """The lines of a check that we wrote; a UserError of nested settings names its values itself."""
    for line in str(error).splitlines():
        yield line.removesuffix(".") if isinstance(error, UserError) or not name else f"{name} {line}"
