"""A first convolution that whitens patches of the training images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.augment import normalise
from model.split_images import ImageTensors

_KERNEL_SIZE = 3
_EPS = 5e-4
"""Added to the variances. JPEG images have colour at half the resolution only, which leaves nine variances of 27 below
2e-3, where the whitened values would be noise."""
_NUM_IMAGES, _IMAGES_AT_ONCE = 2000, 250


class PatchWhitening(nn.Conv2d):
    """A 3x3 convolution whose fixed filters give uncorrelated outputs of variance 1; its bias is learned.

    Its filters are the `num_directions` principal directions of the images' patches, each with both signs (Page 2019,
    https://myrtle.ai/how-to-train-your-resnet-8-bag-of-tricks/, and Jordan 2024, arXiv 2404.00498). (N, C, H, W) to
    (N, 2 * num_directions, H, W). The filters are 0 until `fit`, and part of the state dict.
    """

    def __init__(self, in_channels: int, num_directions: int) -> None:
        """`num_directions` is 1..9 * in_channels."""
        super().__init__(in_channels, 2 * num_directions, _KERNEL_SIZE, padding=_KERNEL_SIZE // 2)
        nn.init.zeros_(self.weight).requires_grad_(False)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Compute the filters from normalised images (N, C, H, W), with H and W at least 3."""
        covariance = torch.zeros(self.weight[0].numel(), self.weight[0].numel(), dtype=torch.float64)
        for part in torch.split(images, _IMAGES_AT_ONCE):
            patches = nn.functional.unfold(part, _KERNEL_SIZE).double()
            covariance += (patches @ patches.transpose(1, 2)).mean(0) * (len(part) / len(images) / patches.shape[2])
        variances, directions = torch.linalg.eigh(covariance)
        half = self.out_channels // 2
        filters = (directions / (variances + _EPS).sqrt()).T.flip(0)[:half]
        # The sign of a direction is arbitrary; this makes it the same everywhere.
        largest = filters.gather(1, filters.abs().argmax(1, keepdim=True))
        filters = (filters * largest.sign()).view(half, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([filters, -filters]))


def fit_whitening(network: nn.Module, images: ImageTensors) -> None:
    """Fit the whitening layers of a network on the CPU, if any, to 2,000 images spread over the training split."""
    layers = [module for module in network.modules() if isinstance(module, PatchWhitening)]
    if not layers:
        return
    every = max(1, len(images.train_indices) // _NUM_IMAGES)
    chosen = images.images.index_select(0, images.train_indices[::every][:_NUM_IMAGES]).cpu()
    for layer in layers:
        layer.fit(normalise(chosen, mean=images.mean, std=images.std, dtype=torch.float32))
