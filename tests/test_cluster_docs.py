"""docs/cluster.md, followed by a new user of three machines. The environment is the one that runs the tests."""

from __future__ import annotations

import re
import shutil

import pytest
from faults import REPOSITORY
from namespaces import DISK, NETWORK, Node, namespaces, why_not

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
SHORT = "--trials 3 --epochs 2 --grace-period 1 --no-baseline"
"""What the user does not type."""


def typed(node: Node, text: str) -> str:
    """What the user sees."""
    own_settings = {"RAY_AUTH_MODE": "", "RAY_AUTH_TOKEN": "", "RAY_memory_monitor_refresh_ms": ""}
    done = node.run("bash", "-ec", f"cd {DISK}/convladder\n{text}", environment=own_settings)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_three_machines() -> None:
    text = (REPOSITORY / "docs" / "cluster.md").read_text().replace("10.0.0.1", f"{NETWORK}.1")
    section = text.partition("## Three machines")[2].partition("\n## ")[0]
    install, start, run = re.findall(r"```sh\n(.*?)\n```", section, re.DOTALL)
    settings = "\n".join(line for line in install.splitlines() if line.startswith("export "))
    first, others = start.splitlines()
    with namespaces(3) as nodes:
        for node in nodes.nodes:
            for folder in ("search", "model"):
                shutil.copytree(REPOSITORY / folder, node.folder / "convladder" / folder)
            shutil.copy(REPOSITORY / "tune_main.py", node.folder / "convladder")
            typed(node, f"{settings}\n{others if node.number > 1 else first}")
        output = typed(nodes.nodes[0], f"{settings}\n{run} {SHORT}")
        (run_dir,) = (nodes.nodes[0].folder / "convladder" / "results").iterdir()
        assert "test accuracy" in output
        assert {"report.html", "summary.md", "model.safetensors"} <= {path.name for path in run_dir.iterdir()}
