"""Runs of the program on the nodes of `namespaces`, and the same run on one machine."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faults import PATIENCE_S, REPOSITORY, new_run, started, story, wait_until
from namespaces import HEAD, Node, Nodes

ONE_AT_A_TIME = ("--workers", 1)
PROGRAM, WORKER = "tune_main.py", "ImplicitFunc.train"
"""In the command lines of the driver and of a worker that trains."""


@contextlib.contextmanager
def on_cluster(
    node: Node, *arguments: object, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The program on a node; its results are in the node's own folder."""
    words = (sys.executable, REPOSITORY / PROGRAM, *arguments, "--cluster", HEAD)
    command = node.command(*words, environment=environment)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        node.kill(text=PROGRAM)
        process.communicate()


def finished(process: subprocess.Popen[str]) -> None:
    """Waits until the program has ended well."""
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output


def story_on_one_machine(folder: Path) -> dict[str, Any]:
    """What the same run tells that nobody disturbs."""
    with started(folder, *new_run(folder)) as run:
        code, output = run.wait()
    assert code == 0, output
    return story(folder / "results" / "tiny")


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Trial by trial, so that a difference can be read."""
    for trial, expected in zip(one["trials"], other["trials"], strict=False):
        assert trial == expected
    assert one == other


def trial_node(nodes: Nodes) -> Node:
    """The node that trains: its worker has the name of Tune's actor."""
    found: list[Node] = []

    def look() -> bool:
        found[:] = [node for node in nodes.nodes if node.pids(WORKER)]
        return bool(found)

    wait_until(look)
    return found[0]
