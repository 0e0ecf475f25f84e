"""In-silico mutagenesis: how much U_I of a pair falls when bases of one element, or of both, are taken away.

A site is knocked out by making its bases unknown: the stem then scores every site that needs one of them as absent, and
no new site can arise at random, so one variant is enough and there is nothing to draw. Base by base the three other
bases are tried. An effect is U_I as it is less U_I after the change: what raises U_I has a positive effect. U_I being
the mean over members, so is an effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from episode.dna import UNKNOWN
from episode.explain.mutations import Edit
from episode.explain.pair_scorer import PairProbe, spread
from episode.explain.sites import Site, lead_sites

__all__ = ["BaseEffects", "Knockout", "base_effects", "interactions", "knock_out"]

BINS_AT_A_TIME = 1 << 13
"""Bins of variants encoded together; bounds the memory, does not change the result beyond rounding."""


@dataclass(frozen=True)
class Knockout:
    """A site that was tried.

    Parameters
    ----------
    site : Site
    effects : ndarray, shape (members,)
        Fall of U_I when its bases are unknown, whatever reads them.
    channels : ndarray, shape (members,)
        Fall of U_I when only what this motif reads on this strand changes so; NaN where the stem has no channel of it.
    also : tuple of Site
        Overlapping sites of other motifs, or of the other strand, which explain less.
    """

    site: Site
    effects: np.ndarray
    channels: np.ndarray
    also: tuple[Site, ...]

    @property
    def effect(self) -> float:
        """Mean of `effects`."""
        return float(self.effects.mean())

    @property
    def effect_sd(self) -> float:
        """Their standard deviation; NaN with one member."""
        return float(spread(self.effects))

    @property
    def channel(self) -> float:
        """Mean of `channels`."""
        return float(self.channels.mean())


@dataclass(frozen=True)
class BaseEffects:
    """Every substitution of a stretch of bases.

    Parameters
    ----------
    start : int
        First base of the element.
    reference : ndarray, shape (n,), uint8
        Bases as they are.
    effects : ndarray, shape (members, n, 4)
        U_I as it is less U_I with A, C, G or T in place of the base; 0 at the base itself, NaN where it is unknown.
    """

    start: int
    reference: np.ndarray
    effects: np.ndarray

    @property
    def effect(self) -> np.ndarray:
        """Mean of `effects` over members, shape (n, 4)."""
        effect: np.ndarray = self.effects.mean(axis=0)
        return effect

    @property
    def mean(self) -> np.ndarray:
        """Mean effect of the three other bases, shape (n,)."""
        mean: np.ndarray = self.effect.sum(axis=1) / 3
        return mean

    @property
    def mean_sd(self) -> np.ndarray:
        """Standard deviation of that mean between members, shape (n,); NaN with one."""
        return spread(self.effects.sum(axis=2) / 3)


def knock_out(probe: PairProbe, kind: str, sites: Sequence[Site], *, channels: int) -> list[Knockout]:
    """Knock out candidate sites of one element one by one, and find which motif explains each.

    Of overlapping candidates the one whose own channel moves U_I most leads, see `lead_sites`; where the stem has no
    channel of a motif, the whole effect decides.

    Parameters
    ----------
    probe : PairProbe
    kind : str
    sites : sequence of Site
    channels : int
        Motifs that are channels of the stem, the first of the bank; the gate's always are.

    Returns
    -------
    list of Knockout
        Sites that do not overlap, by start.
    """
    whole = probe.potential()[:, None]
    effects = np.zeros((len(probe.readers), len(sites)))
    own = np.full_like(effects, np.nan)
    for part in _blocks(len(sites), probe.bins(kind)):
        edited = probe.edited(kind, [_unknown(site) for site in sites[part]])
        effects[:, part] = whole - probe.changed(kind, edited)
        read = [i for i, site in enumerate(sites[part]) if site.gate or site.motif < channels]
        if read:
            changed = probe.own_channel(kind, edited, {i: sites[part][i] for i in read})
            own[:, part.start + np.array(read)] = whole - probe.changed(kind, changed)
    groups = lead_sites(sites, np.abs(np.where(np.isnan(own), effects, own).mean(axis=0)).tolist())
    found = [
        Knockout(sites[lead], effects[:, lead], own[:, lead], tuple(sites[i] for i in others))
        for lead, others in groups
    ]
    return sorted(found, key=lambda knockout: knockout.site.start)


def interactions(probe: PairProbe, enhancer: Sequence[Site], promoter: Sequence[Site]) -> np.ndarray:
    """What the sites of both elements do together that each does not do alone.

    ``U - U_-i - U_-j + U_-ij``: positive where two sites raise U_I more together than the sum of what each raises it
    without the other.

    Returns
    -------
    ndarray, shape (members, len(enhancer), len(promoter))
    """
    if not enhancer or not promoter:
        return np.zeros((len(probe.readers), len(enhancer), len(promoter)))
    left = probe.edited("enhancer", [_unknown(site) for site in enhancer])
    right = probe.edited("promoter", [_unknown(site) for site in promoter])
    without_one = probe.changed("enhancer", left)[:, :, None]
    without_other = probe.changed("promoter", right)[:, None]
    return probe.potential()[:, None, None] - without_one - without_other + probe.changed_both(left, right)


def base_effects(probe: PairProbe, kind: str, start: int, end: int) -> BaseEffects:
    """Try every other base at each position of a stretch of one element, 0-based half-open."""
    whole = probe.potential()
    reference = probe.codes(kind)[start:end]
    known = np.flatnonzero(reference != UNKNOWN)
    tries = [(at, base) for at in known.tolist() for base in range(UNKNOWN) if base != reference[at]]
    effects = np.full((len(whole), len(reference), UNKNOWN), np.nan)
    effects[:, known, reference[known]] = 0.0
    for part in _blocks(len(tries), probe.bins(kind)):
        edits = [Edit(start + at, np.array([base], dtype=np.uint8)) for at, base in tries[part]]
        potential = probe.changed(kind, probe.edited(kind, edits))
        for (at, base), value in zip(tries[part], potential.T, strict=True):
            effects[:, at, base] = whole - value
    return BaseEffects(start, reference, effects)


def _unknown(site: Site) -> Edit:
    return Edit(site.start, np.full(site.end - site.start, UNKNOWN, dtype=np.uint8))


def _blocks(count: int, bins: int) -> Iterator[slice]:
    """Cut `count` variants of an element of `bins` bins into blocks."""
    size = max(1, BINS_AT_A_TIME // bins)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
