"""A trained network with everything around it that a user needs not to know: uint8 images in, probabilities out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.network import Network


class Classifier(nn.Module):
    """Images as they come from a file, uint8 (N, H, W, 3) RGB, to class probabilities, float32 (N, K), in float32.

    H and W are the side that the network was trained on. What it does to the pixels is part of it, so that it can be
    exported as one graph.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, network: Network, *, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        """Mean and standard deviation of the channels, in 0..1, are those of the images that the network saw."""
        super().__init__()
        self.network = network
        means, stds = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", (1 / (255 * stds)).float().view(3, 1, 1))
        self.register_buffer("offset", (-means / stds).float().view(3, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) to float32 (N, K); each row adds up to 1."""
        batch = images.permute(0, 3, 1, 2).float() * self.scale + self.offset
        logits: Tensor = self.network(batch)
        return logits.softmax(1)
