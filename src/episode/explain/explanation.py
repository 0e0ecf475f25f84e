"""The explanation of pairs: candidates, knock-outs, joint knock-outs and gradients put together.

The potential that is explained is that of predictions: under a closed-form Student the mean over the members of the
run, in log-odds. Effects are means over members likewise, and come with their standard deviation between members.
Arrays and frozen records out; knows no files and no figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from episode.checkpoint import GAUGE, Run
from episode.config import StemConfig
from episode.data.dataset import Dataset
from episode.encode.motifs import load_bank
from episode.encode.store import ElementStore
from episode.explain.gradient import Background, Gradient, Spread, combine, integrate
from episode.explain.mutagenesis import BaseEffects, Knockout, base_effects, interactions, knock_out
from episode.explain.mutations import ElementScores
from episode.explain.pair_scorer import KINDS, PairProbe, Reader, spread
from episode.explain.pair_selection import Chosen, distinct_pairs
from episode.explain.sites import Site, find_sites, gate_sites, strongest
from episode.inference.closed_form import View
from episode.model.backbone import Backbone
from episode.predict.pairs import environment_views
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
    gradients : ndarray, shape (members,)
        Integrated gradient of the scores that the site gives to its motif and strand; NaN where the stem has no
        channel of the motif.
    """

    kind: str
    knockout: Knockout
    gradients: np.ndarray

    @property
    def gradient(self) -> float:
        """Mean of `gradients`."""
        return float(self.gradients.mean())

    @property
    def gradient_sd(self) -> float:
        """Their standard deviation; NaN with one member."""
        return float(spread(self.gradients))

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
    view : View or None
        Which training pairs the cell line of the pair resembles; None without a closed-form Student.
    potentials : ndarray, shape (members,)
        U_I by each member; their mean is U_I as predictions have it.
    distance_term : float
        What the distance of the pair adds to that; NaN where the model has no contact decay.
    sites : tuple of SiteEffect
        Enhancer, then promoter, by start; no two of an element overlap.
    joint : dict of str to tuple of SiteEffect
        Sites knocked out together, by kind, strongest first.
    interactions : ndarray, shape (members, enhancer sites, promoter sites)
        Of those sites.
    gradient : Gradient
        Mean over members.
    gradient_sd : Spread or None
        None with one member.
    bases : tuple of (str, SiteEffect or None, BaseEffects)
        Stretches resolved base by base: kind, site in the middle (None for a whole element), effects.
    candidates : dict of str to int
        Candidates tried, by kind.
    left_out : int
        Candidates left out because there were too many.
    """

    chosen: Chosen
    view: View | None
    potentials: np.ndarray
    distance_term: float
    sites: tuple[SiteEffect, ...]
    joint: dict[str, tuple[SiteEffect, ...]]
    interactions: np.ndarray
    gradient: Gradient
    gradient_sd: Spread | None
    bases: tuple[tuple[str, SiteEffect | None, BaseEffects], ...]
    candidates: dict[str, int]
    left_out: int

    @property
    def potential(self) -> float:
        """U_I, as predictions have it."""
        return float(self.potentials.mean())

    @property
    def potential_sd(self) -> float:
        """Standard deviation of U_I between members; NaN with one."""
        return float(spread(self.potentials))

    @property
    def interaction(self) -> np.ndarray:
        """Mean of `interactions`, shape (enhancer sites, promoter sites)."""
        mean: np.ndarray = self.interactions.mean(axis=0)
        return mean


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
        Draws the elements of the background, and the support sets that decide the view of a cell line, as prediction
        draws them.

    Attributes
    ----------
    motifs : MotifBank
        Motifs whose sites are tried: those of the run; where its stem knows none, those that a motif stem would have.
    channels : list of (str, str)
        Id and name of every channel of the stem.
    """

    def __init__(self, run: Run, dataset: Dataset, store: ElementStore, options: Options, *, seed: int = 0) -> None:
        self.run, self.options = run, options
        stem = run.facts.config.stem
        self._members = _backbones(run, dataset, store)
        self._views = environment_views(run, dataset, seed)
        pairs = distinct_pairs(dataset).pairs
        elements = {kind: np.unique(pairs[f"{kind}_id"].to_numpy()) for kind in KINDS}
        measured = {
            scores: Background.measure(scores, elements, generator(seed, "explain", "background"))
            for scores in dict.fromkeys(scores for _, scores in self._members)
        }
        self.backgrounds = [measured[scores] for _, scores in self._members]
        known = run.bank if len(run.bank) else load_bank(StemConfig(release=stem.release))
        self.motifs = replace(known, gate=run.bank.gate)
        word = "filter" if stem.kind == "conv" else "kmer_channel"
        nameless = [f"{word}{i + 1}" for i in range(len(self.backgrounds[0].scores["enhancer"]) - len(run.bank))]
        self.channels = [*zip(run.bank.ids, run.bank.names, strict=True), *zip(nameless, nameless, strict=True)]
        self._thresholds = self.motifs.thresholds(options.site_p)
        self._gate_thresholds = None if run.bank.gate is None else run.bank.gate.thresholds(options.site_p)

    def explain(self, chosen: Chosen) -> Explanation:
        """Explain one pair."""
        options, channels, view = self.options, len(self.run.bank), self._views[chosen.environment]
        slope, start, members = 1.0, 0.0, self.run.members
        if self.run.student is not None and view is not None:
            scale = self.run.student.fitted.scale(view)
            slope, start = scale.slope, scale.intercept + GAUGE
        units = np.array([slope / member.temperature for member in members])
        readers = [Reader(*read, float(unit)) for read, unit in zip(self._members, units, strict=True)]
        probe = PairProbe(readers, chosen.pair)
        gradients = [
            integrate(reader, chosen.pair, background)
            for reader, background in zip(readers, self.backgrounds, strict=True)
        ]
        candidates = {kind: self.candidates(chosen.pair.element(kind)) for kind in KINDS}
        sites: list[SiteEffect] = []
        joint: dict[str, tuple[SiteEffect, ...]] = {}
        for kind in KINDS:
            tried = strongest(candidates[kind], options.most_sites)
            mine = [
                SiteEffect(
                    kind, knockout, np.array([_of_site(each, kind, knockout.site, channels) for each in gradients])
                )
                for knockout in knock_out(probe, kind, tried, channels=channels)
            ]
            sites += mine
            joint[kind] = tuple(_ranked(mine)[: options.joint])
        gradient, gradient_sd = combine(gradients)
        one, other = ([effect.site for effect in joint[kind]] for kind in KINDS)
        return Explanation(
            chosen=chosen,
            view=view,
            potentials=probe.potential() - units * [member.level for member in members] + start,
            distance_term=float(probe.distance_term().mean()),
            sites=tuple(sites),
            joint=joint,
            interactions=interactions(probe, one, other),
            gradient=gradient,
            gradient_sd=gradient_sd,
            bases=tuple(self._bases(probe, sites)),
            candidates={kind: min(len(candidates[kind]), options.most_sites) for kind in KINDS},
            left_out=sum(max(len(found) - options.most_sites, 0) for found in candidates.values()),
        )

    def candidates(self, element: int) -> list[Site]:
        """Candidate sites of one element, then those of the boundary gate."""
        codes, bank, stem = self._members[0][1].codes(element), self.motifs, self.run.facts.config.stem
        found = find_sites(codes, bank, stem.bin, self._thresholds)
        if bank.gate is not None and self._gate_thresholds is not None:
            found += gate_sites(find_sites(codes, bank.gate, stem.gate_bin, self._gate_thresholds, gate=True))
        return found

    def _bases(self, probe: PairProbe, sites: list[SiteEffect]) -> Iterator[tuple[str, SiteEffect | None, BaseEffects]]:
        for effect in _ranked(sites)[: self.options.logos]:
            length = len(probe.codes(effect.kind))
            start = max(effect.site.start - self.options.flank, 0)
            end = min(effect.site.end + self.options.flank, length)
            yield effect.kind, effect, base_effects(probe, effect.kind, start, end)
        if self.options.whole:
            for kind in KINDS:
                yield kind, None, base_effects(probe, kind, 0, len(probe.codes(kind)))


def _backbones(run: Run, dataset: Dataset, store: ElementStore) -> list[tuple[Backbone, ElementScores]]:
    """Return what reads the scores of elements, and the scores; members whose stem learns nothing share them."""
    backbones = [member.system.backbone for member in run.members]
    if run.facts.config.stem.kind == "motif":
        shared = ElementScores(run, dataset, store)
        return [(backbone, shared) for backbone in backbones]
    own = [ElementScores(run, dataset, store, backbone) for backbone in backbones]
    return [(scores.backbone, scores) for scores in own]


def _ranked(sites: list[SiteEffect]) -> list[SiteEffect]:
    """Sites by size of their effect, strongest first."""
    return sorted(sites, key=lambda effect: -abs(effect.knockout.effect))


def _of_site(gradient: Gradient, kind: str, site: Site, channels: int) -> float:
    """Attribution of the scores that a site gives; all matrices of the gate read it together."""
    bins = list(site.bins)
    if site.gate:
        return float(gradient.gate[kind][bins, site.strand].sum())
    if site.motif >= channels:
        return math.nan
    return float(gradient.scores[kind][bins, site.strand, site.motif].sum())
