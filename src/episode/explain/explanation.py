"""The explanation of pairs: candidates, knock-outs, joint knock-outs and gradients put together.

Arrays and frozen records out; knows no files and no figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from episode.checkpoint import Run
from episode.config import StemConfig
from episode.data.dataset import Dataset
from episode.encode.motifs import load_bank
from episode.encode.store import ElementStore
from episode.explain.gradient import Background, Gradient, integrate
from episode.explain.mutagenesis import BaseEffects, Knockout, base_effects, interactions, knock_out
from episode.explain.mutations import ElementScores
from episode.explain.pair_scorer import KINDS, PairProbe
from episode.explain.pair_selection import Chosen, distinct_pairs
from episode.explain.sites import Site, find_sites, gate_sites, strongest
from episode.seeds import generator

__all__ = ["Explainer", "Explanation", "Options", "SiteEffect"]


@dataclass(frozen=True)
class Options:
    """How far an explanation goes.

    Parameters
    ----------
    site_p : float
        Probability that a random site scores as high as a candidate must.
    most_sites : int
        Candidates of an element; of more the furthest above their thresholds are tried.
    joint : int
        Sites of each element that are knocked out together with those of the other.
    logos : int
        Sites of a pair that are resolved base by base.
    flank : int
        Bases resolved on either side of such a site.
    whole : bool
        Resolve both elements base by base, not the sites alone.
    """

    site_p: float = 1e-4
    most_sites: int = 2000
    joint: int = 10
    logos: int = 3
    flank: int = 8
    whole: bool = False


@dataclass(frozen=True)
class SiteEffect:
    """Effects of one site.

    Parameters
    ----------
    kind : str
        Kind of its element.
    knockout : Knockout
    gradient : float
        Integrated gradient of the scores that the site gives to its motif and strand; NaN where the stem has no
        channel of the motif.
    """

    kind: str
    knockout: Knockout
    gradient: float

    @property
    def site(self) -> Site:
        """The site."""
        return self.knockout.site


@dataclass(frozen=True)
class Explanation:
    """What moves U_I of one pair.

    Parameters
    ----------
    chosen : Chosen
    potential : float
        U_I, as predictions have it.
    distance_term : float
        What the distance of the pair adds to that; NaN where the model has no contact decay.
    sites : tuple of SiteEffect
        Enhancer, then promoter, by start; no two of an element overlap.
    joint : dict of str to tuple of SiteEffect
        Sites knocked out together, by kind, strongest first.
    interaction : ndarray, shape (enhancer sites, promoter sites)
        Of those sites.
    gradient : Gradient
    bases : tuple of (str, SiteEffect or None, BaseEffects)
        Stretches resolved base by base: kind, site in the middle (None for a whole element), effects.
    candidates : dict of str to int
        Candidates tried, by kind.
    left_out : int
        Candidates left out because there were too many.
    """

    chosen: Chosen
    potential: float
    distance_term: float
    sites: tuple[SiteEffect, ...]
    joint: dict[str, tuple[SiteEffect, ...]]
    interaction: np.ndarray
    gradient: Gradient
    bases: tuple[tuple[str, SiteEffect | None, BaseEffects], ...]
    candidates: dict[str, int]
    left_out: int


class Explainer:
    """Explains pairs of one dataset by one run.

    Parameters
    ----------
    run : Run
    dataset : Dataset
        The background of the gradient is measured on the elements of its pairs.
    store : ElementStore
        Of the dataset's elements, made with the run's bank.
    options : Options
    seed : int
        Draws the elements of the background.

    Attributes
    ----------
    motifs : MotifBank
        Motifs whose sites are tried: those of the run; where its stem knows none, those that a motif stem would have.
    channels : list of (str, str)
        Id and name of every channel of the stem.
    """

    def __init__(self, run: Run, dataset: Dataset, store: ElementStore, options: Options, *, seed: int = 0) -> None:
        self.run, self.options = run, options
        self.scores = ElementScores(run, dataset, store)
        pairs = distinct_pairs(dataset).pairs
        elements = {kind: np.unique(pairs[f"{kind}_id"].to_numpy()) for kind in KINDS}
        self.background = Background.measure(self.scores, elements, generator(seed, "explain", "background"))
        stem = run.facts.config.stem
        known = run.bank if len(run.bank) else load_bank(StemConfig(release=stem.release))
        self.motifs = replace(known, gate=run.bank.gate)
        word = "filter" if stem.kind == "conv" else "kmer_channel"
        nameless = [f"{word}{i + 1}" for i in range(len(self.background.scores["enhancer"]) - len(run.bank))]
        self.channels = [*zip(run.bank.ids, run.bank.names, strict=True), *zip(nameless, nameless, strict=True)]
        self._thresholds = self.motifs.thresholds(options.site_p)
        self._gate_thresholds = None if run.bank.gate is None else run.bank.gate.thresholds(options.site_p)

    def explain(self, chosen: Chosen) -> Explanation:
        """Explain one pair."""
        backbone, options, channels = self.scores.backbone, self.options, len(self.run.bank)
        probe = PairProbe(backbone, self.scores, chosen.pair)
        gradient = integrate(backbone, self.scores, chosen.pair, self.background)
        candidates = {kind: self.candidates(chosen.pair.element(kind)) for kind in KINDS}
        sites: list[SiteEffect] = []
        joint: dict[str, tuple[SiteEffect, ...]] = {}
        for kind in KINDS:
            tried = strongest(candidates[kind], options.most_sites)
            mine = [
                SiteEffect(kind, knockout, _read(gradient, kind, knockout.site, channels))
                for knockout in knock_out(self.scores, probe, kind, tried, channels=channels)
            ]
            sites += mine
            joint[kind] = tuple(_ranked(mine)[: options.joint])
        one, other = ([effect.site for effect in joint[kind]] for kind in KINDS)
        return Explanation(
            chosen=chosen,
            potential=probe.potential() + float(self.run.system.temperature.offset),
            distance_term=probe.distance_term(),
            sites=tuple(sites),
            joint=joint,
            interaction=interactions(self.scores, probe, one, other),
            gradient=gradient,
            bases=tuple(self._bases(probe, sites)),
            candidates={kind: min(len(candidates[kind]), options.most_sites) for kind in KINDS},
            left_out=sum(max(len(found) - options.most_sites, 0) for found in candidates.values()),
        )

    def candidates(self, element: int) -> list[Site]:
        """Candidate sites of one element, then those of the boundary gate."""
        codes, bank, stem = self.scores.codes(element), self.motifs, self.run.facts.config.stem
        found = find_sites(codes, bank, stem.bin, self._thresholds)
        if bank.gate is not None and self._gate_thresholds is not None:
            found += gate_sites(find_sites(codes, bank.gate, stem.gate_bin, self._gate_thresholds, gate=True))
        return found

    def _bases(self, probe: PairProbe, sites: list[SiteEffect]) -> Iterator[tuple[str, SiteEffect | None, BaseEffects]]:
        for effect in _ranked(sites)[: self.options.logos]:
            length = len(self.scores.codes(probe.pair.element(effect.kind)))
            start = max(effect.site.start - self.options.flank, 0)
            end = min(effect.site.end + self.options.flank, length)
            yield effect.kind, effect, base_effects(self.scores, probe, effect.kind, start, end)
        if self.options.whole:
            for kind in KINDS:
                length = len(self.scores.codes(probe.pair.element(kind)))
                yield kind, None, base_effects(self.scores, probe, kind, 0, length)


def _ranked(sites: list[SiteEffect]) -> list[SiteEffect]:
    """Sites by size of their effect, strongest first."""
    return sorted(sites, key=lambda effect: -abs(effect.knockout.effect))


def _read(gradient: Gradient, kind: str, site: Site, channels: int) -> float:
    """Attribution of the scores that a site gives; all matrices of the gate read it together."""
    bins = list(site.bins)
    if site.gate:
        return float(gradient.gate[kind][bins, site.strand].sum())
    if site.motif >= channels:
        return math.nan
    return float(gradient.scores[kind][bins, site.strand, site.motif].sum())
