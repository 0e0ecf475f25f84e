"""The Student: environment embedding in, impedances R_S out.

It never learns which cell line it looks at.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import softplus

from episode.config import EnvironmentConfig

__all__ = ["Student", "softplus_inverse"]


def softplus_inverse(value: float) -> float:
    """Return x with softplus(x) = value > 0."""
    return value + math.log(-math.expm1(-value))


class Student(nn.Module):
    """One linear layer and a softplus: everything nonlinear belongs to the set encoder."""

    def __init__(self, config: EnvironmentConfig, channels: int) -> None:
        super().__init__()
        self.head = nn.Linear(config.width, channels)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, softplus_inverse(config.initial_impedance))

    def forward(self, embedding: Tensor) -> Tensor:
        """Map h_c, shape (..., width), to R_S >= 0, shape (..., channels)."""
        return softplus(self.head(embedding))
