"""Asks a Ray cluster whether a run may join it: `python -m search.tune.cluster_probe ADDRESS GPUS ACCELERATOR`.

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

from search.errors import UserError
from search.settings import SearchSettings

_CONNECT_S, _ANSWER_S, _LIMIT_S = 5.0, 5.0, 20.0


def cluster_problems(settings: SearchSettings) -> list[str]:
    """One line if the run's cluster cannot be joined by this process or lacks what the run asks for. Takes 25 s."""
    address = settings.cluster
    if address is None:
        return []
    reason = (None if address == "auto" else _unreachable(address)) or _ask(settings)
    if reason is None or reason.startswith("--"):
        return [reason] if reason else []
    return [f"--cluster {address}: {reason}"]


def _ask(settings: SearchSettings) -> str | None:
    """What is wrong, as a process of its own finds it."""
    root = str(Path(__file__).parent.parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    words = (settings.cluster, settings.gpus, settings.accelerator or "")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "search.tune.cluster_probe", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
            env={**os.environ, "PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired:
        return "no Ray cluster answers there. Give the address that `ray start --head` printed."
    if done.stdout:
        answer: str | None = json.loads(done.stdout.splitlines()[-1])
        return answer
    if "token" in done.stderr:
        return _NO_TOKEN
    return f"Ray's client failed: {(done.stderr.strip() or 'without a word').splitlines()[-1]}"


def _unreachable(address: str) -> str | None:
    """What is wrong if nothing listens there."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        return f"{address} cannot be reached ({reason}). Is the head running, its port open?"
    return None


_NO_TOKEN = (
    "the cluster refuses this token, or there is none here. Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on its nodes."
)


def _answer(address: str, gpus: int, accelerator: str | None) -> str | None:
    from ray._private.services import canonicalize_bootstrap_address
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError

    try:
        place = canonicalize_bootstrap_address(address)
    except (ConnectionError, OSError, ValueError):
        place = None
    if place is None:
        return "no Ray node runs on this machine. Start one with `ray start`, or give HOST:PORT."
    if reason := _unreachable(place):
        return reason
    try:
        client = GcsClient(address=place)
        facts = json.loads(client.internal_kv_get(b"CLUSTER_METADATA", b"cluster", timeout=_ANSWER_S))
    except AuthenticationError:
        return _NO_TOKEN
    return version_problem(facts) or _node_problem(place, gpus, accelerator)


def version_problem(facts: dict[str, Any]) -> str | None:
    """What is wrong if Ray or Python differ here from the cluster's; Ray asks for the same, to the last digit."""
    ours = {"ray": metadata.version("ray"), "python": platform.python_version()}
    for name, version in ours.items():
        if (theirs := facts[f"{name}_version"]) != version:
            return f"the cluster runs {name.title()} {theirs}, and this is {name.title()} {version}. Use the same."
    return None


def _node_problem(place: str, gpus: int, accelerator: str | None) -> str | None:
    from ray._private.services import find_node_ids
    from ray._private.state import GlobalState
    from ray._raylet import GcsClientOptions  # type: ignore[attr-defined]

    from search.tune.nodes import check_resources, living_nodes

    state: Any = GlobalState()  # type: ignore[no-untyped-call]
    state._initialize_global_state(
        GcsClientOptions.create(place, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
    )
    nodes = living_nodes(state.node_table())
    here: set[str] = find_node_ids()  # type: ignore[no-untyped-call]
    # Without a node here, Ray's client would wait for one for a minute.
    if here.isdisjoint(node.node_id for node in nodes):
        return (
            f"this machine is not a node of the cluster. Make it one with `ray start --address={place} --num-cpus=0`, "
            "without --num-cpus if it should train, too."
        )
    try:
        check_resources(nodes, place, gpus, accelerator)
    except UserError as error:
        return str(error)
    return None


if __name__ == "__main__":
    print(json.dumps(_answer(sys.argv[1], int(sys.argv[2]), sys.argv[3] or None)))  # noqa: T201  the answer to `_ask`
