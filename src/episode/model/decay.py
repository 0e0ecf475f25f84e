"""Contact decay: what the distance between two elements adds to their potential, where coordinates are known.

Two elements on one chromosome meet less often the further apart they lie, roughly as a power law of the distance
(log-log slope near -1; Lieberman-Aiden et al. 2009), which bends. This module knows nothing of sequences and nothing of
environments.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = ["ContactDecay"]

SLOPES = (0.2, 0.05)
"""What each power law takes from U_I for a factor e of distance, before training: gentle, sequence first."""
KNEES = (20_000.0, 500_000.0)
"""Base pairs from which each falls, before training."""
REFERENCE = 100_000.0
"""Base pairs; where the term is 0, until it is measured."""


class ContactDecay(nn.Module):
    """A broken power law, level up to each knee and falling beyond it; never rising, whatever its parameters.

    With d the distance and d_0 the reference, both in bp, and positive slopes s_j = softplus(a_j) and knees k_j,

        D(d) = -sum_j s_j [ ln(1 + d / k_j) - ln(1 + d_0 / k_j) ],

    four parameters. D(d_0) = 0, and a pair of unknown distance gets 0, so it stands level with a pair at the reference.

    References
    ----------
    Lieberman-Aiden et al. Comprehensive mapping of long-range interactions reveals folding principles of the human
    genome. Science 326 (2009).
    """

    log_reference: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(SLOPES).expm1().log())
        self.log_knee = nn.Parameter(torch.tensor(KNEES).log())
        self.register_buffer("log_reference", torch.tensor(REFERENCE).log())

    @torch.no_grad()
    def measure(self, distance: Tensor) -> None:
        """Take the reference, a geometric mean, from the distances of the training pairs, shape (n,), bp; done once.

        Raises
        ------
        ValueError
            If none of them is known.
        """
        known = distance[~distance.isnan()]
        if not len(known):
            raise ValueError("no pair has a known distance")
        self.log_reference.copy_(_log(known).mean())

    def forward(self, distance: Tensor) -> Tensor:
        """Map distances (n,) in bp, NaN where unknown, to what they add to U_I (n,)."""
        logs = torch.where(distance.isnan(), self.log_reference, _log(distance).float())
        fallen = softplus(logs[:, None] - self.log_knee) - softplus(self.log_reference - self.log_knee)
        return -(fallen * softplus(self.slope)).sum(1)


def _log(distance: Tensor) -> Tensor:
    """Natural logarithm of distances in bp; below 1 bp they count as 1."""
    return distance.clamp(min=1).log()
