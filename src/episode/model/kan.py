"""Fourier Kolmogorov-Arnold layer: every edge carries its own truncated Fourier series.

This module does NOT know enhancers, promoters or energy.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["FourierKAN"]


class FourierKAN(nn.Module):
    """``y_j = b_j + sum_i [ w_ji x_i + sum_k a_jik cos(k x_i) + c_jik sin(k x_i) ]``.

    The linear part keeps the function monotone far from the data, where a Fourier series alone would come back.

    Parameters
    ----------
    frequencies : int
        Highest k; higher ones start smaller (1/k), so that the function starts smooth.
    """

    frequency: Tensor

    def __init__(self, inputs: int, outputs: int, frequencies: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        k = torch.arange(1, frequencies + 1, dtype=torch.float32)
        self.register_buffer("frequency", k, persistent=False)
        scale = 0.1 / math.sqrt(inputs * frequencies) / k
        self.coefficient = nn.Parameter(torch.randn(outputs, inputs, 2, frequencies) * scale)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs) to (n, outputs)."""
        angle = x.unsqueeze(-1) * self.frequency
        waves = torch.stack([angle.cos(), angle.sin()], dim=-2).flatten(1)
        return self.linear(x) + waves @ self.coefficient.flatten(1).T
