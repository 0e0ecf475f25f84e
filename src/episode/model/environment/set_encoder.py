"""The environment set encoder: a support set in, one environment embedding h_c out.

It sees detached Backbone outputs and, where known, labels; it knows neither the environment's name nor the queries.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from episode.config import EnvironmentConfig
from episode.model.attention import PooledSetAttention, SetAttention

__all__ = ["SetEncoder"]

KNOTS = 9
SPAN = 4.0


class SetEncoder(nn.Module):
    """Set Transformer over the pairs of a support set.

    Each pair enters as its representation (standardised by running statistics), a soft histogram of its standardised
    potential, and two label channels (known, value), zero where the label is hidden.

    Parameters
    ----------
    config : EnvironmentConfig
    representation_size : int
        Length of z_I.
    """

    mean: Tensor
    variance: Tensor
    observed: Tensor
    knot: Tensor

    def __init__(self, config: EnvironmentConfig, representation_size: int) -> None:
        super().__init__()
        width = config.width
        self.register_buffer("mean", torch.zeros(representation_size + 1))
        self.register_buffer("variance", torch.ones(representation_size + 1))
        self.register_buffer("observed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("knot", torch.linspace(-SPAN / 2, SPAN / 2, KNOTS), persistent=False)
        self.embed = nn.Linear(representation_size + 1 + KNOTS + 2, width)
        self.block = SetAttention(width, config.heads, config.inducing)
        self.pool = PooledSetAttention(width, config.heads)

    @torch.no_grad()
    def observe(self, representation: Tensor, potential: Tensor, *, decay: float = 0.98) -> None:
        """Update the running mean and variance of the inputs from pairs of training environments."""
        values = torch.cat([representation, potential[:, None]], dim=1).detach()
        decay = min(decay, float(self.observed) / (float(self.observed) + 1))
        self.mean.lerp_(values.mean(0), 1 - decay)
        self.variance.lerp_((values - self.mean).square().mean(0), 1 - decay)
        self.observed += 1

    def forward(self, representation: Tensor, potential: Tensor, label: Tensor) -> Tensor:
        """Embed one support set.

        Parameters
        ----------
        representation : Tensor, shape (n, size)
            z_I; detached here, whatever the caller did.
        potential : Tensor, shape (n,)
            U_I; detached here.
        label : Tensor, shape (n,), int
            1, 0, or -1 where hidden.

        Returns
        -------
        Tensor, shape (width,)
            h_c; does not depend on the order of the pairs.
        """
        values = torch.cat([representation, potential[:, None]], dim=1).detach()
        values = (values - self.mean) / (self.variance + 1e-3).sqrt()
        bumps = torch.sigmoid(4.0 * (values[:, -1:] - self.knot))
        known = (label >= 0).to(values.dtype)
        value = known * (2.0 * label.to(values.dtype) - 1.0)
        items = self.embed(torch.cat([values.clamp(-5, 5), bumps, known[:, None], value[:, None]], dim=1))
        return self.pool(self.block(items))
