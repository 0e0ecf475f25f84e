"""The boundary gate: how strongly the sites of one factor face each other across a pair.

A loop of chromatin is held by convergent sites of the same factor (CTCF). What a network with thousands of inputs would
have to find in a few thousand pairs is built in here with some thirty parameters: all matrices of the factor read every
site together, an element has one occupancy by strand, and the pair head is the same seen from either side. This module
knows nothing of the other motifs, and nothing of environments.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from episode.model.kan import FourierKAN

__all__ = ["GateEncoder", "GateHead"]

SCALE = 3.5
"""Bits; brings what further matrices add to a site to a common size."""
STEEPNESS = 1.2
"""Bits within which a site goes from unoccupied to occupied, before training."""
REFERENCE = 10_000.0
"""Base pairs; an element of this length is not corrected for its length."""
PLACES = 4
CHANNELS = 7
CONVERGENT, START = 4, 0.3
"""Channel of the product of inward sites, and its weight before training."""


class GateEncoder(nn.Module):
    """Log expected number of sites that face the partner, and of sites that face away; never sees the partner.

    With s the scores of the factor's matrices in one bin on one strand, held at 0 bits, x the distance of the bin from
    the inner edge as a fraction of the element, and L its length,

        z = s_0 + sum_j w_j (s_j - c_j) / 3.5 + place(x)
        a = log sum_bins exp((z - theta) / tau) - gamma log(L / 10 kb),    out = softplus(a + 1).

    A longer element has better random sites; the last term corrects for it, so that lengths do not rank.

    Parameters
    ----------
    levels : Tensor, shape (2, matrices)
        Scores in bits: where theta starts (that of the first matrix is used), and the c_j.
    """

    centre: Tensor

    def __init__(self, levels: Tensor, bin: int) -> None:
        super().__init__()
        self.bin = bin
        self.threshold = nn.Parameter(levels[0, 0].clone().float())
        self.log_steepness = nn.Parameter(torch.tensor(math.log(STEEPNESS)))
        self.length = nn.Parameter(torch.tensor(1.0))
        self.partner = nn.Parameter(torch.zeros(levels.shape[1] - 1))
        self.place = nn.Parameter(torch.zeros(2, PLACES))
        self.register_buffer("centre", levels[1, 1:].clone().float())

    def forward(self, scores: Tensor, mask: Tensor, *, upstream: bool) -> Tensor:
        """Read elements in pair orientation.

        Parameters
        ----------
        scores : Tensor, shape (n, bins, 2, matrices)
            Bits; strands forward and reverse.
        mask : Tensor, shape (n, bins), bool
        upstream : bool
            The elements lie upstream of their partners: forward sites face the partner, else reverse ones do.

        Returns
        -------
        Tensor, shape (n, 2)
            Sites that face the partner, sites that face away; dimensionless.
        """
        site = scores.clamp(min=0)
        z = site[..., 0] + ((site[..., 1:] - self.centre) / SCALE) @ self.partner
        bins = mask.sum(1, keepdim=True)
        x = (torch.arange(mask.shape[1], device=mask.device) + 0.5) / bins
        x = 1 - x if upstream else x
        z = z if upstream else z.flip(2)
        basis = torch.stack([x, x * x, (math.pi * x).cos(), (2 * math.pi * x).cos()], dim=-1)
        z = (z + basis @ self.place.T - self.threshold) * torch.exp(-self.log_steepness)
        total = torch.logsumexp(z.masked_fill(~mask[..., None], -torch.inf), dim=1)
        return softplus(total - self.length * (bins * self.bin / REFERENCE).log() + 1)


class GateHead(nn.Module):
    """What the gate adds to U_I: the same function of (one, other) and (other, one), averaged.

    Parameters
    ----------
    inputs, frequencies : int
        Directions that the Fourier-KAN reads, and its terms.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, inputs: int, frequencies: int) -> None:
        super().__init__()
        self.linear = nn.Linear(CHANNELS, 1, bias=False)
        self.mix = nn.Linear(CHANNELS, inputs)
        self.energy = FourierKAN(inputs, 1, frequencies)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.weight[0, CONVERGENT] = START
            self.mix.weight.mul_(0.3)
            self.energy.linear.weight.mul_(0.1)
        self.register_buffer("mean", torch.ones(2))
        self.register_buffer("spread", torch.ones(2))

    @torch.no_grad()
    def standardise(self, presence: Tensor) -> None:
        """Take mean and SD of the inputs from elements of the training pairs, shape (n, 2); done once."""
        self.mean.copy_(presence.mean(0))
        self.spread.copy_(presence.std(0) + 1e-3)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Map the presences of both elements, each (n, 2), to (n,)."""
        first, second = (one - self.mean) / self.spread, (other - self.mean) / self.spread
        return (self._from(first, second) + self._from(second, first)) / 2

    def _from(self, near: Tensor, far: Tensor) -> Tensor:
        inward = torch.minimum(near[:, :1], far[:, :1])
        channels = torch.cat([near, far, near * far, inward], dim=1)
        value: Tensor = self.linear(channels) + self.energy(self.mix(channels))
        return value.squeeze(1)
