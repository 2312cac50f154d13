"""Writes TOML, which Python only reads. Values are tables, lists, booleans, numbers, strings and paths."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def toml_line(key: str, value: Any) -> str:
    """One `key = value` line; a nested table is written inline."""
    return f"{_key(key)} = {_value(value)}\n"


def toml_document(values: Mapping[str, Any]) -> str:
    """A whole file: plain values first, then a section for each table. None has no TOML form and is left out."""
    present = {key: value for key, value in values.items() if value is not None}
    plain = [toml_line(key, value) for key, value in present.items() if not isinstance(value, Mapping)]
    sections = [
        f"\n[{_key(key)}]\n" + "".join(toml_line(name, part) for name, part in value.items() if part is not None)
        for key, value in present.items()
        if isinstance(value, Mapping)
    ]
    return "".join(plain + sections).lstrip("\n")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    """Numbers keep every digit, so reading them back changes nothing."""
    if isinstance(value, Mapping):
        parts = (f"{_key(key)} = {_value(part)}" for key, part in value.items() if part is not None)
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(part) for part in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, Path)):  # JSON's text is TOML's, but for one control character that JSON leaves bare
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
