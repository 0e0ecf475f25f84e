"""`distance` and `promoter_degree`: what can be said of a pair without its sequence.

Nothing here is a model of biology: a method that does not beat these has learned how the table was made. This module
does NOT know sequences.
"""

from __future__ import annotations

import numpy as np

from episode.compare.methods.base import FoldTask, RunnerResult
from episode.compare.methods.select import number_log_odds, score_number

__all__ = ["score_distance", "score_promoter_degree"]


def score_distance(task: FoldTask) -> RunnerResult:
    """Fill `distance`: ``-log10(distance + 1)``, distance in bp; NaN where it is not known.

    It ranks as it is; its log-odds are calibrated on ``train``.
    """
    number = -np.log10(task.dataset.pairs["distance"].to_numpy(np.float64) + 1)
    return RunnerResult({"distance": score_number(task, number, number_log_odds(task, number))})


def score_promoter_degree(task: FoldTask) -> RunnerResult:
    """Fill `promoter_degree`: in how many candidate pairs of its environment the promoter is.

    The number needs no label. Whether many or few favour an interaction is learned from ``train``: it ranks by its
    calibrated log-odds, which are all the same where no finite calibration exists.
    """
    pairs = task.dataset.pairs
    degree = pairs.groupby(["environment", "promoter_id"])["promoter_id"].transform("size").to_numpy(np.float64)
    logit = number_log_odds(task, degree)
    return RunnerResult({"promoter_degree": score_number(task, logit, logit)})
