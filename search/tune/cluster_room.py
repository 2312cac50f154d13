"""Asks a Ray cluster what it has and what of it nobody uses: `python -m search.tune.cluster_room ADDRESS`.

In a process of its own, as in `cluster_probe`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from search.errors import UserError

_LIMIT_S = 20.0
Room = tuple[float, float]
"""CPU cores and GPUs."""


def cluster_room(address: str) -> tuple[Room, Room]:
    """What a cluster has, and what of it nobody uses now. UserError if it does not answer."""
    root = str(Path(__file__).parent.parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "search.tune.cluster_room", address],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        total, free = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError):
        raise UserError(f"--cluster {address} does not say what is free. Is its head running?") from None
    return tuple(total), tuple(free)


def _room(address: str) -> list[list[float]]:
    from ray._private.services import canonicalize_bootstrap_address
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.autoscaler.v2.sdk import get_cluster_resource_state
    from ray.core.generated.autoscaler_pb2 import NodeStatus  # type: ignore[attr-defined]

    state: Any = get_cluster_resource_state(GcsClient(address=canonicalize_bootstrap_address(address)))
    nodes = [node for node in state.node_states if node.status != NodeStatus.DEAD]
    return [
        [sum(getattr(node, part).get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU")]
        for part in ("total_resources", "available_resources")
    ]


if __name__ == "__main__":
    print(json.dumps(_room(sys.argv[1])))  # noqa: T201  the answer to `cluster_room`
