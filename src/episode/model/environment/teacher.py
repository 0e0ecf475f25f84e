"""The Teacher: the identity of a training environment in, impedances R_T out.

It is asked for training environments only; it never sees a pair.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from episode.config import EnvironmentConfig
from episode.model.environment.student import softplus_inverse

__all__ = ["Teacher"]


class Teacher(nn.Module):
    """``R_T(c) = head(e_c + sum_k A(e_c, mu_k) mu_k)`` with prototypes mu_k by moving average.

    Parameters
    ----------
    environments : int
        Number of training environments that the Teacher knows.
    channels : int
        Impedances of an environment.
    """

    prototype: Tensor
    visits: Tensor

    def __init__(self, config: EnvironmentConfig, environments: int, channels: int) -> None:
        super().__init__()
        self.decay = config.prototype_decay
        self.embedding = nn.Parameter(torch.zeros(environments, config.width))
        self.head = nn.Linear(config.width, channels)
        nn.init.constant_(self.head.bias, softplus_inverse(config.initial_impedance))
        self.register_buffer("prototype", torch.zeros(environments, config.prototypes, config.width))
        self.register_buffer("visits", torch.zeros(environments, config.prototypes, dtype=torch.int64))

    def forward(self) -> Tensor:
        """R_T of every training environment, shape (environments, channels), >= 0."""
        prototypes = self.prototype.flatten(0, 1)
        likeness = self.embedding @ prototypes.T / math.sqrt(prototypes.shape[1])
        weight = likeness.masked_fill(self.visits.flatten() == 0, -1e9).softmax(dim=1)
        return softplus(self.head(self.embedding + weight @ prototypes))

    @torch.no_grad()
    def reference(self, embedding: Tensor) -> Tensor:
        """Impedances that the prototype graph provides for an unknown environment, shape (channels,).

        Parameters
        ----------
        embedding : Tensor, shape (width,)
            h_c of the environment; detached.
        """
        impedance = self().repeat_interleave(self.prototype.shape[1], dim=0)
        distance = (self.prototype.flatten(0, 1) - embedding).square().sum(1)
        seen = self.visits.flatten() > 0
        if not bool(seen.any()):
            return impedance.mean(0)
        distance = distance.masked_fill(~seen, torch.inf)
        scale = distance[seen].median().clamp_min(1e-6) / 4
        weight = (-distance / scale).softmax(0)
        return torch.stack([weight @ channel for channel in impedance.T])

    @torch.no_grad()
    def observe(self, environment: int, embedding: Tensor) -> None:
        """Move the nearest prototype of a training environment towards its set embedding."""
        mine = self.prototype[environment]
        fresh = torch.nonzero(self.visits[environment] == 0)
        if len(fresh):
            slot = int(fresh[0])
            mine[slot] = embedding.detach()
        else:
            slot = int((mine - embedding.detach()).square().sum(1).argmin())
            mine[slot].lerp_(embedding.detach(), 1 - self.decay)
        self.visits[environment, slot] += 1
