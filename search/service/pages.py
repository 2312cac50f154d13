"""The pages: rendered here, refreshed by a small script, usable without it but for uploads and curves."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from search.errors import UserError
from search.run_options import DATA_SETS
from search.service.access import COOKIE, LOGIN_S
from search.service.api import names_of
from search.service.comparing import compared, curves
from search.service.context import Asked, Member
from search.service.forms import field_of, located_lines, request_of, shown_value, wish_of
from search.service.rendering import back, path_after_login, rendered
from search.service.runs import Refused
from search.service.steering import steer
from search.service.submission import ALLOWED
from search.study.wishes import ACTIONS

router = APIRouter(include_in_schema=False)
PAGE_SIZE = 50
_MAIN_FIELDS = ("num_trials", "time_budget_s", "max_epochs", "max_params", "min_receptive_field", "image_size", "gpus")
"""The others are folded in."""


@router.get("/")
def runs_page(
    request: Request, service: Asked, state: str = "", owner: str = "", text: str = "", page: int = 1
) -> Response:
    """All runs, the newest first."""
    names = list(service.runs.states(state=state or None, owner=owner or None, text=text))
    num_pages = max(1, -(-len(names) // PAGE_SIZE))
    page = min(max(page, 1), num_pages)
    shown = service.runs.views(names[(page - 1) * PAGE_SIZE : page * PAGE_SIZE])
    asked = {"state": state, "owner": owner, "text": text}
    return rendered(
        request, "runs.html.j2", views=shown, num_runs=len(names), page=page, num_pages=num_pages, asked=asked
    )


@router.get("/runs/{name}")
def run_page(request: Request, name: str, service: Asked, flash: str = "") -> Response:
    """One run, live."""
    view = service.runs.view(name)
    return rendered(
        request,
        "run.html.j2",
        view=view,
        log=service.runs.log(name),
        files=service.runs.artifacts(name),
        may_steer=request.state.caller.may_steer(view.owner),
        actions=ACTIONS,
        error=service.flashes.take(flash),
    )


@router.get("/runs/{name}/figures")
def figures(name: str, service: Asked) -> dict[str, Any]:
    """The curves of a run, for the page's script."""
    return service.figures.of(name)


@router.post("/runs/{name}/control")
async def control_form(request: Request, name: str, service: Asked, caller: Member) -> Response:
    """The buttons of a run's page."""
    form = await _form(request)

    def answer() -> str:
        try:
            steer(service.runs, name, wish_of(form), caller)
        except (UserError, Refused) as error:
            return str(error)
        return ""

    problem = await run_in_threadpool(answer)
    return back(request, f"/runs/{quote(name)}" + (f"?flash={service.flashes.keep(problem)}" if problem else ""))


@router.post("/runs/{name}/priority")
async def priority_form(request: Request, name: str, service: Asked, caller: Member) -> Response:
    """The buttons that reorder the queue."""
    form = await _form(request)
    step = {"sooner": -1, "later": 1}.get(form.get("step", ""), 0)
    await run_in_threadpool(service.runs.move, name, step, caller)
    return back(request, "/devices")


@router.post("/runs/{name}/delete")
def delete_form(request: Request, name: str, service: Asked, caller: Member) -> Response:
    """The button that removes a run."""
    service.runs.delete(name, caller)
    return back(request, "/")


@router.get("/submit")
def submit_page(request: Request, service: Asked, caller: Member, like: str = "", dataset: str = "") -> Response:
    """The form for a new run, filled in as an earlier one or with a data set."""
    entry = service.runs.store.run(like) if like else None
    values = {} if entry is None else {key: shown_value(key, value) for key, value in entry.request.items()}
    if dataset:
        values["dataset"] = dataset
    return _submit_page(request, service, values | {"run_name": ""}, [])


@router.post("/submit")
async def submit_form(request: Request, service: Asked, caller: Member) -> Response:
    """Submits the form; shows it again with what is wrong."""
    form = await _form(request)

    def submit() -> tuple[str, list[dict[str, Any]]]:
        body, errors = request_of(form)
        if not errors:
            try:
                return service.runs.submit(body, caller, form.get("key") or None)[0].name, []
            except Refused as refusal:
                errors = refusal.errors
            except UserError as error:
                errors = located_lines(error)
        return "", errors

    name, errors = await run_in_threadpool(submit)
    if errors:
        return await run_in_threadpool(_submit_page, request, service, form, errors)
    return back(request, f"/runs/{quote(name)}")


@router.get("/compare")
def compare_page(request: Request, service: Asked) -> Response:
    """Two to five runs side by side."""
    names = ",".join(request.query_params.getlist("runs"))
    found = [service.runs.load(name) for name in names_of(names)]
    return rendered(
        request, "compare.html.j2", comparison=compared(found), address=f"compare/figures?runs={quote(names)}"
    )


@router.get("/compare/figures")
def compare_figures(service: Asked, runs: str) -> dict[str, Any]:
    """The curves of the runs that are compared."""
    return curves([service.runs.load(name) for name in names_of(runs)])


@router.get("/devices")
def devices_page(request: Request, service: Asked) -> Response:
    """Devices, who holds them, and the queue."""
    positions = service.runs.positions()
    return rendered(
        request,
        "devices.html.j2",
        devices=service.supervisor.devices,
        free=service.supervisor.free(),
        running=service.runs.views(service.runs.states(state="running")),
        queue=[service.runs.view(name, positions) for name in positions],
        usage=sorted(service.supervisor.usage().items(), key=lambda item: -item[1]),
    )


@router.get("/datasets")
def datasets_page(request: Request, service: Asked) -> Response:
    """Data sets, and the form to upload one."""
    return rendered(
        request,
        "datasets.html.j2",
        datasets=service.data_sets.listed(),
        max_bytes=service.data_sets.max_bytes,
        can_upload=service.data_sets.can_upload,
    )


@router.get("/login")
def login_page(request: Request) -> Response:
    """The form that takes a token."""
    return rendered(request, "login.html.j2", is_wrong=False)


@router.post("/login")
async def log_in(request: Request, service: Asked) -> Response:
    """Gives the browser a cookie in exchange for a token."""
    cookie = service.access.log_in((await _form(request)).get("token", "").strip())
    if cookie is None:
        return rendered(request, "login.html.j2", status=403, is_wrong=True)
    response = back(request, path_after_login(request))
    is_secure, path = request.url.scheme == "https", request.scope.get("root_path") or "/"
    response.set_cookie(
        COOKIE, cookie, max_age=int(LOGIN_S), path=path, secure=is_secure, httponly=True, samesite="lax"
    )
    return response


@router.post("/logout")
def log_out(request: Request, service: Asked) -> Response:
    """Ends the browser's login."""
    service.access.log_out(request.headers.get("cookie", ""))
    return back(request, "/login")


def _submit_page(request: Request, service: Any, values: Mapping[str, str], errors: list[dict[str, Any]]) -> Response:
    located: dict[str, str] = defaultdict(str)
    located |= {one["field"]: one["message"] for one in errors if "field" in one}
    names = [*DATA_SETS, *(str(one["name"]) for one in service.data_sets.listed())]
    more = [name for name in ALLOWED if name not in _MAIN_FIELDS]
    return rendered(
        request,
        "submit.html.j2",
        status=422 if errors else 200,
        values=defaultdict(str, values),
        located=located,
        space_errors=[one for one in errors if one.get("field") == "space"],
        other_errors=[one["message"] for one in errors if "field" not in one],
        main=[field_of(name) for name in _MAIN_FIELDS],
        more=[field_of(name) for name in more],
        has_more=any(values.get(name) or name in located for name in (*more, "priority")),
        datasets=names,
        can_upload=service.data_sets.can_upload,
        devices=service.supervisor.devices,
        key=values.get("key") or secrets.token_urlsafe(12),
    )


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; the last one of a name counts."""
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
