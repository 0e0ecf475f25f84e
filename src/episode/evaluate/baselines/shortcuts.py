"""`distance` and `promoter_degree`: what can be said of a pair without its sequence.

Nothing here is a model of biology: a rival that does not beat these has learned how the table was made. This module
does NOT know sequences.
"""

from __future__ import annotations

import numpy as np

from episode.evaluate.baselines.base import FamilyResult, FoldTask
from episode.evaluate.baselines.select import labelled, score_number
from episode.evaluate.metrics import auroc

__all__ = ["score_distance", "score_promoter_degree"]


def score_distance(task: FoldTask) -> FamilyResult:
    """Fill `distance`: ``-log10(distance + 1)``, distance in bp; NaN where it is not known."""
    distance = task.dataset.pairs["distance"].to_numpy(np.float64)
    return FamilyResult({"distance": score_number(task, -np.log10(distance + 1))})


def score_promoter_degree(task: FoldTask) -> FamilyResult:
    """Fill `promoter_degree`: in how many candidate pairs of its environment the promoter stands.

    The number needs no label. Whether many or few speak for an interaction is learned from ``fit``: the sign of the
    mean over environments of AUROC - 1/2; many, where no environment of ``fit`` has both classes.
    """
    pairs = task.dataset.pairs
    degree = pairs.groupby(["environment", "promoter_id"])["promoter_id"].transform("size").to_numpy(np.float64)
    fit = labelled(task, task.fold.fit)
    label, environment = pairs["label"].to_numpy()[fit], pairs["environment"].to_numpy()[fit]
    areas = [auroc(label[rows], degree[fit][rows]) for name in np.unique(environment) for rows in [environment == name]]
    known = [area for area in areas if area is not None]
    sign = -1 if known and np.mean(known) < 0.5 else 1
    return FamilyResult({"promoter_degree": score_number(task, sign * degree)}, {"sign": sign})
