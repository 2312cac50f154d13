"""The nodes of a Ray cluster: what trials they have room for, and whether they can run the project's code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.errors import UserError
from search.machine.slots import Slots

CPU_KIND = "CPU"
KIND_LABEL = "ray.io/accelerator-type"
_CHECK_S = 60.0
"""A busy node may need half a minute to start a worker."""
_ROOM_FOR_OTHERS = 64 * 2**20
"""Bytes of an object store besides the images: checkpoints on their way, Ray's own objects."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A living node."""

    node_id: str
    address: str
    cpus: float
    gpus: float
    kind: str
    """The type of its accelerators as Ray names it; CPU without a name."""
    store_bytes: float
    """Size of its object store."""

    def num_slots(self, slots: Slots) -> int:
        """Trials that fit on it, busy or not."""
        by_cpus = int(self.cpus // slots.cpus_per_trial)
        # One trial has at most one GPU, and a part of a GPU must lie on one.
        by_gpus = int(self.gpus) * int(1 / slots.gpus_per_trial + 1e-6) if slots.gpus_per_trial else by_cpus
        return min(by_cpus, by_gpus)

    def strategy(self) -> NodeAffinitySchedulingStrategy:
        """Runs a task on this node or not at all."""
        return NodeAffinitySchedulingStrategy(self.node_id, soft=False)


def living_nodes(table: list[dict[str, Any]] | None = None) -> list[Node]:
    """The nodes that Ray takes for alive. `table`: Ray's, for a process that has not joined a cluster."""
    nodes: list[dict[str, Any]] = ray.nodes() if table is None else table  # type: ignore[no-untyped-call]
    return [_node_of(node) for node in nodes if node["Alive"]]


def trial_nodes(nodes: Iterable[Node], gpus: int, accelerator: str | None) -> list[Node]:
    """Those that trials may run on. `gpus`: of the whole run."""
    return [node for node in nodes if (node.gpus if gpus else node.cpus) >= 1 and accelerator in (None, node.kind)]


def check_resources(nodes: Sequence[Node], cluster: str, gpus: int, accelerator: str | None) -> None:
    """UserError if the nodes have not what a run asks for."""
    kinds = sorted({node.kind for node in nodes})
    if accelerator is not None and accelerator not in kinds:
        raise UserError(f"--accelerator {accelerator}: the cluster at {cluster} has {', '.join(kinds)}.")
    usable = trial_nodes(nodes, gpus, accelerator)
    num_gpus = sum(node.gpus for node in usable)
    if gpus > num_gpus:
        raise UserError(
            f"--gpus {gpus}: the cluster at {cluster} has {num_gpus:g} GPUs. Ask for fewer or start more nodes."
        )
    if not usable:
        raise UserError(f"--cluster {cluster}: no node has a CPU core for trials. Start one: `ray start`.")


def kind_here() -> str:
    """The kind of the node that this worker runs on."""
    labels: dict[str, str] = ray.get_runtime_context().get_node_labels()  # type: ignore[assignment]
    return labels.get(KIND_LABEL, CPU_KIND)


def check_code(nodes: Sequence[Node]) -> None:
    """UserError, a line for each node on which the code of a worker cannot be imported or that does not answer."""
    task = ray.remote(num_cpus=0, max_retries=0)(_import_worker)
    asked = {task.options(scheduling_strategy=node.strategy()).remote(): node for node in nodes}
    done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_CHECK_S)
    problems = [f"--cluster: node {asked[ref].address} does not start a worker in {_CHECK_S:.0f} s" for ref in silent]
    for ref in done:
        try:
            missing = ray.get(ref)
        except ray.exceptions.RayError as error:
            missing = f"cannot run a worker: {str(error).strip().splitlines()[-1]}"
        if missing is not None:
            problems.append(f"--cluster: node {asked[ref].address} {missing}")
    if problems:
        raise UserError("\n".join(f"{line}. Mend the node or stop it with `ray stop`." for line in problems))


def check_stores(nodes: Iterable[Node], image_bytes: int) -> None:
    """UserError, a line for each node whose object store is too small for the images."""
    needed = image_bytes + _ROOM_FOR_OTHERS
    problems = [
        f"--cluster: the object store of node {node.address} has {node.store_bytes:,.0f} bytes; the images and "
        f"checkpoints need {needed:,}. Start the node with a larger --object-store-memory."
        for node in nodes
        if node.store_bytes < needed
    ]
    if problems:
        raise UserError("\n".join(problems))


def _node_of(node: dict[str, Any]) -> Node:
    resources = node["Resources"]
    gpus = resources.get("GPU", 0.0)
    return Node(
        node_id=node["NodeID"],
        address=node["NodeManagerAddress"],
        cpus=resources.get("CPU", 0.0),
        gpus=gpus,
        kind=node["Labels"].get(KIND_LABEL, "GPU" if gpus else CPU_KIND),
        store_bytes=resources.get("object_store_memory", 0.0),
    )


def _import_worker() -> str | None:
    """What keeps a worker from importing its code; None if it can."""
    try:
        import search.tune.tuner  # noqa: F401
    except ModuleNotFoundError as error:
        return f"lacks the package {error.name}"
    except ImportError as error:
        return f"cannot import a package: {error}"
    return None
