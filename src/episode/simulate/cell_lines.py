"""Cell lines: their impedance and the factors behind it.

The mathematics is in docs/simulator.md. This module does NOT know elements or pairs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtri

from episode.simulate.config import WorldConfig
from episode.simulate.elements import channel_names

__all__ = ["draw_environments", "draw_spectrum"]

LOWEST_DEVIATION = -2.8
"""Clip of the impedance deviation; with a mean impedance of 3 T it keeps R_E positive."""


def draw_environments(config: WorldConfig, kappa: float, role: str, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw `n` cell lines of one role.

    Parameters
    ----------
    kappa : float
        Fraction of the deviation that is label shift.
    role : str
        "train" or "unseen", the stem of the names.

    Returns
    -------
    DataFrame
        cell_line, role, deviation (standardised impedance), impedance, temperature, trace_factor,
        nuisance_factor, label_shift, concept_shift (the parts of the impedance deviation, units of U_I).
    """
    deviation = np.maximum(_quantiles(n, rng), LOWEST_DEVIATION)
    trace = _trace_factor(config, deviation, rng)
    temperature = config.temperature
    return pd.DataFrame(
        {
            "cell_line": _line_names(role, n),
            "role": role,
            "deviation": deviation,
            "impedance": temperature * (config.impedance_mean + deviation),
            "temperature": temperature,
            "trace_factor": trace,
            "nuisance_factor": _quantiles(n, rng),
            "label_shift": kappa * temperature * deviation,
            "concept_shift": (1 - kappa) * temperature * deviation,
        }
    )


def draw_spectrum(
    config: WorldConfig, channels: int, deviation_sd: float, role: str, n: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw `n` cell lines of one role with several impedances each; deviations are uncorrelated over channels.

    Returns
    -------
    DataFrame
        cell_line, role, temperature, nuisance_factor, impedance (mean over channels), and for each channel k
        deviation_k, impedance_k and trace_factor_k.
    """
    deviations: list[np.ndarray] = []
    columns: dict[str, np.ndarray] = {}
    for k in range(channels):
        drawn = _quantiles(n, rng)
        for other in deviations:
            drawn = _uncorrelated(drawn, other)
        deviations.append(drawn)
        value = np.maximum(deviation_sd * drawn, LOWEST_DEVIATION)
        columns[f"deviation_{k + 1}"] = value
        columns[f"impedance_{k + 1}"] = config.temperature * (config.impedance_mean + value)
        columns[f"trace_factor_{k + 1}"] = _trace_factor(config, drawn, rng)
    names = channel_names("impedance", channels)
    return pd.DataFrame(
        {
            "cell_line": _line_names(role, n),
            "role": role,
            "impedance": np.mean([columns[name] for name in names], axis=0),
            "temperature": config.temperature,
            "nuisance_factor": _quantiles(n, rng),
            **columns,
        }
    )


def _trace_factor(config: WorldConfig, deviation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a factor that the deviation explains by `WorldConfig.trace_share`."""
    noise = _uncorrelated(_quantiles(len(deviation), rng), deviation)
    return np.sqrt(config.trace_share) * deviation + np.sqrt(1 - config.trace_share) * noise


def _line_names(role: str, n: int) -> list[str]:
    width = max(2, len(str(n)))
    return [f"{role}{i + 1:0{width}d}" for i in range(n)]


def _quantiles(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `n` standard normal values, one from each of `n` equal strata, in random order."""
    return ndtri((rng.permutation(n) + 0.5 + rng.uniform(-0.4, 0.4, n)) / n)


def _uncorrelated(values: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Take from `values` what `other` explains linearly, keeping their SD; leave fewer than 3 alone."""
    if len(values) < 3:
        return values
    centred = other - other.mean()
    rest = values - values.mean() - centred * (centred @ values) / (centred @ centred)
    return rest * values.std() / rest.std()
