"""Asks a Ray cluster for its versions before a run joins it: `python -m search.tune.cluster_probe ADDRESS`.

In a process of its own: Ray's client ends the process if it finds no token, and may try for most of a minute.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_CONNECT_S, _ANSWER_S, _LIMIT_S = 5.0, 5.0, 20.0


def cluster_problems(address: str | None) -> list[str]:
    """One line if a cluster at this address cannot be joined by this process. Takes at most 20 s."""
    if address is None:
        return []
    answer = ({} if address == "auto" else _unreachable(address)) or _ask(address)
    if "error" in answer:
        return [f"--cluster {address}: {answer['error']}"]
    ours = {"Ray": metadata.version("ray"), "Python": platform.python_version()}
    return [
        f"--cluster {address}: the cluster runs {name} {answer[name]}, and this is {name} {version}. Use the same."
        for name, version in ours.items()
        if answer[name] != version
    ]


def _ask(address: str) -> dict[str, str]:
    root = str(Path(__file__).parent.parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "search.tune.cluster_probe", address],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
            env={**os.environ, "PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired:
        return {"error": "no Ray cluster answers there. Give the address that `ray start --head` printed."}
    if done.stdout:
        answer: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        return answer
    if "token" in done.stderr:
        return {"error": _NO_TOKEN}
    return {"error": f"Ray's client failed: {(done.stderr.strip() or 'without a word').splitlines()[-1]}"}


def _unreachable(address: str) -> dict[str, str]:
    """The error if nothing listens there; empty if something does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        return {"error": f"{address} cannot be reached ({reason}). Is the head running, its port open?"}
    return {}


_NO_TOKEN = (
    "the cluster refuses this token, or there is none here. Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on its nodes."
)


def _answer(address: str) -> dict[str, Any]:
    from ray._private.services import canonicalize_bootstrap_address
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError

    try:
        place = canonicalize_bootstrap_address(address)
    except (ConnectionError, OSError, ValueError):
        place = None
    if place is None:
        return {"error": "no Ray node runs on this machine. Start one with `ray start`, or give HOST:PORT."}
    if error := _unreachable(place):
        return error
    try:
        client = GcsClient(address=place)
        facts = json.loads(client.internal_kv_get(b"CLUSTER_METADATA", b"cluster", timeout=_ANSWER_S))
    except AuthenticationError:
        return {"error": _NO_TOKEN}
    return {"Ray": facts["ray_version"], "Python": facts["python_version"]}


if __name__ == "__main__":
    print(json.dumps(_answer(sys.argv[1])))  # noqa: T201  the answer to `_ask`
