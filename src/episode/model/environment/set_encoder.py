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
DECAY = 0.98


class SetEncoder(nn.Module):
    """Set Transformer over the pairs of a support set.

    Each pair enters as its representation (standardised by running statistics, weighted by squared reliability), a soft
    histogram of its standardised potential, and two label channels (known, value), zero where the label is hidden.

    The *reliability* of a channel is the correlation of its means in two support sets of one environment that share no
    locus, over training environments. A channel that differs between environments for a reason repeats itself in other
    loci; one that merely distinguishes one list of elements from another does not, and with few environments that is
    what a Student would memorise. No label and no gradient enters it.
    """

    mean: Tensor
    variance: Tensor
    observed: Tensor
    product: Tensor
    square: Tensor
    knot: Tensor

    def __init__(self, config: EnvironmentConfig, representation_size: int) -> None:
        super().__init__()
        width = config.width
        self.register_buffer("mean", torch.zeros(representation_size + 1))
        self.register_buffer("variance", torch.ones(representation_size + 1))
        self.register_buffer("observed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("product", torch.zeros(representation_size))
        self.register_buffer("square", torch.full((representation_size,), 1e-6))
        self.register_buffer("knot", torch.linspace(-SPAN / 2, SPAN / 2, KNOTS), persistent=False)
        self.embed = nn.Linear(representation_size + 1 + KNOTS + 2, width)
        self.block = SetAttention(width, config.heads, config.inducing)
        self.pool = PooledSetAttention(width, config.heads)

    @torch.no_grad()
    def observe(self, representation: Tensor, potential: Tensor) -> None:
        """Update the running mean and variance of the inputs from pairs of training environments."""
        values = torch.cat([representation, potential[:, None]], dim=1).detach()
        decay = min(DECAY, float(self.observed) / (float(self.observed) + 1))
        self.mean.lerp_(values.mean(0), 1 - decay)
        self.variance.lerp_((values - self.mean).square().mean(0), 1 - decay)
        self.observed += 1

    @torch.no_grad()
    def observe_halves(self, first: Tensor, second: Tensor, *, decay: float = 0.995) -> None:
        """Update the reliability from two support sets of one environment without a common locus.

        Parameters
        ----------
        first, second : Tensor, shapes (n, size) and (m, size)
            z_I of the pairs of each.
        """
        size = len(self.product)
        one, other = (half.detach().mean(0) - self.mean[:size] for half in (first, second))
        self.product.mul_(decay).add_(one * other, alpha=1 - decay)
        self.square.mul_(decay).add_((one.square() + other.square()) / 2, alpha=1 - decay)

    @torch.no_grad()
    def fit_inputs(self, mean: Tensor, variance: Tensor, first: Tensor, second: Tensor) -> None:
        """Set mean, variance and reliability at once, as measured on a Backbone that no longer moves.

        Parameters
        ----------
        mean, variance : Tensor, shape (size + 1,)
            Of z_I and U_I over training pairs.
        first, second : Tensor, shape (k, size)
            Means of z_I in k pairs of support sets; those of row i share an environment and no locus.
        """
        self.mean.copy_(mean)
        self.variance.copy_(variance)
        centre = (first.mean(0) + second.mean(0)) / 2
        self.product.copy_(((first - centre) * (second - centre)).mean(0))
        self.square.copy_(((first - centre).square() + (second - centre).square()).mean(0) / 2 + 1e-6)

    def reliability(self) -> Tensor:
        """Reliability of each channel of z_I, shape (size,), in [0, 1]."""
        return (self.product / self.square).clamp(0, 1)

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
        values = ((values - self.mean) / (self.variance + 1e-3).sqrt()).clamp(-5, 5)
        weighted = values[:, :-1] * self.reliability().square()
        bumps = torch.sigmoid(4.0 * (values[:, -1:] - self.knot))
        known = (label >= 0).to(values.dtype)
        value = known * (2.0 * label.to(values.dtype) - 1.0)
        items = self.embed(torch.cat([weighted, values[:, -1:], bumps, known[:, None], value[:, None]], dim=1))
        return self.pool(self.block(items))
