"""What every request passes before the service looks at it: limits, the caller, and where the request comes from."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search.service.access import Access, bearer_token

MAX_BODY_BYTES = 1_000_000
BODY_TIMEOUT_S = 60.0
"""The longest pause within a body."""
RATE, BURST = 50.0, 200.0
"""Requests a second of one caller, and how many may come at once."""
FAILED_COST = 20.0
"""A wrong token costs as much as this many requests."""
PUBLIC = ("/healthz", "/login", "/static/")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class RateLimit:
    """A bucket of requests for each caller, which fills again with time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def takes(self, key: str, cost: float = 1.0) -> bool:
        """Whether a caller may send a request now; if so, it counts."""
        now = self._clock()
        left, at = self._buckets.get(key, (BURST, now))
        left = min(BURST, left + RATE * (now - at))
        if left <= 0:
            return False
        if len(self._buckets) > 10_000:
            self._buckets.clear()
        self._buckets[key] = left - cost, now
        return True


class Guard:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp, access: Access, body_limit: Callable[[str], int], root_path: str = "") -> None:
        """`body_limit`: the most bytes of a body, by path. `root_path`: see `make_app`."""
        self._app, self._access, self._body_limit, self._root_path = app, access, body_limit, root_path
        self._rate = RateLimit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a bad request itself and passes on the others."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["root_path"] = self._root_path  # whether the proxy leaves it in the path or not
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        path = _path(scope)
        try:
            refusal = self._refusal(scope, headers, path)
        except sqlite3.Error as error:
            refusal = refused(
                503, f"the service's record cannot be used now ({error}). Try again.", {"Retry-After": "1"}
            )
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
            return
        if scope["method"] == "HEAD" and not path.endswith("/events"):  # events would not end
            scope = {**scope, "method": "GET"}  # of the answer the server leaves out the body
        await self._app(scope, _limited(receive, self._body_limit(path)), _with_headers(send))

    def _refusal(self, scope: Scope, headers: Mapping[str, str], path: str) -> ASGIApp | None:
        peer, own = (tuple(scope[end]) if scope.get(end) else None for end in ("client", "server"))
        address = peer[0] if peer else ""
        caller = self._access.caller(headers, peer, own)
        is_public = path.startswith(PUBLIC)
        cost = FAILED_COST if caller is None and (not is_public or scope["method"] == "POST") else 1.0
        if not self._rate.takes(address if caller is None else f"name:{caller.name}", cost):
            return refused(429, "too many requests. Wait a second.", {"Retry-After": "1"})
        scope.setdefault("state", {})["caller"] = caller
        if scope["method"] not in _SAFE_METHODS and not _is_same_site(headers):
            return refused(403, "the request comes from another site.")
        if caller is None and not is_public:
            return _no_caller(scope, headers, path)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._body_limit(path):
            return refused(413, f"the body may have {self._body_limit(path):,} bytes; got {length[:20]}.")
        return None


def refused(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as the API gives it."""
    return JSONResponse({"errors": [{"message": message}]}, status, headers)


def _no_caller(scope: Scope, headers: Mapping[str, str], path: str) -> ASGIApp:
    """The answer to a request of nobody who is known: people are led to the login, programs need a token."""
    has_token = bearer_token(headers) is not None
    is_read = scope["method"] in ("GET", "HEAD")
    is_for_program = path.startswith("/api") or path == "/metrics"
    if has_token or (is_for_program and not (is_read and "text/html" in headers.get("accept", ""))):
        words = "a token is needed: `Authorization: Bearer TOKEN`."
        if has_token:
            words = "the token is not known: it was removed or mistyped. Ask whoever runs the service for another."
        return refused(401, words, {"WWW-Authenticate": "Bearer"})
    query = scope["query_string"].decode("latin-1")
    wanted = quote(path) + (f"?{query}" if query else "")
    asked = f"?next={quote(wanted, safe='')}" if is_read and wanted != "/" else ""
    return RedirectResponse(f"{scope.get('root_path', '')}/login{asked}", 303)


def _path(scope: Scope) -> str:
    """The path below the service's root."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def _is_same_site(headers: Mapping[str, str]) -> bool:
    """Whether a request is from this service's own pages or from no page at all."""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _limited(receive: Receive, limit: int) -> Receive:
    """Ends a body that is too long, or that stops coming."""
    num_bytes, is_open = 0, True

    async def receive_part() -> Message:
        nonlocal num_bytes, is_open
        if not is_open:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), BODY_TIMEOUT_S)
        except TimeoutError:
            raise HTTPException(408, "the body stopped coming.") from None
        num_bytes += len(message.get("body", b""))
        is_open = bool(message.get("more_body", False))
        if num_bytes > limit:
            raise HTTPException(413, f"the body may have {limit:,} bytes.")
        return message

    return receive_part


def _with_headers(send: Send) -> Send:
    async def send_part(message: Message) -> None:
        if message["type"] == "http.response.start":
            own: MutableMapping[str, Any] = message
            given = {key for key, _ in own["headers"]}
            own["headers"] = [*own["headers"], *((key, value) for key, value in _HEADERS.items() if key not in given)]
        await send(message)

    return send_part
