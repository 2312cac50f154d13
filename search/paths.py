"""Paths and database URLs as users write them, made whole: `~` means home, relative ones become absolute."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


def whole_path(path: str | Path) -> Path:
    """An absolute path. ValueError if it starts with the home of an unknown user or is not UTF-8."""
    try:
        found = Path(os.path.abspath(Path(path).expanduser()))
        str(found).encode("utf-8")
    except RuntimeError:
        raise ValueError(f"names a home that does not exist; got {str(path)!r}") from None
    except UnicodeEncodeError:
        raise ValueError(f"must be UTF-8, as run.toml is; got {os.fsencode(path)!r}") from None
    return found


TORCHVISION = "torchvision.models"


def whole_network(name: str) -> str:
    """FILE.py:NAME with an absolute path, or MODULE:NAME. ValueError for anything else."""
    place, _, function = name.rpartition(":")
    if not place or not function.isidentifier():
        raise ValueError(f"must be FILE.py:NAME or MODULE:NAME, such as my_nets.py:build; got {name!r}")
    return f"{whole_path(place)}:{function}" if place.endswith(".py") else name


def is_own_code(network: str | None) -> bool:
    """Whether a network's name means code to be run that is neither ours nor torchvision's."""
    return network is not None and network.rpartition(":")[0] != TORCHVISION


def from_here(path: Path) -> Path:
    """An absolute path as it is from the current folder, if it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


_PASSWORD = re.compile(r"(?<=//)([^/:@]*):.*@|(?<=[?&])(\w*pass\w*)=[^&]*", re.IGNORECASE)


def cluster_address(text: str) -> str | None:
    """The address of a Ray cluster: HOST:PORT, or auto; None for local. ValueError for anything else."""
    if text == "local":
        return None
    if text.startswith("ray://"):
        raise ValueError(
            f"must be HOST:PORT of the cluster's head, not an address of Ray Client; got {text!r}. Start the run on a "
            "node of the cluster, or there with `ray job submit` and auto"
        )
    if text != "auto" and not re.fullmatch(r"[^\s/]+:\d{1,5}", text):
        raise ValueError(f"must be HOST:PORT, auto or local; got {text!r}")
    return text


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file with any name."""
    from sqlalchemy.engine import URL  # takes a while, which bad options should not wait for

    return URL.create("sqlite", database=str(path)).render_as_string()


def sqlite_file(url: str) -> Path | None:
    """The absolute path of a SQLite URL's file; None for other databases. ValueError for a database in memory."""
    parts = _sqlite_parts(url)
    if parts is None:
        return None
    name = (parts.database or "").removeprefix("file:")
    if name in ("", ":memory:") or parts.query.get("mode") == "memory":
        raise ValueError(f"must be a database that stays, not one in memory; got {url!r}")
    return whole_path(name)


def whole_url(url: str) -> str:
    """A URL of a database; the path of a SQLite file, or in place of a URL, becomes absolute.

    ValueError for a database in memory, and for a URL with a password, which run.toml would show.
    """
    if url.startswith(("~", ".")):
        return str(whole_path(url))
    path, parts = sqlite_file(url), _sqlite_parts(url)
    if path is None or parts is None:
        if (shown := _PASSWORD.sub(_hidden, url)) != url:
            raise ValueError(
                f"must be without its password, which run.toml would show; got '{shown}'. Give it in the environment: "
                "PGPASSWORD or ~/.pgpass for PostgreSQL, MLFLOW_TRACKING_PASSWORD for MLflow"
            )
        return url
    options = {name: value for name, value in parts.query.items() if name != "uri"}
    return parts.set(database=str(path), query=options).render_as_string()


def _hidden(password: re.Match[str]) -> str:
    user, name = password.groups()
    return f"{user}:***@" if name is None else f"{name}=***"


def _sqlite_parts(url: str) -> URL | None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is not a number
        return None
    return parts if parts.get_backend_name() == "sqlite" else None
