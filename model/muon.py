"""Muon for convolutions: orthogonalised momentum, here beside AdamW for the parameters it does not suit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_MIN_SIDE = 32
"""Rows and columns of a kernel for Muon; AdamW suits thinner ones better (Jordan 2024, see `MuonWithAdamW`)."""


def muon_kernels(network: nn.Module) -> list[nn.Parameter]:
    """The learned kernels that Muon suits: of dense convolutions, but not the first or last layer, nor thin ones."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    grouped = {
        module.weight for module in network.modules() if isinstance(module, nn.Conv2d) and module.groups > 1
    }  # the filters of different groups have nothing in common
    return [
        weight
        for weight in weights[1:-1]
        if weight.ndim == 4
        and weight.requires_grad
        and weight not in grouped
        and min(len(weight), weight[0].numel()) >= _MIN_SIDE
    ]


class MuonWithAdamW(torch.optim.AdamW):
    """PyTorch's Muon on convolution kernels seen as matrices (out, in * k * k), and AdamW on everything else.

    Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/) replaces the momentum of a matrix by the nearest
    orthogonal one. After each step a kernel is scaled to the Frobenius norm of such a matrix, the root of its number of
    rows: a norm follows every kernel, so only its direction counts, and the learning rate is then the relative change.
    """

    def __init__(
        self,
        kernels: Sequence[nn.Parameter],
        others: Sequence[dict[str, Any]],
        *,
        muon_lr: float,
        adamw_lr: float,
        momentum: float,
    ) -> None:
        """`kernels`: at least one (O, I, k, k). `others`: AdamW's parameter groups. The first group is Muon's."""
        self._kernels = list(kernels)
        self._matrices = [nn.Parameter(_as_matrix(kernel, kernel.detach())) for kernel in self._kernels]
        self._muon = torch.optim.Muon(self._matrices, lr=muon_lr, weight_decay=0.0, momentum=momentum)
        super().__init__([*self._muon.param_groups, *others], lr=adamw_lr, fused=True)
        self._muon.state = self.state  # one state, so that a checkpoint holds both parts

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient; the kernels' are used up."""
        trained = [pair for pair in zip(self._kernels, self._matrices, strict=True) if pair[0].grad is not None]
        for kernel, matrix in trained:
            assert kernel.grad is not None
            matrix.grad, kernel.grad = _as_matrix(kernel, kernel.grad), None
        self._muon.step()  # type: ignore[no-untyped-call]
        for _, matrix in trained:
            matrix.grad = None  # hidden from AdamW
            matrix.mul_(math.sqrt(len(matrix)) / torch.linalg.vector_norm(matrix))
        super().step()


def _as_matrix(kernel: nn.Parameter, values: Tensor) -> Tensor:
    """(O, I, k, k) to (O, I * k * k), in the kernel's memory order: Muon treats all columns alike."""
    if kernel.is_contiguous(memory_format=torch.channels_last):
        values = values.permute(0, 2, 3, 1)
    return values.reshape(len(values), -1)
