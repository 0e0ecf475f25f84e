"""Simulated worlds with known U_I, R_E(c), T and labels, to try the method where the truth is known.

This module does NOT know models: it makes the files a user would bring, and a truth that training never reads.
"""

from episode.simulate.config import SETS, WORLDS, SetConfig, WorldConfig
from episode.simulate.export import write_domain_kl, write_tidy
from episode.simulate.presets import PRESETS
from episode.simulate.reranking import RERANK, SpectrumConfig
from episode.simulate.sequences import Genome, draw_genome
from episode.simulate.world import World, simulate

__all__ = [
    "PRESETS",
    "RERANK",
    "SETS",
    "WORLDS",
    "Genome",
    "SetConfig",
    "SpectrumConfig",
    "World",
    "WorldConfig",
    "draw_genome",
    "simulate",
    "write_domain_kl",
    "write_tidy",
]
