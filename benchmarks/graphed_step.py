"""A training's whole step, augmentation and optimizer included, as one CUDA graph."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from model.augment import Draws
from model.engine import synchronise
from model.training import Training

_WARM_UP_STEPS = 3


def graphed_epoch(training: Training) -> Callable[[], float]:
    """Returns a function that trains an epoch by replaying the graph of a step, and returns its images/s.

    The learning rate stays that of the first step. On a CPU, where there are no graphs, the step itself runs.
    """
    training.engine.apply()
    training.trained_network.train()
    batch_size = training.batch_size
    static = _packed(training, 1)[:, :batch_size].clone()

    def step() -> None:
        indices, *draws = static.unbind()
        training.train_step(indices, Draws(*draws))

    run_step = _captured(step) if training.engine.device_type == "cuda" else step
    epochs = iter(range(2, 10**9))

    def epoch() -> float:
        start = time.perf_counter()
        packed = _packed(training, next(epochs))
        for first in range(0, packed.shape[1], batch_size):
            static.copy_(packed[:, first : first + batch_size])
            run_step()
        synchronise(training.engine)
        return packed.shape[1] / (time.perf_counter() - start)

    return epoch


def _packed(training: Training, epoch: int) -> Tensor:
    """(6, images of an epoch): the order and the draws, so that a step's inputs take one copy."""
    order, draws = training.draw_epoch(epoch)
    return torch.stack([order, *vars(draws).values()])


def _captured(step: Callable[[], None]) -> Callable[[], None]:
    """The step's graph, captured after a warm-up on a stream of its own, as PyTorch's notes on CUDA graphs ask."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP_STEPS):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
