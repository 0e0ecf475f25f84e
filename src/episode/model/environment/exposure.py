"""The exposure: pair representation in, weights of the environment's impedances out.

It reads sequences alone, through a detached z_I; it never learns in which environment a pair is asked about.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Exposure", "regular_simplex"]

REACH = 2.0
"""SD over pairs of the log-odds between two channels, where exposures start along measured directions."""


class Exposure(nn.Module):
    """``a(x) = softmax(W s(sg(z_I)) / sqrt(size))``, s the standardisation that the set encoder uses too.

    The root keeps a step of Adam, which moves every weight alike, from turning hundreds of channels of z_I at once. It
    starts even: every pair is exposed to all channels alike, and R_E is a scalar until training changes that. With one
    channel there is nothing to learn, no parameter, no random draw, and the exposure is exactly one.

    Parameters
    ----------
    channels : int
        K, at least 1.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, representation_size: int) -> None:
        super().__init__()
        self.channels = channels
        self.head: nn.Linear | None = None
        if channels > 1:
            self.head = nn.Linear(representation_size, channels)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
            self.register_buffer("mean", torch.zeros(representation_size))
            self.register_buffer("variance", torch.ones(representation_size))

    @torch.no_grad()
    def fit_inputs(self, mean: Tensor, variance: Tensor) -> None:
        """Set the statistics of z_I, each of shape (size,); nothing to do with one channel."""
        if self.head is not None:
            self.mean.copy_(mean)
            self.variance.copy_(variance)

    @torch.no_grad()
    def start_along(self, directions: Tensor) -> None:
        """Spread the channels over directions of z_I: each lies at its own corner of a regular simplex.

        Parameters
        ----------
        directions : Tensor, shape (K - 1, size)
            Of the standardised z_I, scaled to unit SD over pairs; a direction of zeros leaves channels alike along it.
        """
        if self.head is not None:
            corners = regular_simplex(self.channels).to(directions)
            size = directions.shape[1]
            self.head.weight.copy_(REACH * size**0.5 * corners @ directions)
            self.head.bias.zero_()

    def standardise(self, representation: Tensor) -> Tensor:
        """Centre and scale z_I, shape (n, size), by the statistics of `fit_inputs`; nothing to do with one channel."""
        if self.head is None:
            return representation
        return ((representation - self.mean) / (self.variance + 1e-3).sqrt()).clamp(-5, 5)

    def forward(self, representation: Tensor) -> Tensor:
        """Expose pairs.

        Parameters
        ----------
        representation : Tensor, shape (n, size)
            z_I; detached here, whatever the caller did.

        Returns
        -------
        Tensor, shape (n, K)
            Not negative; every row sums to 1.
        """
        if self.head is None:
            return representation.new_ones(len(representation), 1)
        values = self.standardise(representation.detach())
        exposure: Tensor = self.head(values / values.shape[1] ** 0.5).softmax(dim=1)
        return exposure


def regular_simplex(corners: int) -> Tensor:
    """Corners of a regular simplex at distance 1 from one another, centred on 0, shape (corners, corners - 1)."""
    centred = torch.eye(corners, dtype=torch.float64) - 1 / corners
    places = torch.linalg.svd(centred)[0][:, : corners - 1] / 2**0.5
    return places
