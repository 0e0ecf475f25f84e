"""A planted world: the truth that a model trained on it should find.

Draws everything but DNA (`sequences` does that). Knows nothing about files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import expit

from episode.config import StemConfig
from episode.data.simulate.config import WORLDS, WorldConfig
from episode.data.simulate.environments import draw_environments, draw_pairs
from episode.data.simulate.grammar import Grammar, draw_grammar, draw_motifs
from episode.data.simulate.universe import Slots, Universe, draw_universe
from episode.errors import ConfigError
from episode.seeds import generator

if TYPE_CHECKING:
    from episode.encode.motifs import MotifBank

__all__ = ["World", "simulate"]


@dataclass(frozen=True)
class World:
    """A planted world.

    Parameters
    ----------
    config : WorldConfig
        Size and difficulty.
    world : str
        "label", "concept" or "both".
    seed : int
        Determines everything.
    universe : Universe
        Elements, sites and possible pairs.
    slots : Slots
        Meaning of the columns of ``universe.sites``.
    grammar : Grammar
        How sites make U_I.
    bank : MotifBank
        Where the planted motifs come from.
    motifs : tuple of int
        Row of the bank for every slot.
    prior : float
        Share of positives over the universe in the reference environment, that of the mean impedance.
    environments : DataFrame
        One row a cell line: cell_line, role, deviation, impedance, temperature, trace_factor,
        nuisance_factor, label_shift, concept_shift, pairs, share_positive.
    pairs : DataFrame
        One row a pair of a cell line: cell_line, split, label, enhancer, promoter (element ids), mirrored,
        potential (U_I), logit ((U_I - R_E)/T), probability.
    """

    config: WorldConfig
    world: str
    seed: int
    universe: Universe
    slots: Slots
    grammar: Grammar
    bank: MotifBank
    motifs: tuple[int, ...]
    prior: float
    environments: pd.DataFrame
    pairs: pd.DataFrame


def simulate(config: WorldConfig, world: str, seed: int, *, bank: MotifBank | None = None) -> World:
    """Draw a planted world.

    Parameters
    ----------
    config : WorldConfig
        One of `PRESETS` or your own.
    world : str
        "label": class-conditional distributions are the same everywhere, the share of positives moves.
        "concept": candidates are the same whatever the impedance, the same pair becomes less likely.
        "both": half and half.
    seed : int
        The same seed gives the same world, to the byte.
    bank : MotifBank, optional
        Where to take the planted motifs from; by default the bank of the motif stem.

    Raises
    ------
    ConfigError
        If `world` is unknown, or the chromosomes or the bank are too small for `config`.
    """
    if world not in WORLDS:
        raise ConfigError(f"world {world!r} is not one of {', '.join(WORLDS)}")
    if bank is None:
        from episode.encode.motifs import load_bank

        bank = load_bank(StemConfig())
    slots = Slots.of(config)
    motifs = draw_motifs(config, bank, slots.count, generator(seed, "simulate", "motifs"))
    universe = draw_universe(config, slots, generator(seed, "simulate", "universe"))
    grammar = draw_grammar(config, universe, slots, generator(seed, "simulate", "grammar"))
    potential = grammar.potential(universe, slots)
    prior = float(expit(potential / config.temperature - config.impedance_mean).mean())
    lines = pd.concat(
        [
            draw_environments(config, WORLDS[world], role, n, generator(seed, "simulate", "lines", role))
            for role, n in (("train", config.training_lines), ("unseen", config.unseen_lines))
        ],
        ignore_index=True,
    )
    parts = []
    for _, line in lines.iterrows():
        for part in ("train", "val") if line["role"] == "train" else ("test",):
            rng = generator(seed, "simulate", "pairs", line["cell_line"], part)
            rows, label = draw_pairs(config, universe, potential, line, prior, part, rng)
            parts.append(_pair_frame(universe, potential, line, part, rows, label))
    pairs = pd.concat(parts, ignore_index=True)
    labels = pairs.groupby("cell_line")["label"]
    lines["pairs"] = lines["cell_line"].map(labels.size())
    lines["share_positive"] = lines["cell_line"].map(labels.mean())
    return World(config, world, seed, universe, slots, grammar, bank, motifs, prior, lines, pairs)


def _pair_frame(
    universe: Universe,
    potential: np.ndarray,
    line: pd.Series,
    part: str,
    rows: np.ndarray,
    label: np.ndarray,
) -> pd.DataFrame:
    chosen = universe.pairs.iloc[rows]
    true_logit = (potential[rows] - line["impedance"]) / line["temperature"]
    return pd.DataFrame(
        {
            "cell_line": line["cell_line"],
            "split": part,
            "label": label,
            "enhancer": chosen["enhancer"].to_numpy(),
            "promoter": chosen["promoter"].to_numpy(),
            "mirrored": chosen["mirrored"].to_numpy(),
            "potential": potential[rows],
            "logit": true_logit,
            "probability": expit(true_logit),
        }
    )
