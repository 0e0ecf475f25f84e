"""Reading a support set: R_S from unlabelled pairs, and its spread over bootstrap supports.

Training's validation and prediction both call this; neither labels nor names come here.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from episode.model.backbone import PairOutput
from episode.model.energy import EnergySystem
from episode.threads import in_threads

__all__ = ["bootstrap_sd", "embed_support", "mean_impedance", "student_impedance"]


@torch.no_grad()
def embed_support(system: EnergySystem, support: PairOutput) -> Tensor:
    """h_c of a support set whose labels are all hidden, shape (width,)."""
    hidden = torch.full((len(support.potential),), -1, device=support.potential.device)
    embedding: Tensor = system.set_encoder(support.representation, support.potential, hidden)
    return embedding


@torch.no_grad()
def student_impedance(system: EnergySystem, support: PairOutput) -> Tensor:
    """R_S of a support set whose labels are all hidden, shape (channels,)."""
    impedance: Tensor = system.student(embed_support(system, support))
    return impedance


@torch.no_grad()
def mean_impedance(system: EnergySystem, impedance: Tensor, pairs: PairOutput) -> float:
    """Mean of R_E over pairs in an environment of impedances (channels,); with one channel that is the impedance."""
    return float(system.pair_impedance(impedance, system.exposure(pairs.representation)).mean())


def bootstrap_sd(
    system: EnergySystem,
    support: PairOutput,
    locus: np.ndarray,
    rng: np.random.Generator,
    *,
    replicates: int = 32,
) -> float:
    """Standard deviation of R_S over supports whose loci are drawn with replacement; 0 with a single locus.

    With a spectrum that of its mean over the pairs of the support set as it is.

    Parameters
    ----------
    system : EnergySystem
    support : PairOutput
        The support set, n pairs.
    locus : ndarray, shape (n,)
        Locus of each pair.
    rng : numpy.random.Generator
    replicates : int
        Supports drawn.
    """
    distinct, inverse = np.unique(locus, return_inverse=True)
    if len(distinct) < 2:
        return 0.0
    rows_of = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])

    def impedance(drawn: np.ndarray) -> float:
        replicate = support.take(np.concatenate([rows_of[i] for i in drawn]))
        return mean_impedance(system, student_impedance(system, replicate), support)

    draws = [rng.integers(len(distinct), size=len(distinct)) for _ in range(replicates)]
    return float(np.std(in_threads(impedance, draws), ddof=1))
