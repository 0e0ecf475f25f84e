"""The final stage: T and one global offset of U_I by log-loss on held-out loci (`Roles.calibration`), under R_S.

IMMAX's minimiser is not a log-odds; two numbers bring it as near as the formula allows. The residual is reported.
"""

from __future__ import annotations

import numpy as np

from episode.checkpoint import Calibration
from episode.metrics.metrics import calibration_line, fit_logistic, log_loss, oracle_impedance
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
        line = fit_logistic(
            gap.astype(np.float64), label.astype(np.float64), start=(slope, 0.0), min_slope=MIN_INVERSE_TEMPERATURE
        )
        slope, offset = line.slope, line.intercept / line.slope
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
    recalibration = calibration_line(label, logit) if judged else None
    return Calibration(
        temperature=fitted,
        trained_temperature=temperature,
        offset=offset,
        log_loss=log_loss(label, logit) if judged else None,
        residual_slope=None if recalibration is None else recalibration.slope,
        impedance_error=max(error, 1e-3 * fitted),
        impedance_environments=len(errors),
        bootstrap_sd=float(np.sqrt(np.mean([check.spread**2 for check in checks]))) if checks else 0.0,
        pairs=len(label),
    )
