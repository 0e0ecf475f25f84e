"""Prior shift: an environment resampled to another prevalence, and the impedance it then has.

This module does NOT know models.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["draw_prior", "log_odds", "resample_to_prior", "shifted_impedance"]

REACH = 1.5


def log_odds(prevalence: float) -> float:
    """Natural logarithm of the odds of a prevalence."""
    return math.log(prevalence / (1 - prevalence))


def shifted_impedance(impedance: float, temperature: float, prevalence: float, prior: float) -> float:
    """``R_ref = R_T + T (logit pi_c - logit pi)``: exact at alpha = 1/2, first order otherwise.

    Parameters
    ----------
    impedance, temperature : float
        R_T(c) and T, in the units of U_I.
    prevalence, prior : float
        pi_c and pi, in (0, 1).
    """
    return impedance + temperature * (log_odds(prevalence) - log_odds(prior))


def draw_prior(rng: np.random.Generator, impedance: float, temperature: float, prevalence: float) -> float:
    """Draw pi within `REACH` logits of pi_c, only where the shifted impedance is not negative."""
    centre = log_odds(prevalence)
    high = min(centre + REACH, centre + impedance / temperature)
    return float(1 / (1 + math.exp(-rng.uniform(centre - REACH, high))))


def resample_to_prior(rng: np.random.Generator, label: np.ndarray, prior: float) -> np.ndarray:
    """Drop rows of one class, at random, so that the prevalence becomes `prior`.

    Parameters
    ----------
    label : ndarray, shape (n,)
        1 or 0.

    Returns
    -------
    ndarray of int64
        Rows kept, in ascending order; as many as possible, at least one of each class present.
    """
    positive, negative = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    keep_positive = min(len(positive), round(len(negative) * prior / (1 - prior)))
    keep_negative = min(len(negative), round(len(positive) * (1 - prior) / prior))
    kept = [
        rng.choice(rows, size=min(len(rows), max(1, count)), replace=False)
        for rows, count in ((positive, keep_positive), (negative, keep_negative))
    ]
    return np.sort(np.concatenate(kept))
