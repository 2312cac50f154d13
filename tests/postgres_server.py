"""A PostgreSQL server of Debian's package on loopback, in a temporary folder, with one user who has a password."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSWORD = "se-cret"
_PROGRAMS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
MISSING = None if _PROGRAMS else "needs a PostgreSQL server: apt-get install postgresql"
"""Why no server can be started here; None if one can."""


@dataclass
class Server:
    """May be stopped and started again; its data stay."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://tester@127.0.0.1:{self.port}/postgres"

    @property
    def socket_url(self) -> str:
        """Reaches it from other network namespaces, too."""
        return f"postgresql+psycopg://tester@/postgres?host={self.folder}&port={self.port}"

    def start(self) -> None:
        """Returns once it answers."""
        where = ("-D", self.folder / "data", "-k", self.folder, "-h", "127.0.0.1", "-p", str(self.port))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([_PROGRAMS[0] / "postgres", *where], stderr=log, **_not_as_root())
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(Exception):
                self.ask("SELECT 1")
                return
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends all connections; SIGQUIT ends the server as a crash would."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def ask(self, query: str) -> list[Any]:
        """The rows of a query."""
        import psycopg

        with psycopg.connect(self.url.replace("+psycopg", ""), password=PASSWORD) as connection:
            return connection.execute(query).fetchall()


@contextlib.contextmanager
def postgres_server() -> Iterator[Server]:
    """A server that runs."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = Server(folder, _free_port())
    try:
        (folder / "password").write_text(PASSWORD)
        folder.chmod(0o755)
        (folder / "data").mkdir()
        if os.geteuid() == 0:
            for path in (folder, folder / "data"):
                shutil.chown(path, "postgres", "postgres")
        words = ("-D", folder / "data", "-U", "tester", "-A", "scram-sha-256", "--pwfile", folder / "password")
        subprocess.run(
            [_PROGRAMS[0] / "initdb", *words, "--no-sync"], check=True, stdout=subprocess.DEVNULL, **_not_as_root()
        )
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder)


def _not_as_root() -> dict[str, Any]:
    """PostgreSQL refuses to run as root; Debian's package brings a user for it."""
    other = {"user": "postgres", "group": "postgres", "extra_groups": []}
    return {"cwd": "/", **(other if os.geteuid() == 0 else {})}


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
