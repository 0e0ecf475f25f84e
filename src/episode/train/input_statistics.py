"""Statistics of what the environment parts read, measured exactly once the Backbone no longer moves.

No label is read here.
"""

from __future__ import annotations

import torch

from episode.episodes.sampler import split_by_locus
from episode.inference.scoring import Scorer
from episode.model.energy import EnergySystem
from episode.seeds import generator
from episode.train.data import TrainingData

__all__ = ["measure_inputs"]

RELIABILITY_SPLITS = 8


def measure_inputs(data: TrainingData, system: EnergySystem, score: Scorer) -> None:
    """Set the statistics of the set encoder's inputs to those of the training pairs, as `score` has them."""
    total = torch.zeros(system.backbone.representation_size + 1, dtype=torch.float64)
    square, count = total.clone(), 0
    first, second = [], []
    for pool in data.roles.training + data.roles.pseudo_ood:
        output = score(pool.rows)
        values = torch.cat([output.representation, output.potential[:, None]], dim=1).double().cpu()
        total, square, count = total + values.sum(0), square + values.square().sum(0), count + len(values)
        for repeat in range(RELIABILITY_SPLITS):
            rng = generator(data.seed, "reliability", pool.name, repeat)
            one, other = split_by_locus(rng, pool.locus, query=len(pool.rows), support=len(pool.rows))
            if len(one) and len(other):
                first.append(values[one, :-1].mean(0))
                second.append(values[other, :-1].mean(0))
    mean = total / count
    if first:
        halves = torch.stack(first).float(), torch.stack(second).float()
        system.set_encoder.fit_inputs(mean.float(), (square / count - mean**2).float(), *halves)
    system.exposure.fit_inputs(mean[:-1].float(), (square / count - mean**2)[:-1].float())
