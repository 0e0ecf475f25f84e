"""The task loss: imbalanced-margin logistic loss (IMMAX) on logits.

This module does NOT know how the logit was made, nor environments.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["alpha_from_counts", "immax_loss", "immax_terms"]


def alpha_from_counts(positives: float, negatives: float) -> float:
    """Return alpha = m+^(1/3) / (m+^(1/3) + m-^(1/3)), the value that the IMMAX bound suggests.

    Raises
    ------
    ValueError
        If either class is empty.
    """
    if positives <= 0 or negatives <= 0:
        raise ValueError(f"alpha needs both classes, got {positives} positives and {negatives} negatives")
    up, down = positives ** (1 / 3), negatives ** (1 / 3)
    return up / (up + down)


def immax_terms(logit: Tensor, label: Tensor, *, alpha: Tensor | float) -> Tensor:
    """Per-pair terms of `immax_loss`, shape (n,), in nats."""
    if logit.shape != label.shape or logit.ndim != 1:
        raise ValueError(f"logit and label need one shape (n,), got {tuple(logit.shape)}, {tuple(label.shape)}")
    if logit.numel() == 0:
        raise ValueError("an empty task has no loss")
    if label.dtype != torch.bool:
        raise ValueError(f"label needs dtype bool, got {label.dtype}")
    alpha = torch.as_tensor(alpha, dtype=logit.dtype, device=logit.device)
    if not bool((alpha > 0) & (alpha < 1)):
        raise ValueError(f"alpha must lie in (0, 1), got {float(alpha)}")
    return torch.where(label, softplus(-logit * 2 * (1 - alpha)), softplus(logit * 2 * alpha))


def immax_loss(logit: Tensor, label: Tensor, *, alpha: Tensor | float) -> Tensor:
    """Imbalanced-margin logistic loss of one task.

    Makes U_I more real: it is the only supervision that the ranking receives.

    Parameters
    ----------
    logit : Tensor, shape (n_query,), float
        ``(U_I - R_E) / T``, dimensionless.
    label : Tensor, shape (n_query,), bool
        True where the pair interacts.
    alpha : float or Tensor, shape ()
        Fraction of the margin given to positives, in (0, 1); 0.5 is plain log-loss.

    Returns
    -------
    Tensor, shape ()
        Mean loss in nats.

    Raises
    ------
    ValueError
        If shapes differ, the task is empty, or ``alpha`` is outside (0, 1).

    References
    ----------
    Cortes, Mao, Mohri, Zhong. Balancing the Scales. ICML 2025, arXiv:2502.10381.
    """
    return immax_terms(logit, label, alpha=alpha).mean()
