"""Nodes of a Ray cluster on one machine that share no network, disk or processes: a namespace of each for every node.

Needs root and `ip` (Debian: iproute2). The bridge between them leads nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from faults import REPOSITORY, wait_until

NETWORK = "10.213.77"
DISK = "/mnt"
"""The folder that each node has for itself; Python and the tests may lie below /tmp."""
HEAD = f"{NETWORK}.1:6379"
BIN = Path(sys.executable).parent
_HIDDEN = (REPOSITORY / "search", REPOSITORY / "model")
"""What only the driver's node has: workers get the code from the driver."""


def why_not() -> str | None:
    """Why no namespaces can be made here; None if they can."""
    if os.geteuid() != 0:
        return "namespaces need root"
    if not all(map(shutil.which, ("ip", "nsenter", "unshare"))):
        return "namespaces need `ip`, `nsenter` and `unshare` (Debian: iproute2, util-linux)"
    name = f"clt{secrets.token_hex(3)}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"no namespace can be made here: {done.stderr.strip()}"
    _ip("netns", "del", name)
    return None


@dataclass
class Node:
    """One node: its processes see its own network, host name and `DISK`."""

    number: int
    name: str
    folder: Path
    """Its `DISK`, as seen from outside."""
    holder: subprocess.Popen[str]
    """Everything inside ends with it."""
    init: int
    """Process 1 inside."""
    token: str

    def command(self, *words: object, environment: dict[str, str] | None = None) -> list[str]:
        """The words as a command that runs inside."""
        settings = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_worker_niceness": "0",
            "HOME": DISK,
            "TMPDIR": DISK,
            "RAY_TMPDIR": DISK,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            **(environment or {}),
        }
        given = [f"{name}={value}" for name, value in settings.items() if value]
        inside = ["nsenter", f"--target={self.init}", "--mount", "--net", "--uts", "--pid"]
        return [*inside, "env", f"--chdir={DISK}", "-u", "PYTHONPATH", *given, *map(str, words)]

    def run(self, *words: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command inside to its end; stdout and stderr together."""
        return subprocess.run(
            self.command(*words, environment=environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )

    def start_ray(self, *more: object, ray: Path = BIN / "ray", is_head: bool = False) -> None:
        """Starts a node of Ray, which joins that of the first node unless it is a head."""
        role = ["--head", "--port=6379", "--include-dashboard=false"] if is_head else [f"--address={HEAD}"]
        address, store = f"--node-ip-address={NETWORK}.{self.number}", "--object-store-memory=150000000"
        for _ in range(3):  # on a busy machine, Ray's own patience may end
            done = self.run(ray, "start", *role, address, store, *more)
            if done.returncode == 0:
                return
            self.kill()
        raise AssertionError(done.stdout)

    def pids(self, text: str = "") -> list[int]:
        """The processes inside with this text in their command line, but for those that hold the namespaces."""
        listed = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False).stdout
        pids = {int(pid) for pid in listed.split()} - {self.holder.pid, self.init}
        return [pid for pid in pids if text in _command_line(pid)]

    def kill(self, number: int = signal.SIGKILL, text: str = "") -> None:
        """Sends a signal to these processes."""
        for pid in self.pids(text):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def plug(self, state: str) -> None:
        """Cuts the node off (down) or connects it again (up)."""
        _ip("link", "set", self.name, state)

    def hide(self, *paths: Path) -> None:
        """Makes folders empty inside."""
        for path in paths:
            done = self.run("mount", "-t", "tmpfs", "none", path)
            assert done.returncode == 0, done.stdout


@dataclass
class Nodes:
    """Namespaces on one bridge."""

    bridge: str
    scratch: Path
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    nodes: list[Node] = field(default_factory=list)

    def add(self, *, has_code: bool = False) -> Node:
        """Another node, without Ray and, unless it `has_code`, without the project's."""
        number = len(self.nodes) + 1
        name, folder = f"{self.bridge}-{number}", self.scratch / f"node-{number}"
        folder.mkdir(mode=0o700)
        _ip("netns", "add", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", name, "master", self.bridge, "up")
        _ip("-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", name, "link", "set", device, "up")
        mounts = (
            f"mount --make-rprivate / && mount --bind {folder} {DISK} && mount -t tmpfs none {self.scratch} && "
            f"hostname node-{number}"
        )
        inside = ("ip", "netns", "exec", name, "unshare", "--mount", "--uts", "--pid", "--mount-proc", "--kill-child")
        # The shell waits for whatever loses its parent, as an init must.
        holder = subprocess.Popen(
            [*inside, "sh", "-c", f"{mounts} && echo ready && while true; do sleep 1000; done"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        (init,) = psutil.Process(holder.pid).children()
        node = Node(number, name, folder, holder, init.pid, self.token)
        self.nodes.append(node)
        if number > 1 and not has_code:
            node.hide(*_HIDDEN)
        return node

    def close(self) -> None:
        """Ends everything inside and removes the namespaces."""
        for node in self.nodes:
            node.holder.kill()
            node.holder.wait()
            wait_until(lambda node=node: not node.pids(), 30)  # type: ignore[misc]
            _ip("netns", "del", node.name)
        _ip("link", "del", self.bridge)


@contextlib.contextmanager
def namespaces(num_nodes: int) -> Iterator[Nodes]:
    """Nodes without Ray; nothing of them is left at the end."""
    with tempfile.TemporaryDirectory(prefix="cl-ns-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        nodes = Nodes(f"clb{secrets.token_hex(3)}", Path(scratch))
        _ip("link", "add", nodes.bridge, "type", "bridge")
        try:
            _ip("link", "set", nodes.bridge, "up")
            for _ in range(num_nodes):
                nodes.add()
            yield nodes
        finally:
            nodes.close()


@contextlib.contextmanager
def ray_nodes(cpus: Sequence[int]) -> Iterator[Nodes]:
    """A cluster with so many CPUs for trials on each node; the first one is the head."""
    with namespaces(len(cpus)) as nodes:
        for node, num_cpus in zip(nodes.nodes, cpus, strict=True):
            node.start_ray(f"--num-cpus={num_cpus}", is_head=node.number == 1)
        yield nodes


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
