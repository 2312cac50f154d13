"""The routes below /api."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from model.examples import DataError
from search.report.page import REWRITE_INTERVAL_S
from search.service.bodies import Problems, RunPage, RunView, State
from search.service.comparing import MAX_COMPARED, compared
from search.service.context import Asked, Member
from search.service.queue import MAX_PRIORITY
from search.service.runs import ARTIFACTS, Refused
from search.service.steering import steer
from search.service.submission import RunRequest
from search.service.tables import TableFormat, table
from search.study.wishes import Wish

REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:"
)
"""A report has its script and a table to download inside. It runs as a page of no site, without the reader's login."""
router = APIRouter(prefix="/api")
_BINARY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"format": "binary"}}}}}


class Priority(BaseModel):
    """The body that reorders the queue."""

    priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)]


def _documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Statuses besides success that a route may answer with."""
    return {status: {"model": Problems} for status in (401, 403, 422, 429, *statuses)}


@router.post("/runs", status_code=201, responses=_documented(200, 409))
def submit(
    body: RunRequest,
    service: Asked,
    caller: Member,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> RunView:
    """Submits a run. The same `Idempotency-Key` and body give the run that is there already, with status 200."""
    view, is_new = service.runs.submit(body, caller, idempotency_key)
    response.status_code = 201 if is_new else 200
    return view


@router.get("/runs", responses=_documented())
def list_runs(
    service: Asked,
    state: State | None = None,
    owner: str | None = None,
    text: Annotated[str, Query(description="part of the name")] = "",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=500)] = 50,
) -> RunPage:
    """Runs that match, the newest first."""
    names = list(service.runs.states(state=state, owner=owner, text=text))
    first = (page - 1) * page_size
    return RunPage(num_runs=len(names), runs=service.runs.views(names[first : first + page_size]))


@router.get("/runs/{name}", responses=_documented(404))
def get_run(name: str, service: Asked) -> RunView:
    """State, place in the queue, best so far, time left."""
    return service.runs.view(name)


@router.delete("/runs/{name}", status_code=204, responses=_documented(404, 409))
def delete_run(name: str, service: Asked, caller: Member) -> None:
    """Removes a run that has ended, or waits, with all its files."""
    service.runs.delete(name, caller)


@router.post("/runs/{name}/control", responses=_documented(404, 409))
def control_run(name: str, wish: Wish, service: Asked, caller: Member) -> RunView:
    """Steers a run that goes on; `continue` or more trials start one that has ended again; `cancel` ends its wait."""
    return steer(service.runs, name, wish, caller)


@router.post("/runs/{name}/priority", responses=_documented(404))
def prioritize(name: str, body: Priority, service: Asked, caller: Member) -> RunView:
    """Reorders the queue; admins only."""
    return service.runs.prioritize(name, body.priority, caller)


@router.get("/runs/{name}/trials", responses=_documented(404), response_class=Response)
def trials(name: str, service: Asked, format: TableFormat = "json") -> Response:
    """The table of trials, as in the run's trials.csv."""
    return table(service.runs.load(name).trials, format)


@router.get("/runs/{name}/epochs", responses=_documented(404), response_class=Response)
def epochs(name: str, service: Asked, format: TableFormat = "json") -> Response:
    """The table of epochs, as in the run's epochs.parquet."""
    return table(service.runs.load(name).epochs, format)


@router.get("/runs/{name}/log", responses=_documented(404))
def log(name: str, service: Asked) -> list[str]:
    """The last lines that the run printed."""
    service.runs.view(name)
    return service.runs.log(name)


@router.get("/runs/{name}/events", responses=_documented(404, 503), response_class=StreamingResponse)
async def run_events(name: str, service: Asked) -> StreamingResponse:
    """Server-sent events: the run as `GET /api/runs/{name}` gives it, now and after every change."""
    await run_in_threadpool(service.runs.view, name)

    def read() -> dict[str, Any]:
        return service.runs.view(name).model_dump(mode="json")

    return _events(service, lambda: service.supervisor.summaries.versions.get(name, 0), read)


@router.get("/events", responses=_documented(503), response_class=StreamingResponse)
async def all_events(service: Asked) -> StreamingResponse:
    """Server-sent events: one whenever any run changes, with the number of runs by state."""

    def read() -> dict[str, int]:
        return dict(Counter(service.runs.states().values()))

    return _events(service, lambda: sum(service.supervisor.summaries.versions.values()), read)


def _events(service: Any, version: Callable[[], object], read: Callable[[], Any]) -> StreamingResponse:
    headers = {"X-Accel-Buffering": "no"}  # nginx would collect events
    service.events.check()
    return StreamingResponse(service.events.stream(version, read), media_type="text/event-stream", headers=headers)


@router.get("/runs/{name}/files", responses=_documented(404))
def list_files(name: str, service: Asked) -> list[str]:
    """The names of the run's files that can be fetched."""
    service.runs.view(name)
    return list(service.runs.artifacts(name))


@router.get("/runs/{name}/files/{file}", responses=_documented(404), response_class=FileResponse)
def get_file(name: str, file: str, service: Asked) -> FileResponse:
    """One of the run's files."""
    service.runs.view(name)
    if file not in service.runs.artifacts(name):
        raise Refused(404, f"there is no such file. There may be: {', '.join(ARTIFACTS)}.")
    return FileResponse(service.runs.folders.run(name) / file, filename=file)


@router.get("/runs/{name}/report", responses=_documented(404), response_class=FileResponse)
def report(name: str, service: Asked) -> FileResponse:
    """The run's page."""
    service.runs.view(name)
    if "report.html" not in service.runs.artifacts(name):
        raise Refused(404, f"there is no report yet. It is written at the first rung and every {REWRITE_INTERVAL_S} s.")
    headers = {"Content-Security-Policy": REPORT_POLICY}
    return FileResponse(service.runs.folders.run(name) / "report.html", media_type="text/html", headers=headers)


@router.post("/runs/{name}/predict", responses=_documented(404), openapi_extra=_BINARY)
async def predict(name: str, request: Request, service: Asked) -> dict[str, float]:
    """The probability of each class for the image file that is the body."""
    image = await request.body()

    def answer() -> dict[str, float]:
        run = service.runs.load(name)
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(image)
            try:
                [row] = run.predict([Path(file.name)])
            except DataError as error:
                raise Refused(422, str(error).replace(file.name, "the body")) from None
        return {name: float(value) for name, value in zip(run.class_names, row, strict=True)}

    return await run_in_threadpool(answer)


@router.get("/compare", responses=_documented(404))
def compare(runs: Annotated[str, Query(description="two to five names, with commas between")], service: Asked) -> Any:
    """Two to five runs side by side."""
    return compared([service.runs.load(name) for name in names_of(runs)])


@router.get("/devices", responses=_documented())
def devices(service: Asked) -> dict[str, Any]:
    """The devices of this machine, which run holds them, who waits for them, and who used them lately (GPU hours)."""
    held = {view.name: view.devices for view in service.runs.views(service.runs.states(state="running"))}
    free, supervisor = service.supervisor.free(), service.supervisor
    usage = {owner: device_s / 3600 for owner, device_s in supervisor.usage().items()}
    return {
        "gpus": supervisor.devices.gpus, "cores": supervisor.devices.cores, "free_gpus": free.gpus,
        "free_cores": free.cores, "held": held, "queue": [entry.name for entry in supervisor.queue()], "usage": usage,
    }  # fmt: skip


@router.get("/datasets", responses=_documented())
def list_datasets(service: Asked) -> list[dict[str, Any]]:
    """The data sets that runs may name, besides digits, cifar10 and auto."""
    return service.data_sets.listed()


@router.put("/datasets/{name}", status_code=201, responses=_documented(409, 413, 507), openapi_extra=_BINARY)
async def upload_dataset(name: str, request: Request, service: Asked, caller: Member) -> dict[str, Any]:
    """Takes in a zip or tar of an image folder, which is the body."""
    folder = await run_in_threadpool(service.data_sets.begin, name)
    try:
        with (folder / "archive").open("wb") as file:
            async for part in request.stream():
                await run_in_threadpool(file.write, part)
        return await run_in_threadpool(service.data_sets.take_in, name, caller.name, folder)
    finally:
        await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)


def names_of(runs: str) -> list[str]:
    """The names in a list with commas. Refused unless they are two to five different ones."""
    names = list(dict.fromkeys(filter(None, map(str.strip, runs.split(",")))))
    if not 2 <= len(names) <= MAX_COMPARED:
        raise Refused(422, f"two to {MAX_COMPARED} different runs can be compared; got {len(names)}.", field="runs")
    return names
