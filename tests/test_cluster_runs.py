"""Runs on a cluster whose nodes share nothing, against the same run on one machine."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster_runs import ONE_AT_A_TIME, PROGRAM, assert_same, finished, on_cluster, story_on_one_machine, trial_node
from faults import REPOSITORY, new_run, num_epochs, story, wait_until
from namespaces import Nodes, ray_nodes, why_not

from search import load_run

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


def nodes_of(run_dir: Path) -> list[str]:
    """On which nodes each epoch was trained."""
    epochs = load_run(run_dir).records
    workers = [metrics["worker"] for record in epochs for metrics in record.epoch_metrics.values()]
    return [worker.partition(":")[0] for worker in workers]


def search(nodes: Nodes, strike: Callable[[Path, subprocess.Popen[str]], None], *more: object) -> Path:
    """A search with the first node as its driver, which meets a fault after some epochs; the run's folder."""
    head = nodes.nodes[0]
    with on_cluster(head, *new_run(head.folder, *more)) as process:
        run_dir = head.folder / "results" / "tiny"
        wait_for_epochs(process, run_dir)
        strike(run_dir, process)
        finished(process)
    return run_dir


def wait_for_epochs(process: subprocess.Popen[str], run_dir: Path) -> None:
    """Until a run is in the middle of its search."""
    wait_until(lambda: num_epochs(run_dir) >= 5 or process.poll() is not None)
    assert process.poll() is None, process.communicate()[0]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return story_on_one_machine(tmp_path_factory.mktemp("alone"))


def test_a_cluster_without_a_shared_disk_gives_the_same_run(undisturbed: dict[str, Any]) -> None:
    kept: list[Path] = []
    with ray_nodes([0, 1, 1]) as nodes:
        run_dir = search(nodes, lambda run_dir, _process: kept.extend(run_dir.rglob("epoch-*")), *ONE_AT_A_TIME)
        assert kept, "checkpoints are in the driver's folder"
        assert set(nodes_of(run_dir)) <= {"node-2", "node-3"}
        assert not list(nodes.nodes[1].folder.rglob("epoch-*"))
        assert_same(story(run_dir), undisturbed)


@pytest.mark.parametrize("fault", ["killed", "cut off", "frozen"])
def test_a_trial_of_a_lost_node_goes_on_on_another(fault: str, undisturbed: dict[str, Any]) -> None:
    with ray_nodes([0, 1, 1]) as nodes:

        def strike(_run_dir: Path, _process: subprocess.Popen[str]) -> None:
            node = trial_node(nodes)
            if fault == "killed":
                node.kill()
            elif fault == "cut off":
                node.plug("down")
                time.sleep(90)
                node.plug("up")
            else:
                node.kill(signal.SIGSTOP)

        # No death of a worker is forgiven, but that of a node is none.
        run_dir = search(nodes, strike, *ONE_AT_A_TIME, "--max-failures", 0)
        assert set(nodes_of(run_dir)) == {"node-2", "node-3"}, "it never moved"
        assert_same(story(run_dir), undisturbed)


def test_a_node_that_joins_gets_trials() -> None:
    with ray_nodes([0, 1]) as nodes:

        def strike(_run_dir: Path, _process: subprocess.Popen[str]) -> None:
            nodes.add().start_ray("--num-cpus=1")

        run_dir = search(nodes, strike, "--trials", 60)
        assert set(nodes_of(run_dir)) == {"node-2", "node-3"}
        assert (load_run(run_dir).trials.status != "failed").all()


def test_another_node_goes_on_after_the_driver_was_killed(undisturbed: dict[str, Any]) -> None:
    with ray_nodes([0, 1, 1]) as nodes:
        head, _, third = nodes.nodes
        with on_cluster(head, *new_run(head.folder, *ONE_AT_A_TIME)) as process:
            run_dir = head.folder / "results" / "tiny"
            wait_for_epochs(process, run_dir)
            head.kill(text=PROGRAM)
        copy = third.folder / "results" / "tiny"
        shutil.copytree(run_dir, copy)
        third.run("umount", REPOSITORY / "search")
        third.run("umount", REPOSITORY / "model")
        with on_cluster(third, "--resume", "results/tiny") as process:
            finished(process)
        assert_same(story(copy), undisturbed)
