"""A trained network with its preprocessing: uint8 images in, probabilities out."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """uint8 RGB images (N, H, W, 3) to class probabilities, float32 (N, K), computed in float32.

    H and W are the image size the network was trained on. The module normalises the pixels itself, so it can be
    exported as one graph.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self, network: nn.Module, *, mean: tuple[float, float, float], std: tuple[float, float, float]
    ) -> None:
        """`mean` and `std` per channel, in 0..1, of the images the network was trained on."""
        super().__init__()
        self.network = network
        means, stds = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", (1 / (255 * stds)).float().view(3, 1, 1))
        self.register_buffer("offset", (-means / stds).float().view(3, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) to float32 (N, K); each row sums to 1."""
        batch = images.permute(0, 3, 1, 2).float() * self.scale + self.offset
        logits: Tensor = self.network(batch)
        return logits.softmax(1)
