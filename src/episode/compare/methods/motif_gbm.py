"""`motif_gbm`: boosted trees on the best JASPAR site of every motif on each strand of both elements.

This module does NOT know how rounds are chosen (see `episode.compare.methods.select`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from episode.compare.methods.base import FoldTask, RunnerResult
from episode.compare.methods.features import (
    FORWARD,
    REVERSE,
    ElementTable,
    Features,
    ctcf_index,
    elements_in_use,
    motif_table,
    oriented_maxima,
)
from episode.compare.methods.select import BoostedTrees, choose_and_learn
from episode.inference.orientation import OrientedPairs
from episode.seeds import derive_seed

__all__ = ["motif_features", "score_fold"]

ROUNDS = tuple(range(10, 401, 10))
FALLBACK_ROUNDS = 100


def score_fold(task: FoldTask) -> RunnerResult:
    """Fill `motif_gbm`."""
    table = motif_table(task.store, elements_in_use(task.dataset, task.rows))
    seed = derive_seed(task.seed, "motif_gbm", task.fold.name)
    trees = BoostedTrees(ROUNDS, FALLBACK_ROUNDS, leaves=15, seed=seed, feature_fraction=0.2)
    chosen = choose_and_learn(task, motif_features(table, ctcf_index(task.bank)), trees)
    return chosen.result("motif_gbm", rounds=int(chosen.setting))


def motif_features(table: ElementTable, ctcf: int) -> Features:
    """Lay the table of motif maxima out as features of pairs.

    Parameters
    ----------
    table : ElementTable
        Of `motif_table`, all k motifs.
    ctcf : int
        Position of CTCF.

    Returns
    -------
    Features
        8 k + 1 columns: maxima (upstream element forward and reverse, downstream element forward and reverse); products
        of one motif across the elements, each maximum not below 0 bits (convergent, divergent, both forward, both
        reverse); and the smaller of the two convergent CTCF sites.
    """

    def features(which: OrientedPairs) -> NDArray[np.float32]:
        upstream, downstream = oriented_maxima(table, which)
        a, b = np.maximum(upstream, 0), np.maximum(downstream, 0)
        columns = [
            upstream.reshape(len(which), -1),
            downstream.reshape(len(which), -1),
            a[:, FORWARD] * b[:, REVERSE],
            a[:, REVERSE] * b[:, FORWARD],
            a[:, FORWARD] * b[:, FORWARD],
            a[:, REVERSE] * b[:, REVERSE],
            np.minimum(a[:, FORWARD, ctcf], b[:, REVERSE, ctcf])[:, None],
        ]
        return np.concatenate(columns, axis=1)

    return features
