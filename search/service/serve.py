"""`python tune_main.py serve`: the service at an address, and its tokens."""

from __future__ import annotations

import argparse
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from search.errors import UserError
from search.machine.gpus import num_gpus
from search.notify import NOTIFY, Messenger
from search.service.access import Access, is_loopback
from search.service.app import make_app
from search.service.cluster import Cluster
from search.service.context import opened_service, store_of
from search.service.events import Events
from search.service.notifier import Notifier
from search.service.queue import Devices
from search.service.submission import Folders
from search.setup.extras import notify_problem

MAX_CONNECTIONS = 2000
_USAGE = "`serve token add NAME --role viewer|member|admin`, `serve token list` or `serve token remove NAME`"


class Server(uvicorn.Server):
    """Ends the streams of events first, or it would wait for them and then cut them off."""

    def __init__(self, config: uvicorn.Config, events: Events) -> None:
        super().__init__(config)
        self._events = events

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the service's connections."""
        self._events.end()
        await super().shutdown(sockets)


def serve(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Runs the service until a signal ends it, or changes its tokens; runs go on after it. Returns the exit code.

    `say` shows a line.
    """
    folders = Folders(options.results_dir.absolute(), _datasets(options.datasets_dir))
    if options.words:
        _change_tokens(folders, options.words, options.role, say)
        return 0
    needs_tokens = not is_loopback(options.host)
    address = (options.url or web_address(options.host, options.port)).rstrip("/")
    with store_of(folders) as store:
        if needs_tokens and not Access(store, needs_tokens=True).tokens():
            raise UserError(
                f"--host {options.host}: other machines could use this service, so they need tokens. Make one first: "
                "python tune_main.py serve token add NAME --role admin"
            )
    with (
        opened_service(
            folders,
            _devices() if options.cluster is None else Cluster(options.cluster),
            needs_tokens=needs_tokens,
            max_upload_bytes=int(options.max_upload_gb * 1e9),
            notifier=Notifier(Messenger(_notify_url(options.notify), say), address),
        ) as service,
        _listening(options.host, options.port) as listening,
    ):
        say(f"convladder serves {folders.results} on {web_address(options.host, listening.getsockname()[1])}/")
        _say_who_may_use_it(service.access, needs_tokens, say)
        say("Ctrl-C ends the service; runs go on.")
        config = uvicorn.Config(
            make_app(service, root_path=urlsplit(address).path),
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=2,
        )
        Server(config, service.events).run(sockets=[listening])
    return 0


def web_address(host: str, port: int) -> str:
    """The URL of a service that listens at an address."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say_who_may_use_it(access: Access, needs_tokens: bool, say: Callable[[str], None]) -> None:
    if access.is_open:
        say("Only you can use it. For others: python tune_main.py serve token add NAME")
    elif needs_tokens:
        say("Tokens travel unencrypted: put a reverse proxy with TLS before it. See docs/service.md.")


def _devices() -> Devices:
    """What this machine has for runs; CUDA_VISIBLE_DEVICES limits it."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    gpus = visible[: num_gpus()] or [str(index) for index in range(num_gpus())]
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return Devices(tuple(gpus), tuple(sorted(cores)))


def _notify_url(given: str | None) -> str | None:
    """Where word goes, also of the runs, which get it from the environment. UserError if it cannot be sent."""
    if given is not None:
        os.environ[NOTIFY] = given
    if problem := notify_problem(os.environ.get(NOTIFY)):
        raise UserError(problem)
    return os.environ.get(NOTIFY) or None


def _datasets(folder: Path | None) -> Path | None:
    if folder is None:
        return None
    if not folder.is_dir():
        raise UserError(f"--datasets-dir {folder} is not a folder. Give the folder that holds the data sets.")
    return folder.absolute()


def _listening(host: str, port: int) -> socket.socket:
    """A socket at an address. UserError if it cannot be had."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0  # below 0: the code of a name that is not found
        reason = os.strerror(number) if number > 0 else "no machine has that name" if number < 0 else error
        is_foreign = number < 0 or number == errno.EADDRNOTAVAIL
        advice = "an address of this machine as --host" if is_foreign else "another --port"
        raise UserError(f"--host {host} --port {port} cannot be had ({reason}). Give {advice}.") from None


def _change_tokens(folders: Folders, words: list[str], role: str, say: Callable[[str], None]) -> None:
    with store_of(folders) as store:
        access = Access(store, needs_tokens=True)
        match words:
            case ["token", "add", name]:
                say(access.add_token(name, role))
                if "admin" not in access.tokens().values():
                    say("From now on everybody needs a token, you too: serve token add NAME --role admin")
            case ["token", "remove", name]:
                access.remove_token(name)
            case ["token", "list"]:
                for name, its_role in access.tokens().items():
                    say(f"{name} ({its_role})")
            case _:
                raise UserError(f"`serve {' '.join(words)}` is not known. Use {_USAGE}.")
