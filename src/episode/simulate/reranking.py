"""The world whose environments re-rank pairs: several impedances a cell line, and the exposure of a pair to each.

The mathematics is in docs/simulator.md. This module does NOT know DNA: an exposure is read from sites.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from episode.errors import ConfigError
from episode.simulate.config import WorldConfig
from episode.simulate.elements import Slots, Universe

__all__ = ["RERANK", "SpectrumConfig", "spectrum_slots", "true_exposure"]

RERANK = "rerank"
"""Name of the world."""


@dataclass(frozen=True)
class SpectrumConfig:
    """How the environments of the world re-rank pairs."""

    channels: int = 2
    """Impedances of a cell line; a pair is exposed to the first as to ``1 - `` the second."""
    deviation_sd: float = 1.25
    """SD over cell lines of each impedance, in units of T."""
    presence: float = 0.5
    """Probability that an element carries the exposure motif of its kind."""
    enhancer_weight: float = 2.5
    """Log-odds by which the motif in the enhancer moves a pair to the first channel, its absence to the second."""
    promoter_weight: float = 1.2
    """The same for the motif in the promoter."""


def spectrum_slots(config: WorldConfig, spectrum: SpectrumConfig) -> Slots:
    """Order the slots: those of the other worlds, the trace split among the channels, then two for the exposure.

    Raises
    ------
    ConfigError
        If elements cannot hold all motifs, or the trace motifs cannot be divided evenly.
    """
    if config.burden_motifs % (2 * spectrum.channels):
        raise ConfigError(
            f"{config.burden_motifs} trace motifs cannot be split among {spectrum.channels} channels, half of each "
            "counting negatively"
        )
    longest = (config.grammar_motifs + 2 * config.burden_motifs + 1) * config.motif_length[1]
    if longest > min(config.enhancer_length, config.promoter_length):
        raise ConfigError(f"elements must hold {longest} bp of motifs in the world {RERANK!r}: make them longer")
    return Slots.of(config, channels=spectrum.channels, exposure=2)


def true_exposure(spectrum: SpectrumConfig, universe: Universe, slots: Slots) -> np.ndarray:
    """Exposure of every pair of the universe, shape (n_pairs, 2): rows sum to 1."""
    sites = universe.sites[:, slots.exposure] != 0
    enhancer = np.where(sites[universe.pairs["enhancer"].to_numpy(), 0], 1.0, -1.0)
    promoter = np.where(sites[universe.pairs["promoter"].to_numpy(), 1], 1.0, -1.0)
    first = expit(spectrum.enhancer_weight * enhancer + spectrum.promoter_weight * promoter)
    return np.stack([first, 1 - first], axis=1)
