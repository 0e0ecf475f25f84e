"""Reading a support set: R_S from unlabelled pairs, and its standard deviation over bootstrap supports.

The validation of training and prediction both call this. This module does NOT know labels, nor names of environments.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from episode.model.backbone import PairOutput
from episode.model.energy import EnergySystem
from episode.threads import in_threads, torch_threads

__all__ = ["bootstrap_sd", "embed_support", "mean_impedance", "student_impedance"]

REPLICATES = 32
"""Bootstrap supports that are drawn."""


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
def mean_impedance(system: EnergySystem, impedance: Tensor, exposure: Tensor) -> float:
    """Mean of R_E over pairs of exposures (n, channels) in an environment of impedances (channels,).

    With one channel that is the impedance.
    """
    return float(system.pair_impedance(impedance, exposure).mean())


@torch.no_grad()
def bootstrap_sd(system: EnergySystem, support: PairOutput, locus: np.ndarray, rng: np.random.Generator) -> float:
    """Standard deviation of R_S over supports whose loci are drawn with replacement; 0 with a single locus.

    With a spectrum, that of the mean R_S over the pairs of the original support set.

    Parameters
    ----------
    support : PairOutput
        The support set, n pairs.
    locus : ndarray, shape (n,)
        Locus of each pair.
    """
    distinct, inverse = np.unique(locus, return_inverse=True)
    if len(distinct) < 2:
        return 0.0
    with torch_threads(1):  # as in the threads below, so that bits do not depend on their number
        exposure = system.exposure(support.representation)
    rows_of = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])

    def impedance(drawn: np.ndarray) -> float:
        replicate = support.take(np.concatenate([rows_of[i] for i in drawn]))
        return mean_impedance(system, student_impedance(system, replicate), exposure)

    draws = [rng.integers(len(distinct), size=len(distinct)) for _ in range(REPLICATES)]
    return float(np.std(in_threads(impedance, draws), ddof=1))
