"""What a cluster's nodes have room for, and which trials a run may place there. Real nodes: tests/test_cluster_*.py."""

from __future__ import annotations

import dataclasses
import platform
import re
import socket
from importlib import metadata
from typing import Any

import pytest

from model.config import SEED_CONFIG
from model.engine import Engine
from model.network_source import BUILT_IN
from search.errors import UserError
from search.machine.machine import Machine, Workpiece
from search.machine.slots import Slots
from search.settings import SearchSettings
from search.tune import joined_cluster
from search.tune.cluster_probe import cluster_problems, version_problem
from search.tune.joined_cluster import JoinedCluster
from search.tune.nodes import Node, check_stores

GPU_SLOTS = Slots(num_concurrent=1, cpus_per_trial=4, gpus_per_trial=0.5, gpus=2)
CPU_SLOTS = Slots(num_concurrent=1, cpus_per_trial=2, gpus_per_trial=0.0, gpus=0)


def node(number: int, *, cpus: float, gpus: float = 0.0, kind: str = "CPU", store_bytes: float = 1e9) -> Node:
    return Node(
        node_id=str(number), address=f"10.0.0.{number}", cpus=cpus, gpus=gpus, kind=kind, store_bytes=store_bytes
    )


PIECE = Workpiece(network=BUILT_IN, config=SEED_CONFIG, num_classes=10, image_size=32)
NODES = [
    node(1, cpus=0),
    node(2, cpus=7),
    node(3, cpus=16, gpus=2, kind="H100"),
    node(4, cpus=6, gpus=4, kind="A100"),
]


def settings(**values: Any) -> SearchSettings:
    return SearchSettings(run_name="run", cluster="10.0.0.1:6379", **values)


@pytest.fixture
def living(monkeypatch: pytest.MonkeyPatch) -> list[Node]:
    """The nodes of the cluster, to be changed by a test; all can import the code."""
    nodes = list(NODES)
    monkeypatch.setattr(joined_cluster, "living_nodes", lambda: nodes)
    monkeypatch.setattr(joined_cluster, "check_code", lambda nodes: None)
    monkeypatch.setattr(joined_cluster, "_LOOK_INTERVAL_S", 0.0)
    return nodes


@pytest.mark.parametrize(
    ("slots", "expected"), [(CPU_SLOTS, [0, 3, 8, 3]), (GPU_SLOTS, [0, 0, 4, 1])], ids=["cpu", "gpu"]
)
def test_the_scarcer_resource_decides_how_many_trials_fit(slots: Slots, expected: list[int]) -> None:
    assert [one.num_slots(slots) for one in NODES] == expected


def test_a_store_that_is_too_small_is_named() -> None:
    check_stores(NODES, 900_000_000)
    with pytest.raises(UserError, match=r"node 10\.0\.0\.5 has 70,000,000 bytes; .* need 77,108,864.*object-store"):
        check_stores([*NODES, node(5, cpus=1, store_bytes=7e7)], 10_000_000)


def test_slots_follow_the_nodes(living: list[Node]) -> None:
    cluster = JoinedCluster(settings())
    assert cluster.num_slots(CPU_SLOTS) == 14
    living.append(node(5, cpus=2))
    assert cluster.num_slots(CPU_SLOTS) == 15
    del living[1:]
    assert cluster.num_slots(CPU_SLOTS) == 0


def test_no_more_gpus_are_used_than_were_asked_for(living: list[Node]) -> None:
    assert JoinedCluster(settings(gpus=6)).num_slots(GPU_SLOTS) == 5
    assert JoinedCluster(settings(gpus=2)).num_slots(GPU_SLOTS) == 4
    assert JoinedCluster(settings(gpus=2, workers=9)).num_slots(GPU_SLOTS) == 9
    assert JoinedCluster(settings(gpus=1, accelerator="A100")).num_slots(GPU_SLOTS) == 1


@pytest.mark.usefixtures("living")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gpus": 7}, r"--gpus 7: the cluster at 10\.0\.0\.1:6379 has 6 GPUs"),
        ({"gpus": 3, "accelerator": "H100"}, "--gpus 3: .* has 2 GPUs"),
        ({"gpus": 1, "accelerator": "T4"}, "--accelerator T4: .* has A100, CPU, H100"),
    ],
)
def test_what_the_cluster_lacks_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        JoinedCluster(settings(**values))


def test_without_a_node_for_trials_the_run_is_refused(living: list[Node]) -> None:
    del living[1:]
    with pytest.raises(UserError, match="no node has a CPU core for trials"):
        JoinedCluster(settings())


def test_each_kind_is_measured_once_and_used_by_kind(living: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "A100": (Engine(device="cuda", precision="bf16"), 0.25, 2),
        "H100": (Engine(device="cuda", precision="bf16", compile=True), 0.5, 4),
    }
    measured: list[str] = []

    def measure(self: JoinedCluster, one: Node, piece: object) -> Any:
        measured.append(one.kind)
        engine, share, cpus = found[one.kind]
        slots = Slots(num_concurrent=9, cpus_per_trial=cpus, gpus_per_trial=share, gpus=1)
        return Machine(engine=engine, slots=slots), {"engine": [{"step_ms": 1.0}], "packing": []}, ["little memory"]

    monkeypatch.setattr(JoinedCluster, "_measure", measure)
    cluster = JoinedCluster(settings(gpus=6))
    said: list[str] = []
    machine, rows, warnings = cluster.measured(PIECE, None, said.append)
    assert measured == ["A100", "H100"]
    assert [kind in line for kind, line in zip(measured, said, strict=True)] == [True, True]
    assert machine.engines == {kind: dataclasses.replace(found[kind][0], num_threads=2) for kind in found}
    # The share that both kinds bear; 3 trials on the A100s for lack of cores.
    assert machine.slots == Slots(num_concurrent=7, cpus_per_trial=2, gpus_per_trial=0.5, gpus=6)
    assert rows["engine"] == [{"kind": "A100", "step_ms": 1.0}, {"kind": "H100", "step_ms": 1.0}]
    assert warnings == ["A100: little memory", "H100: little memory"]
    living.append(node(5, cpus=8, gpus=1, kind="T4"))
    found["T4"] = (Engine(device="cuda"), 1.0, 4)
    again, _, _ = cluster.measured(PIECE, machine, said.append)
    assert measured == ["A100", "H100", "T4"], "what was measured before is kept"
    assert again.engines.keys() == found.keys()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ray_version": "2.59.0"}, r"^the cluster runs Ray 2\.59\.0, and this is Ray \S+\. Use the same\.$"),
        (
            {"python_version": "3.11.99"},
            r"^the cluster runs Python 3\.11\.99, and this is Python \S+\. Use the",
        ),
    ],
)
def test_other_versions_are_refused(changed: dict[str, str], message: str) -> None:
    same = {"ray_version": metadata.version("ray"), "python_version": platform.python_version()}
    assert version_problem(same) is None
    assert re.search(message, version_problem({**same, **changed}) or "")


def test_a_closed_port_is_refused() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    (line,) = cluster_problems(SearchSettings(run_name="run", cluster=address))
    assert f"{address} cannot be reached (Connection refused)" in line
    assert cluster_problems(SearchSettings(run_name="run")) == []


@pytest.mark.parametrize(
    ("text", "message"), [("ray://h:10001", "not an address of Ray Client"), ("h", "must be HOST:PORT, auto or local")]
)
def test_other_addresses_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SearchSettings(run_name="run", cluster=text)
    assert SearchSettings(run_name="run", cluster="local").cluster is None
