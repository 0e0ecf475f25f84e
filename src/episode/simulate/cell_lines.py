"""Cell lines: their impedance, the factors behind it, the pairs they are asked about, and the labels.

The mathematics is in docs/simulator.md. This module does NOT know motifs or DNA: it sees burdens and potentials.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtri

from episode.errors import ConfigError
from episode.simulate.config import SetConfig, WorldConfig
from episode.simulate.elements import Universe, channel_names

__all__ = ["draw_environments", "draw_pairs", "draw_spectrum"]

LOWEST_DEVIATION = -2.8
"""Clip of the impedance deviation; with a mean impedance of 3 T it keeps R_E positive."""

GROWTH = 1.25
"""Factor by which the active fraction grows where a cell line's candidates do not suffice."""


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


def draw_pairs(
    config: WorldConfig,
    universe: Universe,
    potential: np.ndarray,
    impedance: np.ndarray,
    line: pd.Series,
    prior: float,
    part: str,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the pairs of one cell line on one set of chromosomes, and their labels.

    Parameters
    ----------
    potential, impedance : ndarray, shape (n_pairs_of_universe,)
        True U_I, and R_E in this cell line.
    line : Series
        A row of `draw_environments` or `draw_spectrum`.
    prior : float
        Prevalence of the reference environment (mean impedance) over the universe.
    part : str
        Name of the chromosome set.

    Returns
    -------
    rows : ndarray, shape (n,), int64
        Rows of ``universe.pairs``, all pairs of an enhancer together.
    label : ndarray, shape (n,), int8

    Raises
    ------
    ConfigError
        If the set is too small for the wanted number of pairs.
    """
    sizes: SetConfig = getattr(config, part)
    n = round(float(np.exp(rng.uniform(*np.log(sizes.pairs)))))
    rows = np.flatnonzero(universe.pairs["set"].to_numpy() == part)
    accepted = rows[_accept(config, potential[rows], line, prior, rng)]
    enhancer, promoter = (universe.pairs[kind].to_numpy()[accepted] for kind in ("enhancer", "promoter"))
    threshold = rng.random(len(universe.elements))
    rank = rng.permutation(len(universe.elements))
    score = _selection_score(config, universe.elements, line)
    members = universe.elements["set"].to_numpy() == part
    is_enhancer = universe.elements["kind"].to_numpy() == "enhancer"
    share = np.where(is_enhancer, config.active_enhancers, config.active_promoters)
    while True:
        active = np.zeros(len(threshold), dtype=bool)
        for kind in (is_enhancer, ~is_enhancer):
            here = kind & members
            active[here] = threshold[here] < _active_probability(score[here], min(0.95, float(share[here][0])))
        kept = accepted[active[enhancer] & active[promoter]]
        if len(kept) >= n:
            break
        if share.min() >= 0.95:
            raise ConfigError(
                f"the {part} chromosomes hold {len(kept)} pairs for a cell line that needs {n}; give them more loci"
            )
        share = share * GROWTH
    order = np.argsort(rank[universe.pairs["enhancer"].to_numpy()[kept]], kind="stable")
    chosen = kept[order][:n]
    true_logit = (potential[chosen] - impedance[chosen]) / config.temperature
    label = (rng.random(n) < expit(true_logit)).astype(np.int8)
    return chosen, label


def _selection_score(config: WorldConfig, elements: pd.DataFrame, line: pd.Series) -> np.ndarray:
    factors = [name for name in line.index if name.startswith("trace_factor")]
    score = sum(line[name] * elements[name.replace("_factor", "")].to_numpy() for name in factors)
    return config.selection * (score + line["nuisance_factor"] * elements["nuisance"].to_numpy())


def _active_probability(score: np.ndarray, share: float) -> np.ndarray:
    """Return the logistic probability of being active, its level set so that `share` of the elements are."""
    level = brentq(lambda a: float(expit(a + score).mean()) - share, -30.0, 30.0)
    return expit(level + score)


def _accept(
    config: WorldConfig, potential: np.ndarray, line: pd.Series, prior: float, rng: np.random.Generator
) -> np.ndarray:
    """Thin pairs so that their potentials follow the label-shifted mixture; all stay if there is none."""
    reference = expit(potential / config.temperature - config.impedance_mean)
    shifted = expit(logit(prior) - line.get("label_shift", 0.0) / config.temperature)
    weight = shifted / prior * reference + (1 - shifted) / (1 - prior) * (1 - reference)
    return rng.random(len(weight)) < weight / weight.max()
