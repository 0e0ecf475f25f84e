"""The elements that exist, where they lie, which motif sites they carry, and the pairs they can form.

This module does NOT know cell lines, weights or DNA: sites are known by slot and strand only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import pandas as pd

from episode.dna import is_mirrored
from episode.simulate.config import SETS, SetConfig, WorldConfig

__all__ = ["Slots", "Universe", "channel_names", "draw_universe"]


@dataclass(frozen=True)
class Slots:
    """Which columns of `Universe.sites` belong to what."""

    enhancer: slice
    """Motifs of the grammar read in enhancers."""
    promoter: slice
    """Motifs of the grammar read in promoters."""
    trace: slice
    """Motifs whose composition follows the trace factor."""
    nuisance: slice
    """Motifs whose composition follows the nuisance factor."""
    count: int
    """All slots together."""
    channels: int
    """Impedances of a cell line; each has an equal part of the trace."""
    exposure: slice
    """Motifs that decide the exposure of a pair: the first is read in enhancers, the second in promoters."""

    @property
    def traces(self) -> tuple[slice, ...]:
        """The part of the trace that belongs to each channel."""
        width = (self.trace.stop - self.trace.start) // self.channels
        starts = [self.trace.start + k * width for k in range(self.channels)]
        return tuple(slice(start, start + width) for start in starts)

    @classmethod
    def of(cls, config: WorldConfig, *, channels: int = 1, exposure: int = 0) -> Slots:
        """Lay the slots out one after another."""
        sizes = [config.grammar_motifs] * 2 + [config.burden_motifs] * 2 + [exposure]
        ends = list(accumulate(sizes))
        parts = (slice(end - size, end) for size, end in zip(sizes, ends, strict=True))
        enhancer, promoter, trace, nuisance, pairs = parts
        return cls(enhancer, promoter, trace, nuisance, ends[-1], channels, pairs)


@dataclass(frozen=True)
class Universe:
    """All elements and all pairs that any cell line may use.

    Parameters
    ----------
    elements : DataFrame
        Index = element id; kind, name, chrom, start, end (0-based half-open), locus, set, trace and nuisance
        (standardised burdens; trace_1, trace_2, ... with several channels), gc (fraction of G and C in the background).
    sites : ndarray, shape (n_elements, n_slots), int8
        1: one site on the forward strand, -1: one on the reverse strand, 0: none.
    pairs : DataFrame
        All enhancer-promoter pairs inside a locus: enhancer, promoter (element ids), set, mirrored.
    chromosomes : dict
        Chromosome name to length in bp.
    shared : tuple of int
        Loci of the set "train" that belong to the set "test" too.
    """

    elements: pd.DataFrame
    sites: np.ndarray
    pairs: pd.DataFrame
    chromosomes: dict[str, int]
    shared: tuple[int, ...] = ()

    def members(self, part: str) -> np.ndarray:
        """Return which elements belong to a chromosome set, shape (n_elements,), bool."""
        inside: np.ndarray = self.elements["set"].to_numpy() == part
        return inside | self.elements["locus"].isin(self.shared).to_numpy() if part == "test" else inside


def draw_universe(
    config: WorldConfig, slots: Slots, rng: np.random.Generator, *, exposure_presence: float = 0.0
) -> Universe:
    """Draw loci, coordinates and motif sites; presence of any two motifs is independent."""
    parts: list[pd.DataFrame] = []
    chromosomes: dict[str, int] = {}
    first_locus = 0
    for name in SETS:
        own = _own_loci(config, name)
        if own is None:
            continue
        part, lengths = _lay_out(config, name, own, first_locus, len(chromosomes), rng)
        parts.append(part)
        chromosomes.update(lengths)
        first_locus = int(part["locus"].iloc[-1]) + 1
    elements = pd.concat(parts, ignore_index=True)
    is_enhancer = elements["kind"].to_numpy() == "enhancer"
    sites = _draw_sites(config, slots, is_enhancer, exposure_presence, rng)
    elements["gc"] = np.clip(rng.normal(np.where(is_enhancer, 0.45, 0.52), 0.06), 0.25, 0.75)
    kinds = (*channel_names("trace", slots.channels), "nuisance")
    for kind, slot in zip(kinds, (*slots.traces, slots.nuisance), strict=True):
        count = slot.stop - slot.start
        signs = np.where(np.arange(count) < count / 2, 1.0, -1.0)  # half of each, so that the mean burden is 0
        scale = np.sqrt(count * config.burden_presence * (1 - config.burden_presence))
        elements[kind] = (sites[:, slot] != 0) @ signs / scale
    # Training loci are numbered from 0; those in common lie evenly among them.
    shared = np.flatnonzero(np.diff(np.arange(config.train.loci + 1) * config.loci_in_common // config.train.loci))
    return Universe(elements, sites, _all_pairs(elements, is_enhancer), chromosomes, tuple(shared.tolist()))


def _own_loci(config: WorldConfig, name: str) -> SetConfig | None:
    """Return the loci of a set that are of no set before, None if there are none."""
    part: SetConfig | None = getattr(config, name)
    if part is None or name != "test":
        return part
    loci = part.loci - config.loci_in_common
    return replace(part, chromosomes=min(part.chromosomes, loci), loci=loci) if loci else None


def channel_names(stem: str, channels: int) -> tuple[str, ...]:
    """Names of a column for each channel: the stem itself where there is one channel, else stem_1, stem_2, ..."""
    return (stem,) if channels == 1 else tuple(f"{stem}_{k + 1}" for k in range(channels))


def _lay_out(
    config: WorldConfig,
    name: str,
    part: SetConfig,
    first_locus: int,
    first_chromosome: int,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Lay the loci of one set along its chromosomes, enhancers and promoters in random order."""
    rows: list[tuple[str, str, int, int, int]] = []
    ends = [config.locus_gap] * part.chromosomes
    for i in range(part.loci):
        k = i * part.chromosomes // part.loci
        chrom = f"sim{first_chromosome + k + 1}"
        counts = (
            rng.integers(*config.enhancers_per_locus, endpoint=True),
            rng.integers(*config.promoters_per_locus, endpoint=True),
        )
        kinds = rng.permutation(np.repeat(["enhancer", "promoter"], counts))
        spacers = rng.integers(*config.spacer, endpoint=True, size=len(kinds))
        for kind, spacer in zip(kinds.tolist(), spacers.tolist(), strict=True):
            length = config.enhancer_length if kind == "enhancer" else config.promoter_length
            rows.append((kind, chrom, ends[k], ends[k] + length, first_locus + i))
            ends[k] += length + spacer
        ends[k] += config.locus_gap
    frame = pd.DataFrame(rows, columns=["kind", "chrom", "start", "end", "locus"])
    frame["set"] = name
    frame.insert(1, "name", frame["chrom"] + ":" + frame["start"].astype(str) + "-" + frame["end"].astype(str))
    return frame, {f"sim{first_chromosome + k + 1}": end for k, end in enumerate(ends)}


def _draw_sites(
    config: WorldConfig, slots: Slots, is_enhancer: np.ndarray, exposure_presence: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw which element carries which motif, and on which strand."""
    shape = (len(is_enhancer), slots.count)
    probability = np.full(slots.count, config.burden_presence)
    probability[slots.enhancer] = probability[slots.promoter] = config.grammar_presence
    probability[slots.exposure] = exposure_presence
    present = rng.random(shape) < probability
    present[~is_enhancer, slots.enhancer] = False
    present[is_enhancer, slots.promoter] = False
    for slot, elsewhere in zip(range(slots.count)[slots.exposure], (~is_enhancer, is_enhancer), strict=False):
        present[elsewhere, slot] = False
    strand = np.where(rng.random(shape) < 0.5, 1, -1)
    return (present * strand).astype(np.int8)


def _all_pairs(elements: pd.DataFrame, is_enhancer: np.ndarray) -> pd.DataFrame:
    """Pair every enhancer with every promoter of its locus."""
    table = elements[["locus", "set", "start", "end"]].assign(element=np.arange(len(elements)))
    pairs = table[is_enhancer].merge(table[~is_enhancer].drop(columns="set"), on="locus", suffixes=("_e", "_p"))
    ends = (pairs[name].to_numpy(np.int64) for name in ("start_e", "end_e", "start_p", "end_p"))
    found = {"enhancer": pairs["element_e"], "promoter": pairs["element_p"], "set": pairs["set"]}
    return pd.DataFrame(found | {"mirrored": is_mirrored(*ends)})
