"""The potential of a run: that of its one member, or the mean over the members of a cross-fitted run.

Members have units of their own; standardised they have one: log-odds at the impedance that fits what a member learned
from. This module does NOT know environments, nor how members came about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from episode.encode.store import ElementStore
from episode.inference.element_cache import ElementCache
from episode.inference.pairs import PairRows
from episode.inference.scoring import score_rows
from episode.model.backbone import PairOutput
from episode.model.energy import EnergySystem

__all__ = ["Member", "Source", "member_caches", "score_members"]

Source = ElementStore | ElementCache
"""What a member scores pairs from: the encoded elements, or its codes of them."""


@dataclass(frozen=True)
class Member:
    """One trained system, and the units of its potential.

    Parameters
    ----------
    level, temperature : float
        The standardised potential is ``(U_I - level) / temperature``.
    environments : tuple of str
        Known to its Teacher, in the order of its table.
    """

    system: EnergySystem
    level: float
    temperature: float
    environments: tuple[str, ...]

    def standardised(self, potential: Tensor) -> Tensor:
        """Turn U_I, without offset, into units that all members share."""
        return (potential - self.level) / self.temperature


def member_caches(members: Sequence[Member], store: ElementStore, folder: Path | None = None) -> list[ElementCache]:
    """Make a cache of element codes for each member; see `ElementCache`."""
    return [ElementCache(member.system.backbone, store, folder, share=len(members)) for member in members]


def score_members(
    members: Sequence[Member], sources: Sequence[Source], rows: PairRows, *, block: int
) -> tuple[np.ndarray, PairOutput]:
    """Score pairs by every member.

    Parameters
    ----------
    sources : sequence of ElementStore or ElementCache
        One for each member.
    block : int
        See `episode.inference.scoring.score_rows`.

    Returns
    -------
    potential : ndarray, shape (n,), float64
        Mean standardised potential.
    output : PairOutput
        Of the first member.
    """
    outputs = [
        score_rows(member.system.backbone, source, rows, block=block)
        for member, source in zip(members, sources, strict=True)
    ]
    standardised = [
        member.standardised(output.potential).double().cpu().numpy()
        for member, output in zip(members, outputs, strict=True)
    ]
    return np.mean(standardised, axis=0), outputs[0]
