"""A run on a cluster with its record on a server, of which everything but the head is killed at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_runs import (
    ONE_AT_A_TIME,
    PROGRAM,
    WORKER,
    assert_same,
    finished,
    on_cluster,
    story_on_one_machine,
    trial_node,
)
from faults import RESUME, new_run, story, wait_until
from namespaces import Nodes, ray_nodes, why_not
from postgres_server import MISSING, PASSWORD, Server, postgres_server

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]
NUM_KILLS = int(os.environ.get("FAULTS_KILLS", "10"))
SEEDS = [int(seed) for seed in os.environ.get("FAULTS_SEEDS", "1").split(",")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return story_on_one_machine(tmp_path_factory.mktemp("alone"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with postgres_server() as started:
        yield started


def num_epochs(server: Server) -> int:
    """In the record so far; 0 before there are tables."""
    if server.ask("SELECT to_regclass('trial_intermediate_values')") == [(None,)]:
        return 0
    return int(server.ask("SELECT count(*) FROM trial_intermediate_values")[0][0])


def kill(kind: str, nodes: Nodes, server: Server) -> None:
    """Whatever else is killed is started again; the driver has to be resumed."""
    if kind == "driver":
        nodes.nodes[0].kill(text=PROGRAM)
    elif kind == "database":
        server.stop(signal.SIGQUIT)
        server.start()
    elif kind == "worker":
        trial_node(nodes).kill(text=WORKER)
    else:
        node = trial_node(nodes)
        node.kill()
        node.start_ray("--num-cpus=1")


def strike(process: subprocess.Popen[str], kinds: list[str], delays: list[int], nodes: Nodes, server: Server) -> bool:
    """Kills one after another, each after so many more epochs; whether the driver was killed."""
    run_dir = nodes.nodes[0].folder / "results" / "tiny"
    wait_until(lambda: (run_dir / "run.toml").exists() or process.poll() is not None)
    while kinds:
        wanted = num_epochs(server) + delays.pop()
        wait_until(lambda wanted=wanted: num_epochs(server) >= wanted or process.poll() is not None)  # type: ignore[misc]
        assert process.poll() is None, process.communicate()[0]
        kind = kinds.pop()
        kill(kind, nodes, server)
        if kind == "driver":
            return True
    return False


@pytest.mark.parametrize("seed", SEEDS)
def test_many_random_kills_change_nothing(seed: int, server: Server, undisturbed: dict[str, Any]) -> None:
    chance = random.Random(seed)
    kinds = [chance.choice(["driver", "node", "worker", "database"]) for _ in range(NUM_KILLS)]
    # At once, while Ray starts or an epoch is being written, or an epoch later.
    delays = [chance.randint(0, 1) for _ in kinds]
    with ray_nodes([0, 1, 1]) as nodes:
        head = nodes.nodes[0]
        more = (*ONE_AT_A_TIME, "--max-failures", NUM_KILLS, "--storage", server.socket_url)
        arguments: list[object] = new_run(head.folder, *more)
        was_killed = True
        while was_killed:
            with on_cluster(head, *arguments, environment={"PGPASSWORD": PASSWORD}) as process:
                was_killed = strike(process, kinds, delays, nodes, server)
                if not was_killed:
                    finished(process)
            arguments = [*RESUME]
        assert_same(story(head.folder / "results" / "tiny"), undisturbed)
