"""The service as one ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, get_args

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from model.examples import DataError
from search.errors import UserError
from search.service import api, pages, rendering
from search.service.bodies import State, validation_errors
from search.service.context import Service, service_of
from search.service.guard import MAX_BODY_BYTES, Guard
from search.service.runs import Refused

MAX_IMAGE_BYTES = 20_000_000
STUCK_S = 60.0
"""A supervisor that has not finished a round for so long is reported by /healthz."""


def make_app(service: Service, *, root_path: str = "") -> Guard:
    """The application. `root_path`: where a reverse proxy shows it, such as /convladder."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.events.loop = asyncio.get_running_loop()
        yield

    app = FastAPI(
        title="convladder",
        description="Searches for small image classifiers: submit, watch, steer and fetch runs.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.include_router(api.router)
    app.include_router(pages.router)
    app.include_router(rendering.router)
    app.add_api_route("/healthz", _health, include_in_schema=False)
    app.add_api_route("/metrics", _metrics, include_in_schema=False)
    _add_error_handlers(app)
    return Guard(app, service.access, _body_limit(service.data_sets.max_bytes), root_path)


def _body_limit(max_upload_bytes: int) -> Callable[[str], int]:
    def limit(path: str) -> int:
        if path.startswith("/api/datasets/"):
            return max_upload_bytes
        return MAX_IMAGE_BYTES if path.endswith("/predict") else MAX_BODY_BYTES

    return limit


def _add_error_handlers(app: FastAPI) -> None:
    def answer(request: Request, status: int, errors: list[dict[str, Any]], headers: Any = None) -> Any:
        if rendering.wants_page(request):
            return rendering.error_page(request, status, errors)
        return JSONResponse({"errors": errors}, status, headers)

    def refused(request: Request, error: Exception) -> Any:
        assert isinstance(error, Refused)
        return answer(request, error.status, error.errors)

    def user_error(request: Request, error: Exception) -> Any:
        return answer(request, 422, [{"message": line} for line in str(error).splitlines()])

    def invalid(request: Request, error: Exception) -> Any:
        assert isinstance(error, RequestValidationError)
        return answer(request, 422, validation_errors(error.errors()))

    def http_error(request: Request, error: Exception) -> Any:
        assert isinstance(error, HTTPException)
        return answer(request, error.status_code, [{"message": str(error.detail)}], error.headers)

    def disk_error(request: Request, error: Exception) -> Any:
        return answer(request, 507, [{"message": f"the disk or the record cannot be used now ({error}). Try again."}])

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(UserError, user_error)
    app.add_exception_handler(DataError, user_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http_error)
    for kind in (OSError, sqlite3.Error, SQLAlchemyError):
        app.add_exception_handler(kind, disk_error)


def _health(request: Request) -> PlainTextResponse:
    supervisor = service_of(request).supervisor
    is_well = supervisor.is_alive() and time.monotonic() - supervisor.last_tick < STUCK_S
    return PlainTextResponse("ok" if is_well else "the supervisor is stuck", 200 if is_well else 503)


def _metrics(request: Request) -> PlainTextResponse:
    service = service_of(request)
    counts: dict[str, int] = dict.fromkeys(get_args(State), 0)
    for state in service.runs.states().values():
        counts[state] += 1
    free, devices = service.supervisor.free(), service.supervisor.devices
    lines = ["# TYPE convladder_runs gauge"]
    lines += [f'convladder_runs{{state="{state}"}} {count}' for state, count in counts.items()]
    lines += ["# TYPE convladder_devices gauge"]
    for kind in ("gpus", "cores"):
        total, num_free = len(getattr(devices, kind)), len(getattr(free, kind))
        lines.append(f'convladder_devices{{kind="{kind}",state="free"}} {num_free}')
        lines.append(f'convladder_devices{{kind="{kind}",state="held"}} {total - num_free}')
    lines += ["# TYPE convladder_watchers gauge", f"convladder_watchers {service.events.num_watchers}", ""]
    return PlainTextResponse("\n".join(lines), media_type="text/plain; version=0.0.4")
