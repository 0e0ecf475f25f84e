"""The Opportunist: what shortcut statistics explain, on top of the Student's impedance.

It exists to expose shortcuts; its output is never used in a prediction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from episode.config import EnvironmentConfig

__all__ = ["SHORTCUTS", "Opportunist"]

SHORTCUTS = (
    "enhancer_gc",
    "promoter_gc",
    "enhancer_length",
    "promoter_length",
    "enhancer_n_fraction",
    "promoter_n_fraction",
    "distance",
    "enhancer_degree",
    "promoter_degree",
)
"""Shortcut statistics of a pair, in the order of the columns; lengths, distance and degrees enter as logarithms."""


class Opportunist(nn.Module):
    """``R_O(i) = sg(R_S(c)) + delta(s_i, h_c)`` with delta centred over the query.

    Centring leaves the level to the Student: pushing the Opportunist away cannot erase it from h_c.
    """

    def __init__(self, config: EnvironmentConfig) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(len(SHORTCUTS) + config.width, 32),
            nn.GELU(),
            nn.Linear(32, 32),
            nn.GELU(),
            nn.Linear(32, 1),
        )

    def forward(self, shortcuts: Tensor, embedding: Tensor) -> Tensor:
        """Return delta, shape (n,), of mean zero.

        Parameters
        ----------
        shortcuts : Tensor, shape (n, len(SHORTCUTS))
            Standardised shortcut statistics.
        embedding : Tensor, shape (width,)
            h_c.
        """
        context = embedding.expand(len(shortcuts), -1)
        delta = self.net(torch.cat([shortcuts, context], dim=1)).squeeze(1)
        return delta - delta.mean()
