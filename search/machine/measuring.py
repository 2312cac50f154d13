"""Processes that measure this machine, so that whatever they need or break on it ends with them."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import model

Ask = Callable[[int, dict[str, Any], float], list[dict[str, Any]]]
"""(number of processes, request to `model.throughput`, deadline by time.monotonic()) -> the answer of each."""


@contextlib.contextmanager
def measuring_processes(num_started: int = 0) -> Iterator[Ask]:
    """Yields the function that sends one request to several processes at once and returns their answers.

    `num_started` processes start at once, others when first needed. One that dies, usually of too little memory, or is
    silent until the deadline answers with an "error"; the next request replaces it.
    """
    processes = [_start_process() for _ in range(num_started)]

    def ask(num_processes: int, request: dict[str, Any], deadline: float) -> list[dict[str, Any]]:
        processes[:] = [_start_process() if process.poll() is not None else process for process in processes]
        processes.extend(_start_process() for _ in range(num_processes - len(processes)))
        return _ask(processes[:num_processes], request, deadline)

    try:
        yield ask
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _start_process() -> subprocess.Popen[str]:
    root = str(Path(model.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "model.throughput"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def _ask(processes: Sequence[subprocess.Popen[str]], request: dict[str, Any], deadline: float) -> list[dict[str, Any]]:
    for process in processes:
        with contextlib.suppress(BrokenPipeError):
            assert process.stdin is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
    answers: list[dict[str, Any]] = []
    for process in processes:
        assert process.stdout is not None
        patience_s = None if math.isinf(deadline) else max(0.0, deadline - time.monotonic())
        is_ready, _, _ = select.select([process.stdout], [], [], patience_s)
        if not is_ready:
            process.kill()
        line = process.stdout.readline() if is_ready else ""
        answers.append(json.loads(line) if line else {"error": "the measuring process died or ran out of time"})
    return answers
