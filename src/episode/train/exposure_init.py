"""Where the exposure starts: the directions of z_I along which training environments rank their pairs differently.

Channels have no names and nothing distinguishes them at the start. From a random start the exposure and the impedances
of every environment must find each other at once; few environments do not suffice for that. So they are measured: a
score test for each environment and each channel of z_I, then the directions that most of the tests agree in. Of
hundreds of channels chance alone leaves such directions too, so each must show again on loci that it was not found on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.special import expit

from episode.inference.scoring import Scorer
from episode.metrics.metrics import oracle_impedance
from episode.model.energy import EnergySystem
from episode.seeds import generator
from episode.train.data import TrainingData

__all__ = [
    "Contrast",
    "RankingScores",
    "confirm_directions",
    "contrast_directions",
    "locus_halves",
    "ranking_scores",
    "start_exposure",
]

MIN_SCORE = 4.0
"""Standard errors that a channel of z_I must exceed to take part in a direction."""
ROUNDS = 20
CONFIRMED = 0.05
"""Largest p of a direction that is kept: the fraction of pure chance that may pass."""
PERMUTATIONS = 999
STRETCHES = 20
"""Stretches of neighbouring loci that fall to the two halves in turn: few pairs of one promoter fall to both."""


@dataclass(frozen=True)
class RankingScores:
    """What `ranking_scores` measures, in standard errors.

    Parameters
    ----------
    whole : ndarray, shape (environments, size)
        On all pairs of an environment.
    halves : ndarray, shape (2, fewer environments, size)
        On the pairs of each half of the loci; environments with both classes in both halves.
    """

    whole: np.ndarray
    halves: np.ndarray


@dataclass(frozen=True)
class Contrast:
    """What became of the directions that the exposure could start along.

    Parameters
    ----------
    wanted, found, kept : int
        K - 1; those that scores give; those of them that both halves of the loci agree in.
    p : list of float
        Of each direction found, see `confirm_directions`.
    """

    wanted: int
    found: int
    kept: int
    p: list[float]


def start_exposure(data: TrainingData, system: EnergySystem, score: Scorer) -> Contrast:
    """Start the exposure along the measured directions that are confirmed; even where none is.

    Parameters
    ----------
    system : EnergySystem
        Of several channels; the statistics of its inputs are measured already.
    """
    scores = ranking_scores(data, system, score)
    found = contrast_directions(scores.whole, system.exposure.channels - 1)
    p = confirm_directions(found, scores.halves, generator(data.seed, "contrast"))
    kept = p <= CONFIRMED
    directions = torch.from_numpy(np.where(kept[:, None], found, 0.0))
    values = system.exposure.standardise(score(data.learning).representation).double().cpu()
    spread = (values @ directions.T).std(0)
    scaled = directions / torch.where(spread > 0, spread, 1.0)[:, None]
    system.exposure.start_along(scaled.float().to(system.temperature.offset.device))
    any_channel = found.any(1)
    return Contrast(len(found), int(any_channel.sum()), int(kept.sum()), p[any_channel].tolist())


def ranking_scores(data: TrainingData, system: EnergySystem, score: Scorer) -> RankingScores:
    """Test in each training environment which channels of z_I rank its pairs otherwise than U_I says.

    The score of the labels on each standardised channel of z_I, given U_I and the environment's own level; less what
    all environments share, for that is no difference between them. Environments that lack a class are left out.

    Parameters
    ----------
    data : TrainingData
        Labels of training and pseudo-OOD environments are read.
    system : EnergySystem
        Gives T, and the statistics that standardise z_I.
    """
    temperature = float(system.temperature().detach())
    first = locus_halves(data.rows.locus[data.learning])
    whole: list[np.ndarray] = []
    halves: list[list[np.ndarray]] = []
    begin = 0
    for pool in data.roles.training + data.roles.pseudo_ood:
        here = first[begin : begin + len(pool.rows)][pool.label >= 0]
        begin += len(pool.rows)
        rows = pool.rows[pool.label >= 0]
        label = pool.label[pool.label >= 0]
        output = score(rows)
        potential = output.potential.double().cpu().numpy()
        values = system.exposure.standardise(output.representation).double().cpu().numpy()
        tested = _score_test(potential, values, label, temperature)
        if tested is None:
            continue
        whole.append(tested)
        parts = [_score_test(potential[part], values[part], label[part], temperature) for part in (here, ~here)]
        known = [part for part in parts if part is not None]
        if len(known) == 2:
            halves.append(known)
    size = system.backbone.representation_size
    by_half = np.array(halves).reshape(len(halves), 2, size).swapaxes(0, 1)
    return RankingScores(
        _differences(np.array(whole).reshape(len(whole), size)), np.stack([*map(_differences, by_half)])
    )


def locus_halves(locus: np.ndarray) -> np.ndarray:
    """Halve pairs by their loci: stretches of neighbouring loci, alike in pairs, fall to the halves in turn.

    Parameters
    ----------
    locus : ndarray, shape (n,)
        Numbered along the genome.

    Returns
    -------
    ndarray, shape (n,), bool
        The pair is of the first half; the same for all pairs of a locus.
    """
    _, inverse, count = np.unique(locus, return_inverse=True, return_counts=True)
    stretch = (np.cumsum(count) - count) * STRETCHES // max(1, len(locus))
    first: np.ndarray = (stretch % 2 == 0)[inverse]
    return first


def _score_test(potential: np.ndarray, values: np.ndarray, label: np.ndarray, temperature: float) -> np.ndarray | None:
    level = oracle_impedance(potential, label, temperature)
    if level is None:
        return None
    chance = expit((potential - level) / temperature)
    weight = chance * (1 - chance)
    values = values - (weight @ values) / weight.sum()  # the level was fitted
    scale = np.sqrt(weight @ values**2)
    scores: np.ndarray = ((label - chance) @ values) / np.maximum(scale, 1e-6)
    return scores


def _differences(scores: np.ndarray) -> np.ndarray:
    return scores - scores.mean(0) if len(scores) else scores


def contrast_directions(scores: np.ndarray, count: int) -> np.ndarray:
    """Find sparse directions along which environments differ, the strongest first.

    Power iteration with soft thresholds: a channel whose scores follow the environments' places along the direction by
    less than `MIN_SCORE` keeps a weight of 0.

    Parameters
    ----------
    scores : ndarray, shape (environments, size)
        See `ranking_scores`.

    Returns
    -------
    ndarray, shape (count, size)
        Unit vectors, or 0 where no channel is left. Of many channels chance alone can leave some, see
        `confirm_directions`.

    References
    ----------
    Shen, Huang. Sparse principal component analysis via regularized low rank matrix approximation. J. Multivar. Anal.
    2008.
    """
    rest = scores.copy()
    directions = np.zeros((count, scores.shape[1]))
    for direction in directions:
        if not rest.size or not np.abs(rest).max() > 0:
            break
        place = np.linalg.svd(rest, full_matrices=False)[0][:, 0]
        for _ in range(ROUNDS):
            loading = place @ rest
            loading = np.sign(loading) * np.maximum(np.abs(loading) - MIN_SCORE, 0)
            if not loading.any():
                break
            place = rest @ loading
            place /= np.linalg.norm(place)
        if not loading.any():
            break
        direction[:] = loading / np.linalg.norm(loading)
        rest -= np.outer(place, place @ rest)
    return directions


def confirm_directions(directions: np.ndarray, halves: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Test whether environments lie along directions alike on two halves of the loci (one-sided permutation test).

    Directions are found again on each half, as `contrast_directions` finds them, and matched to those given. Along
    each, environments are placed by the scores of both halves. The statistic is the correlation of the two places over
    environments, summed over the two finders. Where nothing lasts, one half says nothing of the other, and its
    environments may be renamed: that holds whatever the dispersion of the scores and their dependence among channels.

    Parameters
    ----------
    directions : ndarray, shape (count, size)
        0 where there is none.
    halves : ndarray, shape (2, environments, size)
        See `RankingScores`.

    Returns
    -------
    ndarray, shape (count,)
        p; 1 where there is no direction.

    References
    ----------
    Phipson, Smyth. Permutation p-values should never be zero. Stat. Appl. Genet. Mol. Biol. 2010.
    """
    renamed = np.array([rng.permutation(halves.shape[1]) for _ in range(PERMUTATIONS)])
    agreement, by_chance = np.zeros(len(directions)), np.zeros((len(directions), PERMUTATIONS))
    for finder in halves:
        found = contrast_directions(finder, len(directions))
        for given, match in zip(*linear_sum_assignment(-np.abs(directions @ found.T)), strict=True):
            if found[match].any():
                one, other = (_unit(places) for places in halves @ found[match])
                agreement[given] += one @ other
                by_chance[given] += other[renamed] @ one
    p = (1 + (by_chance >= agreement[:, None] - 1e-9).sum(1)) / (1 + PERMUTATIONS)
    return np.where(directions.any(1), p, 1.0)


def _unit(places: np.ndarray) -> np.ndarray:
    centred: np.ndarray = places - places.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-12)
