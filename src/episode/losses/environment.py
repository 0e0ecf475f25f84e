"""Losses on the impedance, and the hinge that holds mean and standard deviation of U_I.

Pure functions. Which of them may move which part is given in `episode.train.gradient_table`, not here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, relu

from episode.losses.immax import immax_loss

__all__ = [
    "distillation_loss",
    "motif_sparsity_loss",
    "opportunist_loss",
    "orthogonality_loss",
    "potential_hinge",
    "pull_in_loss",
    "push_away_loss",
    "sparsity_loss",
]


def potential_hinge(
    potential: Tensor, temperature: Tensor, *, level: float, mean_weight: float, variance_weight: float
) -> Tensor:
    """Hold the mean of U_I within T of `level` x T, and its standard deviation within 0.5 T and 4 T.

    Makes R_E more real: it fixes the gauge, so that an environment easier than every training one still has R_E > 0.

    Parameters
    ----------
    potential : Tensor, shape (n,)
        U_I of query pairs.
    temperature : Tensor, shape ()
        T; detached here.
    level : float
        Wanted mean of U_I / T.
    """
    scaled = potential / temperature.detach()
    mean = relu((scaled.mean() - level).abs() - 0.25).square()
    sd = scaled.std()
    return mean_weight * mean + variance_weight * (relu(sd - 4.0) + relu(0.5 - sd)).square()


def motif_sparsity_loss(norms: Tensor) -> Tensor:
    """Sum of the norms of the motif weights (group lasso): makes U_I more real by letting few motifs act.

    Hundreds of motifs meet by chance in some training elements; the penalty keeps such meetings out of the potential.

    Parameters
    ----------
    norms : Tensor, shape (groups,)
        Norm of the weights that leave each motif, strand and element kind.

    References
    ----------
    Yuan, Lin. Model selection and estimation in regression with grouped variables. J. R. Stat. Soc. B 2006.
    """
    return norms.sum()


def distillation_loss(student: Tensor, reference: Tensor) -> Tensor:
    """``(R_S - sg(R_ref))^2``: makes R_S more real by showing it what identity or mixture says of the environment.

    With a spectrum the mean over channels: a pair of even exposure is then off by no more than with one channel.
    """
    return (student - reference.detach()).square().mean()


def pull_in_loss(
    potential: Tensor, student: Tensor, temperature: Tensor, label: Tensor, *, alpha: Tensor | float, weight: float
) -> Tensor:
    """``w_c L(sg(U_I), R_S, sg(T))``: makes R_S more real where it misses a baseline that it could have reached."""
    logit = (potential.detach() - student) / temperature.detach()
    return weight * immax_loss(logit, label, alpha=alpha)


def opportunist_loss(
    potential: Tensor, student: Tensor, delta: Tensor, temperature: Tensor, label: Tensor, *, alpha: Tensor | float
) -> Tensor:
    """The Opportunist's own task loss: makes R_E more real by measuring what shortcuts alone would add to it."""
    logit = (potential.detach() - student.detach() - delta) / temperature.detach()
    return immax_loss(logit, label, alpha=alpha)


def push_away_loss(own_loss: Tensor, *, weight: float) -> Tensor:
    """Reversed Opportunist loss: makes R_E more real by taking from h_c what only serves a shortcut."""
    return -weight * own_loss


def sparsity_loss(impedance: Tensor, mean: Tensor) -> Tensor:
    """``|R_E - sg(mean R_E)|``: makes R_E more real by keeping it from over-compensating on thin evidence.

    With a spectrum every channel is held to the mean of all of them, over all environments: a lasting difference
    between channels is a ranking that all environments share, and that belongs to U_I.
    """
    return (impedance - mean.detach()).abs().mean()


def orthogonality_loss(representation: Tensor, embedding: Tensor) -> Tensor:
    """Squared cosine of sg(mean z_I) and h_c, linear in both: makes R_E more real by not letting it restate U_I.

    The longer of the two is compared on its leading coordinates, folded to the length of the shorter.

    Parameters
    ----------
    representation : Tensor, shape (n, size)
        z_I of the support; detached here.
    embedding : Tensor, shape (width,)
        h_c.
    """
    mean = representation.detach().mean(0)
    width = len(embedding)
    padding = (-len(mean)) % width
    folded = torch.nn.functional.pad(mean, (0, padding)).reshape(-1, width).mean(0)
    return cosine_similarity(folded, embedding, dim=0).square()
