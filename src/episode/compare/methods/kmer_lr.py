"""`kmer_lr`: logistic regression on the 5-mer frequencies of both elements.

Frequencies take both strands together, so the orientation of a pair does not matter. This module does NOT know motifs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from episode.compare.methods.base import FoldTask, RunnerResult
from episode.compare.methods.features import elements_in_use, kmer_table
from episode.compare.methods.select import LogOdds, choose_and_learn
from episode.inference.orientation import OrientedPairs

__all__ = ["PenalisedRegression", "score_fold"]

K = 5
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""Values of C, the inverse of the penalty, for standardised features."""
ITERATIONS = 1000


def score_fold(task: FoldTask) -> RunnerResult:
    """Fill `kmer_lr`."""
    table = kmer_table(task.dataset, elements_in_use(task.dataset, task.rows), K)

    def features(which: OrientedPairs) -> NDArray[np.float32]:
        return np.concatenate([table.rows(which.enhancer), table.rows(which.promoter)], axis=1)

    chosen = choose_and_learn(task, features, PenalisedRegression())
    return chosen.result("kmer_lr", c=chosen.setting)


@dataclass(frozen=True)
class PenalisedRegression:
    """Logistic regression with a squared penalty on standardised features; the setting is C of scikit-learn.

    A feature that is constant where it is learned from is held at 0.
    """

    settings: Sequence[float] = PENALTIES
    fallback: float = 1e-4

    def passes(self, setting: float) -> int:
        """Return 1: the regression is fitted to all rows at once, until it changes no more."""
        return 1

    def learn(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int8],
        weight: NDArray[np.float64],
        settings: Sequence[float],
    ) -> list[LogOdds]:
        """Learn one regression for each setting."""
        with threadpool_limits(1):
            standard = features.astype(np.float64)
            centre = weight @ standard / weight.sum()
            standard -= centre
            deviation = np.sqrt(np.einsum("i,ij,ij->j", weight, standard, standard) / weight.sum())
            scale = np.where(deviation > 1e-12, deviation, np.inf)
            standard /= scale
            models = [
                LogisticRegression(C=c, max_iter=ITERATIONS).fit(standard, label, sample_weight=weight)
                for c in settings
            ]

        def log_odds(model: LogisticRegression, table: NDArray[np.float32]) -> NDArray[np.float64]:
            with threadpool_limits(1):
                scores: NDArray[np.float64] = model.decision_function((table - centre) / scale)
            return scores

        return [partial(log_odds, model) for model in models]
