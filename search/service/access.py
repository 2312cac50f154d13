"""Who may do what: tokens with roles, kept as hashes, and logins of browsers made from them."""

from __future__ import annotations

import getpass
import hashlib
import ipaddress
import os
import secrets
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from search.errors import UserError
from search.run_options import RUN_NAME_PATTERN
from search.service.store import Store

ROLES = ("viewer", "member", "admin")
"""Each may do what those before it may: look; submit, and steer own runs; steer all, reorder and delete."""
COOKIE = "convladder"
LOGIN_S = 30 * 86_400.0
_LISTENING_NAMES = ("localhost", "127.0.0.1", "[::1]")
Address = tuple[str, int]
_USER, _INODE = 7, 9
"""Columns of Linux's tables of connections; an end that no process holds has the inode 0."""


@dataclass(frozen=True)
class Caller:
    """Who sends a request."""

    name: str
    role: str

    def may(self, role: str) -> bool:
        """Whether the caller has at least this role."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def may_steer(self, owner: str) -> bool:
        """Whether a run is the caller's own, or the caller an admin."""
        return self.may("admin") or (self.may("member") and self.name == owner)


class Access:
    """Tokens and logins in the store."""

    def __init__(self, store: Store, *, needs_tokens: bool) -> None:
        """`needs_tokens`: whether other machines can reach the service."""
        self._store = store
        self._needs_tokens = needs_tokens

    def add_token(self, name: str, role: str) -> str:
        """A new token, which is shown once; UserError if the name is taken or not allowed."""
        if role not in ROLES:
            raise UserError(f"--role must be one of {', '.join(ROLES)}; got {role!r}.")
        if not RUN_NAME_PATTERN.fullmatch(name):
            raise UserError(f"a token's name must be letters, digits, dots, dashes or underscores; got {name!r}.")
        token = secrets.token_urlsafe(32)
        try:
            self._store.execute("INSERT INTO tokens VALUES (?, ?, ?)", name, role, _hashed(token))
        except sqlite3.IntegrityError:
            raise UserError(f"there is a token of {name} already. Remove it first: serve token remove {name}") from None
        return token

    def remove_token(self, name: str) -> None:
        """Ends a token and the logins made with it. UserError if there is none."""
        if name not in self.tokens():
            raise UserError(f"there is no token of {name}. `serve token list` shows all.")
        self._store.execute("DELETE FROM tokens WHERE name = ?", name)

    def tokens(self) -> dict[str, str]:
        """The role of each token by its name."""
        return {row["name"]: row["role"] for row in self._store.execute("SELECT name, role FROM tokens ORDER BY name")}

    @property
    def is_open(self) -> bool:
        """Whether the user who started the service needs no token: nobody has one, and the service is local."""
        return not self._needs_tokens and not self._store.execute("SELECT 1 FROM tokens LIMIT 1")

    def caller(self, headers: Mapping[str, str], peer: Address | None, own: Address | None) -> Caller | None:
        """Who sends a request with these headers; None if nobody is known there.

        `peer`, `own`: the two ends of the connection, theirs and the service's.
        """
        if self.is_open:
            # A page elsewhere may point its own name at this machine.
            host = headers.get("host", "").rsplit(":", 1)[0] if not headers.get("host", "").endswith("]") else "[::1]"
            if host not in _LISTENING_NAMES or peer is None or own is None:
                return None
            return Caller(getpass.getuser(), "admin") if _user_of(peer, own) in (0, os.geteuid()) else None
        if (token := bearer_token(headers)) is not None:
            return self._of_token(token)
        return self._of_login(_cookie(headers.get("cookie", "")))

    def log_in(self, token: str) -> str | None:
        """The value of a cookie that stands for a token; None for a wrong token."""
        caller = self._of_token(token)
        if caller is None:
            return None
        value = secrets.token_urlsafe(32)
        self._store.execute("DELETE FROM logins WHERE ends < ?", time.time())
        self._store.execute("INSERT INTO logins VALUES (?, ?, ?)", _hashed(value), caller.name, time.time() + LOGIN_S)
        return value

    def log_out(self, cookies: str) -> None:
        """Ends the login of a browser."""
        self._store.execute("DELETE FROM logins WHERE hash = ?", _hashed(_cookie(cookies)))

    def _of_token(self, token: str) -> Caller | None:
        rows = self._store.execute("SELECT name, role FROM tokens WHERE hash = ?", _hashed(token))
        return Caller(rows[0]["name"], rows[0]["role"]) if rows else None

    def _of_login(self, value: str) -> Caller | None:
        rows = self._store.execute(
            "SELECT name, role FROM tokens JOIN logins USING (name) WHERE logins.hash = ? AND ends > ?",
            _hashed(value),
            time.time(),
        )
        return Caller(rows[0]["name"], rows[0]["role"]) if rows else None


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """The token that a request brings in its headers; None if it brings none."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hashed(secret: str) -> str:
    # Secrets are 32 random bytes: a slow hash would add nothing.
    return hashlib.sha256(secret.encode()).hexdigest()


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _user_of(peer: Address, own: Address) -> int | None:
    """The user whose process holds the other end of a connection within this machine, as Linux tells.

    None if no process holds it any longer: Linux says that such an end is root's. Both ends count, because two users'
    connections to different places may have one port.
    """
    try:
        ends, is_v6 = [_in_table(*peer), _in_table(*own)], ipaddress.ip_address(peer[0]).version == 6
        lines = Path("/proc/net/tcp6" if is_v6 else "/proc/net/tcp").read_text().splitlines()[1:]
    except (OSError, ValueError):  # the latter for the address that a proxy claims
        return None
    rows = map(str.split, lines)
    return next((int(row[_USER]) for row in rows if row[1:3] == ends and row[_INODE] != "0"), None)


def _in_table(address: str, port: int) -> str:
    """One end of a connection as Linux writes it."""
    packed = ipaddress.ip_address(address).packed
    groups = [packed[at : at + 4][::-1] for at in range(0, len(packed), 4)]
    return f"{b''.join(groups).hex().upper()}:{port:04X}"
