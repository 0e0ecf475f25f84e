"""A simulated world: the truth that a model trained on it should find.

Draws everything but DNA (`sequences` does that). This module does NOT know files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import expit

from episode.config import StemConfig
from episode.errors import ConfigError
from episode.seeds import generator
from episode.simulate.cell_lines import draw_environments, draw_spectrum
from episode.simulate.config import SETS, WORLDS, SetConfig, WorldConfig
from episode.simulate.elements import Slots, Universe, channel_names, draw_universe
from episode.simulate.grammar import Grammar, draw_grammar, draw_motifs
from episode.simulate.pairs import Drawn, draw_pairs, split_at_random
from episode.simulate.reranking import RERANK, SpectrumConfig, spectrum_slots, true_exposure

if TYPE_CHECKING:
    from episode.encode.motifs import MotifBank

__all__ = ["World", "simulate"]


@dataclass(frozen=True)
class World:
    """A simulated world.

    Parameters
    ----------
    config : WorldConfig
        Size and difficulty.
    world : str
        "label", "concept", "both" or "rerank".
    seed : int
        Determines everything.
    universe : Universe
        Elements, sites and possible pairs.
    slots : Slots
        Meaning of the columns of ``universe.sites``.
    grammar : Grammar
        How sites make U_I.
    bank : MotifBank
        Where the inserted motifs come from.
    motifs : tuple of int
        Row of the bank for every slot.
    prior : float
        Prevalence over the universe in the reference environment, that of the mean impedance.
    environments : DataFrame
        One row a cell line: cell_line, role, deviation, impedance, temperature, trace_factor,
        nuisance_factor, label_shift, concept_shift, pairs, share_positive; in the world "rerank" those of
        `draw_spectrum` in place of the first. Where pairs are selected to a prevalence also prevalence_shift, the
        part of the impedance that the selection makes.
    pairs : DataFrame
        One row a pair of a cell line: cell_line, split, label, enhancer, promoter (element ids), mirrored,
        potential (U_I), logit ((U_I - R_E)/T), probability; with a spectrum also impedance and exposure_1, ....
    spectrum : SpectrumConfig or None
        Of the world "rerank".
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
    spectrum: SpectrumConfig | None = None


def simulate(config: WorldConfig, world: str, seed: int, *, bank: MotifBank | None = None) -> World:
    """Draw a simulated world.

    Parameters
    ----------
    config : WorldConfig
        One of `PRESETS` or your own.
    world : str
        "label": class-conditional distributions are the same everywhere, the prevalence moves.
        "concept": candidates are the same whatever the impedance, the same pair becomes less likely.
        "both": half and half.
        "rerank": "concept" with two impedances a cell line, to which pairs are exposed by their sequences.
    seed : int
        The same seed gives the same world, to the byte.
    bank : MotifBank, optional
        Where to take the inserted motifs from; by default the bank of the motif stem.

    Raises
    ------
    ConfigError
        If `world` is unknown, the chromosomes or the bank are too small for `config`, or a prevalence is so high that
        an impedance would be negative.
    """
    if world not in (*WORLDS, RERANK):
        raise ConfigError(f"world {world!r} is not one of {', '.join((*WORLDS, RERANK))}")
    spectrum = SpectrumConfig() if world == RERANK else None
    if bank is None:
        from episode.encode.motifs import load_bank

        bank = load_bank(StemConfig())
    slots = Slots.of(config) if spectrum is None else spectrum_slots(config, spectrum)
    motifs = draw_motifs(config, bank, slots.count, generator(seed, "simulate", "motifs"))
    presence = 0.0 if spectrum is None else spectrum.presence
    rng = generator(seed, "simulate", "universe")
    universe = draw_universe(config, slots, rng, exposure_presence=presence)
    grammar = draw_grammar(config, universe, slots, generator(seed, "simulate", "grammar"))
    potential = grammar.potential(universe, slots)
    prior = float(expit(potential / config.temperature - config.impedance_mean).mean())
    exposure = np.ones((len(potential), 1)) if spectrum is None else true_exposure(spectrum, universe, slots)
    drawn = []
    for role, n in (("train", config.training_lines), ("unseen", config.unseen_lines)):
        rng = generator(seed, "simulate", "lines", role)
        if spectrum is None:
            drawn.append(draw_environments(config, WORLDS[world], role, n, rng))
        else:
            drawn.append(draw_spectrum(config, spectrum.channels, spectrum.deviation_sd, role, n, rng))
    lines = pd.concat(drawn, ignore_index=True)
    frames, shifts = [], []
    for place, (_, line) in enumerate(lines.iterrows()):
        impedance = exposure @ line[list(channel_names("impedance", slots.channels))].to_numpy(np.float64)
        unseen = line["role"] == "unseen"
        first, count = (config.training_lines, config.unseen_lines) if unseen else (0, config.training_lines)
        shift = 0.0
        for part in ("test",) if unseen else ("train", "val"):
            sizes: SetConfig | None = getattr(config, part)
            if sizes is None:
                continue
            rng = generator(seed, "simulate", "pairs", line["cell_line"], part)
            size = sizes.part(place - first, count)
            found = draw_pairs(config, universe, potential, impedance, line, prior, part, rng, count=size)
            shift = config.temperature * found.shift
            frames.append(_pair_frame(universe, potential, impedance - shift, exposure, line, part, found))
        if not unseen and config.val_share is not None:
            rng = generator(seed, "simulate", "val", line["cell_line"])
            whole = frames.pop()
            held_out = split_at_random(whole["label"].to_numpy(), config.val_share, rng)
            frames += [whole[~held_out], whole[held_out].assign(split="val")]
        shifts.append(shift)
    pairs = pd.concat(frames, ignore_index=True)
    if any(config.prevalence(part) is not None for part in SETS):
        lines = _with_selection(config, lines, np.array(shifts))
    labels = pairs.groupby("cell_line")["label"]
    lines["pairs"] = lines["cell_line"].map(labels.size())
    lines["share_positive"] = lines["cell_line"].map(labels.mean())
    return World(config, world, seed, universe, slots, grammar, bank, motifs, prior, lines, pairs, spectrum)


def _with_selection(config: WorldConfig, lines: pd.DataFrame, shift: np.ndarray) -> pd.DataFrame:
    """Take from the impedances what the selection by label adds to the log-odds, in units of U_I."""
    names = [name for name in lines.columns if name.startswith("impedance")]
    moved = lines.assign(**{name: lines[name] - shift for name in names}, prevalence_shift=-shift)
    lowest = moved.iloc[int(moved[names].min(axis=1).to_numpy().argmin())]
    if lowest[names].min() < 0:
        name = "unseen_prevalence" if lowest["role"] == "unseen" else "training_prevalence"
        raise ConfigError(
            f"{name} {getattr(config, name)}: the impedance of {lowest['cell_line']} would be "
            f"{lowest[names].min():.2f}; needed a lower prevalence or an impedance_mean above {config.impedance_mean:g}"
        )
    return moved


def _pair_frame(
    universe: Universe,
    potential: np.ndarray,
    impedance: np.ndarray,
    exposure: np.ndarray,
    line: pd.Series,
    part: str,
    found: Drawn,
) -> pd.DataFrame:
    rows = found.rows
    frame = universe.pairs.iloc[rows][["enhancer", "promoter", "mirrored"]].reset_index(drop=True)
    for place, (name, value) in enumerate(
        {"cell_line": line["cell_line"], "split": part, "label": found.label}.items()
    ):
        frame.insert(place, name, value)
    logit = (potential[rows] - impedance[rows]) / line["temperature"]
    frame = frame.assign(potential=potential[rows], logit=logit, probability=expit(logit))
    if exposure.shape[1] > 1:
        names = channel_names("exposure", exposure.shape[1])
        frame = frame.assign(impedance=impedance[rows], **dict(zip(names, exposure[rows].T, strict=True)))
    return frame
