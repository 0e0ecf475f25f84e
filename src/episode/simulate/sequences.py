"""The DNA of a simulated world: background with inserted sites, placed on its chromosomes.

This module does NOT know cell lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from episode.encode.motifs import site_scores
from episode.seeds import generator
from episode.simulate.chance_sites import ChanceSites
from episode.simulate.world import World

__all__ = ["Genome", "draw_genome", "sample_sites"]

LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)


@dataclass(frozen=True)
class Genome:
    """DNA of all chromosomes of a world.

    Parameters
    ----------
    codes : dict
        Chromosome name to ndarray of uint8, A=0 C=1 G=2 T=3.
    sites : DataFrame, one row an inserted site
        element (row of ``universe.elements``), slot, chrom, start, end (0-based half-open), strand ("+" or "-").
    """

    codes: dict[str, np.ndarray]
    sites: pd.DataFrame

    def text(self, chrom: str, start: int, end: int) -> str:
        """Return the forward strand of ``[start, end)``, 0-based half-open."""
        return LETTERS[self.codes[chrom][start:end]].tobytes().decode()


def draw_genome(world: World) -> Genome:
    """Draw the DNA of a world: elements with their inserted sites, between them background.

    Bases of the background are independent, with the GC content of the element (0.42 between elements), but for
    those changed where the world allows no chance sites; sites never overlap.
    """
    rng = generator(world.seed, "simulate", "background")
    chromosomes = {chrom: _background(length, 0.42, rng) for chrom, length in world.universe.chromosomes.items()}
    rng = generator(world.seed, "simulate", "sites")
    sites = world.universe.sites
    widths = np.array([len(world.bank.probabilities[i]) for i in world.motifs])
    pools = []
    for slot, motif in enumerate(world.motifs):
        count = int((sites[:, slot] != 0).sum())
        drawn = sample_sites(world.bank.probabilities[motif], count, world.config.weakest_site, rng)
        pools.append(iter(drawn))
    elements = world.universe.elements
    inserted: list[tuple[int, int, str, int, int, str]] = []
    columns = (elements[name].tolist() for name in ("chrom", "start", "end", "gc"))
    for element, (chrom, start, end, gc) in enumerate(zip(*columns, strict=True)):
        dna = chromosomes[chrom][start:end]
        dna[:] = _background(end - start, gc, rng)
        slots = rng.permutation(np.flatnonzero(sites[element]))
        free = len(dna) - int(widths[slots].sum())
        gaps = np.sort(rng.integers(0, free, endpoint=True, size=len(slots)))
        starts = gaps + np.concatenate([[0], np.cumsum(widths[slots])[:-1]]).astype(np.int64)
        for slot, at in zip(slots.tolist(), starts.tolist(), strict=False):
            site = next(pools[slot])
            forward = sites[element, slot] > 0
            dna[at : at + len(site)] = site if forward else 3 - site[::-1]
            inserted.append((element, slot, chrom, start + at, start + at + len(site), "+" if forward else "-"))
    names = ["element", "slot", "chrom", "start", "end", "strand"]
    genome = Genome(chromosomes, pd.DataFrame(inserted, columns=names))
    if not world.config.chance_sites:
        _remove_chance_sites(world, genome)
    return genome


def _remove_chance_sites(world: World, genome: Genome) -> None:
    """Leave no site that the motif stem scores as high as the weakest inserted site of its motif, but the inserted."""
    log_odds = [world.bank.log_odds(motif) for motif in world.motifs]
    minimum = np.full(len(log_odds), np.inf)
    inserted = {chrom: np.zeros(len(dna), dtype=bool) for chrom, dna in genome.codes.items()}
    for _, slot, chrom, start, end, strand in genome.sites.itertuples(index=False):
        inserted[chrom][start:end] = True
        site = genome.codes[chrom][start:end]
        site = site if strand == "+" else 3 - site[::-1]
        minimum[slot] = min(minimum[slot], float(site_scores(site, log_odds[slot])[0]))
    names = [world.bank.names[motif] for motif in world.motifs]
    chance = ChanceSites(log_odds, minimum.tolist(), names)
    rng = generator(world.seed, "simulate", "chance")
    for chrom, dna in genome.codes.items():
        chance.remove(dna, inserted[chrom], rng)


def sample_sites(probabilities: np.ndarray, count: int, weakest: float, rng: np.random.Generator) -> np.ndarray:
    """Sample sites of one motif, drawing those again that score below a quantile of its own sites.

    Parameters
    ----------
    probabilities : ndarray, shape (width, 4)
        Columns A, C, G, T; rows sum to 1.
    count : int
        How many sites.
    weakest : float
        Quantile of the log-likelihood of sampled sites, in [0, 1).

    Returns
    -------
    ndarray, shape (count, width), uint8
    """
    p = probabilities.astype(np.float64)
    cumulative = np.cumsum(p, axis=1) / p.sum(axis=1, keepdims=True)
    cumulative[:, -1] = 1.0
    score = np.log(np.maximum(p, 1e-6))

    def draw(n: int) -> np.ndarray:
        return (rng.random((n, len(p), 1)) > cumulative).sum(axis=2).astype(np.uint8)

    def total(sites: np.ndarray) -> np.ndarray:
        return score[np.arange(len(p)), sites].sum(axis=1)

    threshold = np.quantile(total(draw(4000)), weakest)
    kept = [np.empty((0, len(p)), dtype=np.uint8)]
    while (missing := count - sum(map(len, kept))) > 0:
        sites = draw(2 * missing + 16)
        kept.append(sites[total(sites) >= threshold - 1e-9][:missing])
    return np.concatenate(kept)


def _background(length: int, gc: float, rng: np.random.Generator) -> np.ndarray:
    """Return independent bases, shape (length,), uint8."""
    edges = np.cumsum([(1 - gc) / 2, gc / 2, gc / 2])
    return np.searchsorted(edges, rng.random(length, dtype=np.float32), side="right").astype(np.uint8)
