"""The final stage: T and one global offset of U_I by log-loss on validation environments, all else frozen.

IMMAX's minimiser is not a log-odds; two numbers bring it as near as the formula allows. The residual is reported.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from episode.checkpoint import Calibration
from episode.metrics.metrics import calibration_line, log_loss, oracle_impedance
from episode.train.validation import EnvironmentCheck

__all__ = ["calibrate"]

MIN_INVERSE_TEMPERATURE = 0.02


def calibrate(
    checks: list[EnvironmentCheck], temperature: float, *, held_out: frozenset[str] = frozenset()
) -> Calibration:
    """Fit T and the offset on held-out loci under R_S.

    Parameters
    ----------
    checks : list of EnvironmentCheck
        Made before calibration (offset 0).
    temperature : float
        T as trained; kept, with offset 0, where validation labels lack a class.
    held_out : frozenset of str
        Environments of `checks` that took no part in training.
    """
    gap = np.concatenate([check.ranked - check.student for check in checks]) if checks else np.zeros(0)
    label = np.concatenate([check.label for check in checks]) if checks else np.zeros(0)
    slope, offset = 1 / temperature, 0.0
    if len(np.unique(label)) == 2:
        slope, offset = _fit(gap.astype(np.float64), label.astype(np.float64), slope)
    fitted = 1 / slope
    errors: list[tuple[str, float]] = []
    for check in checks:
        oracle = oracle_impedance(check.ranked + offset, check.label, fitted)
        if oracle is not None:
            errors.append((check.name, check.student - oracle))
    groups = [[error for _, error in errors], [error for name, error in errors if name in held_out]]
    error = max((float(np.std(group, ddof=1)) for group in groups if len(group) > 1), default=fitted)
    logit = (gap + offset) / fitted
    judged = len(np.unique(label)) == 2
    line = calibration_line(label, logit) if judged else None
    return Calibration(
        temperature=fitted,
        offset=offset,
        log_loss=log_loss(label, logit) if judged else None,
        residual_slope=None if line is None else line.slope,
        impedance_error=max(error, 1e-3 * fitted),
        impedance_environments=len(errors),
        bootstrap_sd=float(np.sqrt(np.mean([check.spread**2 for check in checks]))) if checks else 0.0,
        pairs=len(label),
    )


def _fit(gap: np.ndarray, label: np.ndarray, slope: float) -> tuple[float, float]:
    """Minimise log-loss of ``slope * gap + intercept``; return the slope and intercept / slope."""
    sign = 2 * label - 1

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logit = parameters[0] * gap + parameters[1]
        pull = -sign * expit(-sign * logit)
        return float(np.logaddexp(0, -sign * logit).mean()), np.array([(pull * gap).mean(), pull.mean()])

    bounds = [(MIN_INVERSE_TEMPERATURE, None), (None, None)]
    result = minimize(loss, np.array([slope, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    return float(result.x[0]), float(result.x[1] / result.x[0])
