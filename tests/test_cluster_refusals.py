"""Clusters that a run cannot join: one line, exit code 2, before any work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import safetensors
from faults import REPOSITORY
from namespaces import HEAD, NETWORK, Node, Nodes, ray_nodes, why_not

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
OTHER_RAY = os.environ.get("OTHER_RAY")
WITHIN_S = 30 * float(os.environ.get("FAULTS_SLOWNESS", "1"))


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with ray_nodes([0, 1]) as made:
        yield made


def refused(node: Node, *more: object, environment: dict[str, str] | None = None) -> str:
    """The one line that a run ends with, perhaps after what it says of its images."""
    start = time.monotonic()
    program = (sys.executable, REPOSITORY / "tune_main.py", "--dataset", "digits", "--name", "refused")
    done = node.run(*program, *more, environment=environment)
    seconds = time.monotonic() - start
    assert done.returncode == 2, done.stdout
    *images, line = done.stdout.splitlines()
    assert not any("error" in one for one in images)
    assert seconds < WITHIN_S, line
    assert not (node.folder / "results" / "refused").exists()
    return line.removeprefix("tune_main.py: error: ")


def test_a_wrong_token_is_refused(nodes: Nodes) -> None:
    for environment in ({"RAY_AUTH_TOKEN": "wrong"}, {"RAY_AUTH_TOKEN": ""}, {"RAY_AUTH_MODE": ""}):
        line = refused(nodes.nodes[0], "--cluster", HEAD, environment=environment)
        assert "refuses this token, or there is none here" in line
        assert "RAY_AUTH_TOKEN" in line


def test_an_address_that_nobody_answers_is_refused(nodes: Nodes) -> None:
    for address in (f"{NETWORK}.99:6379", f"{NETWORK}.2:9"):
        assert f"{address} cannot be reached" in refused(nodes.nodes[0], "--cluster", address)


def test_too_few_gpus_are_refused(nodes: Nodes) -> None:
    assert "--gpus 2: the cluster at" in refused(nodes.nodes[0], "--cluster", HEAD, "--gpus", 2)


def test_a_node_that_lacks_a_package_is_refused(nodes: Nodes) -> None:
    package = Path(safetensors.__file__ or "").parent
    nodes.nodes[1].hide(package)
    try:
        line = refused(nodes.nodes[0], "--cluster", HEAD)
    finally:
        assert nodes.nodes[1].run("umount", package).returncode == 0
    assert (
        f"node {NETWORK}.2 cannot import a package" in line or f"node {NETWORK}.2 lacks the package safetensors" in line
    )


def test_a_machine_that_is_not_a_node_of_the_cluster_is_refused(nodes: Nodes) -> None:
    machine = nodes.add(has_code=True)
    without = "this machine is not a node of the cluster. Make it one with `ray start --address="
    assert without in refused(machine, "--cluster", HEAD)
    assert "no Ray node runs on this machine" in refused(machine, "--cluster", "auto")
    machine.start_ray(is_head=True)
    assert without in refused(machine, "--cluster", HEAD), "it is a node of another cluster"


@pytest.mark.skipif(OTHER_RAY is None, reason="OTHER_RAY: the `ray` of an environment with another version")
def test_a_cluster_of_another_version_is_refused(nodes: Nodes) -> None:
    assert OTHER_RAY is not None
    machine = nodes.add(has_code=True)
    machine.start_ray(ray=Path(OTHER_RAY), is_head=True)
    line = refused(machine, "--cluster", f"{NETWORK}.{machine.number}:6379")
    assert f"and this is Ray {metadata.version('ray')}. Use the same." in line
