"""`ctcf_convergence` and `ctcf_gbm`: what one motif says, the one that anchors loops.

Of two CTCF sites that loop, the upstream one reads forward and the downstream one reverse (Rao et al., Cell 2014,
159:1665): the motifs point at each other. The upstream element is the enhancer in pair orientation. A best site
below 0 bits counts as none, so that two bad sites do not make a good product. This module does NOT know other motifs.
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
    oriented_pairs,
)
from episode.compare.methods.select import BoostedTrees, choose_and_learn, number_log_odds, score_number
from episode.inference.orientation import OrientedPairs
from episode.seeds import derive_seed

__all__ = ["convergence", "ctcf_features", "score_convergence", "score_gbm"]

TREES = tuple(range(5, 121, 5))
FALLBACK_TREES = 60
LEAVES = 7


def score_convergence(task: FoldTask) -> RunnerResult:
    """Fill `ctcf_convergence`: one number that ranks as it is, nothing learned but its calibration."""
    rows = task.rows
    which = oriented_pairs(task.dataset, rows)
    number = np.full(len(task.dataset.pairs), np.nan)
    number[rows] = which.average(convergence(_table(task), which))
    return RunnerResult({"ctcf_convergence": score_number(task, number, number_log_odds(task, number))})


def score_gbm(task: FoldTask) -> RunnerResult:
    """Fill `ctcf_gbm`: boosted trees on 7 numbers."""
    seed = derive_seed(task.seed, "ctcf_gbm", task.fold.name)
    trees = BoostedTrees(TREES, FALLBACK_TREES, leaves=LEAVES, seed=seed)
    chosen = choose_and_learn(task, ctcf_features(_table(task)), trees)
    return chosen.result("ctcf_gbm", rounds=int(chosen.setting))


def convergence(table: ElementTable, which: OrientedPairs) -> NDArray[np.float64]:
    """Best forward site upstream times best reverse site downstream.

    Parameters
    ----------
    table : ElementTable
        Of `motif_table`, CTCF alone.

    Returns
    -------
    ndarray, shape (m,), float64
        Bits squared, at least 0.
    """
    upstream, downstream = (np.maximum(side[:, :, 0], 0).astype(np.float64) for side in oriented_maxima(table, which))
    product: NDArray[np.float64] = upstream[:, FORWARD] * downstream[:, REVERSE]
    return product


def ctcf_features(table: ElementTable) -> Features:
    """Lay the best CTCF sites out as 7 features of pairs.

    Parameters
    ----------
    table : ElementTable
        Of `motif_table`, CTCF alone.

    Returns
    -------
    Features
        Best site in bits (upstream element forward and reverse, downstream element forward and reverse); convergent
        product, smaller convergent site, divergent product, of sites not below 0 bits.
    """

    def features(which: OrientedPairs) -> NDArray[np.float32]:
        upstream, downstream = (side[:, :, 0] for side in oriented_maxima(table, which))
        a, b = np.maximum(upstream, 0), np.maximum(downstream, 0)
        columns = [
            *upstream.T,
            *downstream.T,
            a[:, FORWARD] * b[:, REVERSE],
            np.minimum(a[:, FORWARD], b[:, REVERSE]),
            a[:, REVERSE] * b[:, FORWARD],
        ]
        return np.stack(columns, axis=1)

    return features


def _table(task: FoldTask) -> ElementTable:
    """Best sites of CTCF, by the first of its matrices where the gate has them all: the one that ranks best."""
    bank, store = task.bank, task.store
    if bank.gate is not None and store.gate is not None and set(bank.gate.names) == {"CTCF"}:
        bank, store = bank.gate, store.gate
    return motif_table(store, elements_in_use(task.dataset, task.rows), np.array([ctcf_index(bank)]))
