"""What a service consists of, and its start and end."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from filelock import FileLock, Timeout

from search.errors import UserError
from search.service.access import Access, Caller
from search.service.cluster import Cluster
from search.service.data_sets import DataSets
from search.service.events import Events
from search.service.figures import Figures
from search.service.flashes import Flashes
from search.service.notifier import Notifier
from search.service.queue import Devices
from search.service.runs import Refused, Runs
from search.service.store import Store
from search.service.submission import Folders
from search.service.supervisor import PATIENCE_S, Supervisor


@dataclass(frozen=True)
class Service:
    """Everything that a request may need."""

    runs: Runs
    data_sets: DataSets
    access: Access
    supervisor: Supervisor
    events: Events
    figures: Figures
    flashes: Flashes


@contextlib.contextmanager
def opened_service(
    folders: Folders,
    place: Devices | Cluster,
    *,
    needs_tokens: bool,
    max_upload_bytes: int,
    notifier: Notifier,
    patience_s: tuple[float, ...] = PATIENCE_S,
) -> Iterator[Service]:
    """The service at work until the end of the block; runs go on after it. UserError if another one has the folder."""
    with store_of(folders) as store:
        try:
            lock = FileLock(folders.own / "service.lock", timeout=0, fallback_to_soft=False).acquire()
        except Timeout:
            raise UserError(f"another service works on {folders.results}. Use that one, or stop it.") from None
        with lock:
            events = Events()
            supervisor = Supervisor(
                store, folders, place, on_change=events.notify, notifier=notifier, patience_s=patience_s
            )
            access = Access(store, needs_tokens=needs_tokens)
            data_sets = DataSets(folders.datasets, store, max_bytes=max_upload_bytes)
            supervisor.start()
            try:
                runs = Runs(store, folders, supervisor)
                yield Service(runs, data_sets, access, supervisor, events, Figures(runs), Flashes())
            finally:
                supervisor.stop()
                notifier.messenger.close()


@contextlib.contextmanager
def store_of(folders: Folders) -> Iterator[Store]:
    """The store of a results folder, which is created. UserError if that cannot be."""
    try:
        folders.own.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = Store(folders.own / "service.db")
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"--results-dir {folders.results} cannot be used ({error}). Give another folder.") from None
    try:
        yield store
    finally:
        store.close()


def service_of(request: Request) -> Service:
    """The service that an application belongs to."""
    service: Service = request.app.state.service
    return service


def caller_of(request: Request) -> Caller:
    """Who sends a request; the guard lets nobody through whom it does not know."""
    caller: Caller = request.state.caller
    return caller


def member_of(request: Request) -> Caller:
    """The caller, if it may submit runs and data. Refused otherwise."""
    caller = caller_of(request)
    if not caller.may("member"):
        raise Refused(403, "a viewer may only look. Ask an admin for a token of a member.")
    return caller


Asked = Annotated[Service, Depends(service_of)]
Member = Annotated[Caller, Depends(member_of)]
