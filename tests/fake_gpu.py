"""A GPU that computes nothing: PyTorch's fake tensors have its device, and an operation over two devices raises."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.function import BackwardCFunction

from model.augment import _scale_and_offset


@contextmanager
def fake_gpu(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within the block every new tensor is fake. What a fake tensor cannot answer, such as a loss, is 1."""
    patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    patch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    patch.setattr(torch.cuda, "synchronize", lambda device: None)
    patch.setattr(Tensor, "item", lambda _: 1.0)
    patch.setattr(Tensor, "numpy", _ones)
    patch.setattr(Tensor, "pin_memory", _pinned)
    patch.setattr(nn.Module, "_apply", _apply)
    patch.setattr(torch.autograd, "backward", _backward)
    for name in ("_fused_sgd_", "_fused_adamw_"):
        patch.setattr(torch, name, _fused_step)
    _scale_and_offset.cache_clear()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        _scale_and_offset.cache_clear()


def _pinned(tensor: Tensor, *_: Any) -> Tensor:
    assert tensor.device.type == "cpu", "only memory of the CPU can be pinned"
    return tensor


def _ones(tensor: Tensor) -> NDArray[Any]:
    assert tensor.device.type == "cpu", "NumPy reads memory of the CPU only"
    return np.ones(tensor.shape, dtype=str(tensor.dtype).removeprefix("torch."))


def _apply(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """What `nn.Module.to` does; PyTorch's own cannot replace fake parameters."""
    for child in module.children():
        child._apply(change)  # type: ignore[no-untyped-call]
    for name, parameter in module._parameters.items():
        if parameter is not None:
            module._parameters[name] = nn.Parameter(change(parameter.detach()), parameter.requires_grad)
    for name, buffer in module._buffers.items():
        module._buffers[name] = None if buffer is None else change(buffer)
    return module


def _fused_step(parameters: list[Tensor], *lists: Any, **_: Any) -> None:
    """A CUDA kernel reads all its tensors on one device, and nothing checks that they are there."""
    for tensors in lists:
        assert [one.device for one in tensors] in ([], [one.device for one in parameters])


def _backward(loss: Tensor) -> None:
    """Calls the functions of the graph one by one; PyTorch's engine asks for the streams of a real GPU."""
    given: dict[Any, dict[int, Tensor]] = {loss.grad_fn: {0: torch.ones_like(loss)}}
    for node in _from_the_loss(loss.grad_fn):
        grads = given.pop(node)
        if hasattr(node, "variable"):
            node.variable.grad = grads[0] if node.variable.grad is None else node.variable.grad + grads[0]
            continue
        arguments = [grads.get(index) for index in range(len(node._input_metadata))]
        call: Callable[..., Any] = node.apply if isinstance(node, BackwardCFunction) else node
        results = call(*arguments)
        results = results if isinstance(results, tuple) else (results,)
        for (following, index), result in zip(node.next_functions, results, strict=True):
            if following is not None and result is not None:
                assert result.device == following._input_metadata[index].device, (node, result.device)
                into = given.setdefault(following, {})
                into[index] = into[index] + result if index in into else result


def _from_the_loss(first: Any) -> list[Any]:
    """Every function of the graph, each after all that feed it."""
    seen: set[Any] = set()
    backwards: list[Any] = []

    def visit(node: Any) -> None:
        if node is None or node in seen:
            return
        seen.add(node)
        for following, _ in node.next_functions:
            visit(following)
        backwards.append(node)

    visit(first)
    return backwards[::-1]
