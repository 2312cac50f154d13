"""Checks of a config's values, whose errors name the key, the rule and the value."""

from __future__ import annotations

import difflib
from typing import Literal, get_args, get_origin, get_type_hints


def unknown_key_message(key: str, known: tuple[str, ...]) -> str:
    """One line with the unknown key, the known key most like it, and all known keys."""
    close = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean `{close[0]}`?" if close else ""
    return f"unknown key `{key}`.{hint} Known keys: {', '.join(known)}."


def check_range(name: str, value: float, low: float, high: float, *, below: bool = False) -> None:
    is_inside = low <= value < high if below else low <= value <= high
    if not is_inside:
        raise ValueError(f"`{name}` must satisfy {low} <= {name} {'<' if below else '<='} {high}; got {value}.")


def check_types(config: object) -> None:
    """Raise ValueError unless every value has its declared type and every Literal is one of its choices."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(hint) is Literal:
            if value not in get_args(hint):
                raise ValueError(f"`{name}` must be one of {', '.join(get_args(hint))}; got {value!r}.")
        elif hint is bool:
            if not isinstance(value, bool):
                raise ValueError(f"`{name}` must be true or false; got {value!r}.")
        elif hint is int:
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"`{name}` must be a whole number; got {value!r}.")
        elif hint is float and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"`{name}` must be a number; got {value!r}.")
