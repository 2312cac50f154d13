"""The fastest engine on this machine, chosen by a short measurement."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

from model.builder import error_text
from model.engine import Engine, synchronise
from model.probe import SEED_PROBE, Probe
from model.shipped_modules import user_place

PRECISIONS = ("auto", "bf16", "fp32")
_PROBE_BATCH = {"cpu": 32, "cuda": 256, "mps": 256}
_PROBE_STEPS = {"cpu": 3, "cuda": 30, "mps": 20}
_PROBE_SECONDS = 0.5
_HOPELESS = 3.0
STEPS_PER_TRAINING = 5000
"""Optimizer steps assumed when weighing the cost of compilation."""


def choose_engine(
    device: str,
    *,
    num_threads: int,
    precision: str = "auto",
    steps_per_training: int = STEPS_PER_TRAINING,
    probe: Probe = SEED_PROBE,
    on_failure: Callable[[str], None] = lambda _line: None,
) -> tuple[Engine, list[dict[str, Any]]]:
    """The engine that trains the probe fastest here, and one dict per measured candidate (ms per step).

    Takes under 3 s on a CPU, where it measures one thread. precision="fp32" returns the plain path unmeasured.
    torch.compile is tried only on CUDA, because it was slower on CPUs, and chosen if it saves its compilation time
    within `steps_per_training` steps; 0 skips it. The chosen engine is applied. An engine that cannot train the probe
    here, for example bf16 on an old GPU, is left out; `on_failure` gets a line about it. ValueError for an unknown
    precision, the first error if no engine can train.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` must be one of {', '.join(PRECISIONS)}; got {precision!r}.")
    plain = Engine(device=device, num_threads=num_threads)
    if precision == "fp32":
        return plain, []
    fast = replace(plain, precision="bf16", channels_last=True)
    candidates = [plain, replace(plain, channels_last=True), fast]
    if precision == "bf16":
        candidates = [replace(fast, channels_last=False), fast]
    measured = _measure_each(candidates, probe, on_failure)
    if precision == "auto" and [engine for engine, _ in measured] == [plain]:  # it is the layout that fails
        with contextlib.suppress(Exception):
            measured += _measure_each([replace(fast, channels_last=False)], probe, on_failure)
    best, best_row = min(measured, key=lambda pair: float(pair[1]["step_ms"]))
    if best.device_type == "cuda" and steps_per_training:
        for compiled, row in _measure_compiled(best, probe, on_failure):
            measured.append((compiled, row))
            if row["step_ms"] * steps_per_training + row["setup_ms"] < best_row["step_ms"] * steps_per_training:
                best = compiled
    best.apply()
    return best, [row for _, row in measured]


def _measure_compiled(
    engine: Engine, probe: Probe, on_failure: Callable[[str], None]
) -> list[tuple[Engine, dict[str, Any]]]:
    """The engine with compilation and its measurement; none where that needs a C compiler or another card."""
    # Without the cache of an earlier run: no other network is in it.
    no_cache = torch.compiler.config.patch(force_disable_caches=True)  # type: ignore[attr-defined]
    with contextlib.suppress(Exception), no_cache:
        return _measure_each([replace(engine, compile=True)], probe, on_failure)
    return []


def _measure_each(
    candidates: Sequence[Engine], probe: Probe, on_failure: Callable[[str], None]
) -> list[tuple[Engine, dict[str, Any]]]:
    """The candidates that can train here, each with its measurement. If there is none, the error of the first."""
    measured: list[tuple[Engine, dict[str, Any]]] = []
    first_error: Exception | None = None
    for engine in candidates:
        fastest_ms = min((row["step_ms"] for _, row in measured), default=float("inf"))
        try:
            measured.append((engine, _measure(engine, probe, limit_ms=_HOPELESS * fastest_ms)))
        except Exception as error:
            on_failure(f"{engine.title}: {user_place(error)}{error_text(error)}")
            first_error = first_error or error.with_traceback(None)  # a traceback would keep the step's tensors
    if not measured and first_error is not None:
        raise first_error
    return measured


def measure_step(engine: Engine, probe: Probe = SEED_PROBE) -> dict[str, Any]:
    """Measure an engine that was chosen without a measurement; the same dict as in `choose_engine`."""
    row = _measure(engine, probe, limit_ms=float("inf"))
    engine.apply()
    return row


def _row(engine: Engine, step_ms: float, setup_ms: float, slowdown: float) -> dict[str, Any]:
    return {
        "device": engine.device,
        "precision": engine.precision,
        "channels_last": engine.channels_last,
        "compile": engine.compile,
        "batch_size": _PROBE_BATCH[engine.device_type],
        "step_ms": round(step_ms, 3),
        "setup_ms": round(setup_ms, 1),
        "slowdown": round(slowdown, 2),
    }


def _measure(engine: Engine, probe: Probe, *, limit_ms: float) -> dict[str, Any]:
    """Fastest and first step of the probe, forward and backward, in ms.

    On a CPU it stops after one step over limit_ms. A GPU's first step loads kernels and tries algorithms, which takes
    many times as long as a step. On a CPU the times are the computing time of one thread: by the wall clock, a busy
    machine would choose by chance and could lose half its speed for the whole run. `slowdown` is wall time over
    computing time.
    """
    is_cpu = engine.device_type == "cpu"
    replace(engine, num_threads=1 if is_cpu else engine.num_threads).apply()
    step = _probe_step(engine, probe, time.thread_time if is_cpu else time.perf_counter)
    first_ms, loss = step()
    if not loss.isfinite().item():
        raise ArithmeticError("the loss is not finite")
    if is_cpu and first_ms > limit_ms:
        return _row(engine, first_ms, first_ms, 1.0)
    start = time.perf_counter()
    steps_ms: list[float] = []
    while len(steps_ms) < _PROBE_STEPS[engine.device_type] and sum(steps_ms) < _PROBE_SECONDS * 1000:
        steps_ms.append(step()[0])
    slowdown = max(1.0, (time.perf_counter() - start) * 1000 / sum(steps_ms))
    return _row(engine, min(steps_ms), first_ms, slowdown)


def _probe_step(engine: Engine, probe: Probe, clock: Callable[[], float]) -> Callable[[], tuple[float, torch.Tensor]]:
    """A training step on random images, without an optimizer; it returns its time in ms and its loss."""
    with torch.random.fork_rng(devices=[]):
        network = probe.build(dict(probe.config), num_classes=probe.num_classes, image_size=probe.image_size)
    network.to(engine.device).to(memory_format=engine.memory_format)
    step_network = torch.compile(network) if engine.compile else network
    batch_size = _PROBE_BATCH[engine.device_type]
    images = torch.randn(batch_size, 3, probe.image_size, probe.image_size, generator=torch.Generator().manual_seed(0))
    images = images.to(engine.device, engine.dtype).to(memory_format=engine.memory_format)
    labels = torch.zeros(batch_size, dtype=torch.int64, device=engine.device)

    def step() -> tuple[float, torch.Tensor]:
        start = clock()
        with engine.autocast():
            logits = step_network(images)
        loss = functional.cross_entropy(logits.float(), labels)
        torch.autograd.backward(loss)
        network.zero_grad(set_to_none=True)
        synchronise(engine)
        return (clock() - start) * 1000, loss.detach()

    return step
