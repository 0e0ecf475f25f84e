"""Where the exposure starts: the directions of z_I along which training environments rank their pairs differently.

Channels have no names and nothing tells them apart at the start. From a random start the exposure and the impedances of
every environment must find each other at once; few environments do not suffice for that. So they are measured: a score
test for each environment and each channel of z_I, then the directions that most of the tests agree in.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import expit

from episode.episodes.batch import Scorer
from episode.evaluate.metrics import oracle_impedance
from episode.model.energy import EnergySystem
from episode.train.material import Material

__all__ = ["contrast_directions", "ranking_scores", "start_exposure"]

LEAST_SCORE = 4.0
"""Standard errors that a channel of z_I must exceed to take part in a direction."""
ROUNDS = 20


def start_exposure(material: Material, system: EnergySystem, score: Scorer) -> None:
    """Start the exposure along the measured directions; nothing to do with one channel.

    Parameters
    ----------
    material : Material
    system : EnergySystem
        The statistics of its inputs are measured already.
    score : Scorer
    """
    if system.exposure.channels == 1:
        return
    directions = torch.from_numpy(
        contrast_directions(ranking_scores(material, system, score), system.exposure.channels - 1)
    )
    values = system.exposure.standardise(score(material.learning).representation).double().cpu()
    spread = (values @ directions.T).std(0)
    scaled = directions / torch.where(spread > 0, spread, 1.0)[:, None]
    system.exposure.start_along(scaled.float().to(system.temperature.offset.device))


def ranking_scores(material: Material, system: EnergySystem, score: Scorer) -> np.ndarray:
    """Test in each training environment which channels of z_I rank its pairs otherwise than U_I says.

    Parameters
    ----------
    material : Material
        Labels of training and pseudo-OOD environments are read.
    system : EnergySystem
        Gives T, and the statistics that standardise z_I.
    score : Scorer

    Returns
    -------
    ndarray, shape (environments, size)
        Score of the labels on each standardised channel of z_I, given U_I and the environment's own level, in
        standard errors; less what all environments share, for that is no difference between them. Environments that
        lack a class are left out.
    """
    temperature = float(system.temperature().detach())
    found = []
    for pool in material.roles.training + material.roles.pseudo_ood:
        rows = pool.rows[pool.label >= 0]
        label = pool.label[pool.label >= 0]
        output = score(rows)
        potential = output.potential.double().cpu().numpy()
        level = oracle_impedance(potential, label, temperature)
        if level is None:
            continue
        chance = expit((potential - level) / temperature)
        weight = chance * (1 - chance)
        values = system.exposure.standardise(output.representation).double().cpu().numpy()
        values = values - (weight @ values) / weight.sum()  # the level was fitted
        scale = np.sqrt(weight @ values**2)
        found.append(((label - chance) @ values) / np.maximum(scale, 1e-6))
    scores = np.array(found).reshape(len(found), system.backbone.representation_size)
    return scores - scores.mean(0) if len(scores) else scores


def contrast_directions(scores: np.ndarray, count: int) -> np.ndarray:
    """Find sparse directions along which environments differ, the strongest first.

    Power iteration with soft thresholds: a channel whose scores follow the environments' places along the direction by
    less than `LEAST_SCORE` keeps a weight of 0.

    Parameters
    ----------
    scores : ndarray, shape (environments, size)
        See `ranking_scores`.
    count : int
        Directions wanted.

    Returns
    -------
    ndarray, shape (count, size)
        Unit vectors, or 0 where no channel is left. Of many channels chance alone can leave some.

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
            loading = np.sign(loading) * np.maximum(np.abs(loading) - LEAST_SCORE, 0)
            if not loading.any():
                break
            place = rest @ loading
            place /= np.linalg.norm(place)
        if not loading.any():
            break
        direction[:] = loading / np.linalg.norm(loading)
        rest -= np.outer(place, place @ rest)
    return directions
