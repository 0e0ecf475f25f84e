"""What shortcuts alone rank: the Opportunist of a trained run, without U_I.

It reads shortcut statistics and h_c; it is never part of a prediction. Nothing is trained here.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from episode.checkpoint import Run
from episode.compare.methods.base import Scores
from episode.compare.methods.trained_run import Reading
from episode.encode.store import ElementStore
from episode.inference.pairs import pair_rows
from episode.inference.scoring import score_rows
from episode.inference.support import embed_support
from episode.metrics.metrics import calibration_line

__all__ = ["opportunist_scores", "shortcut_score"]


def opportunist_scores(run: Run, store: ElementStore, test: Reading, calibration: Reading) -> Scores:
    """Return the scores of `opportunist`.

    ``-R_O / T`` alone is no log-odds, and its level differs between training runs. Score and logit are a logistic
    regression on this one number, fitted on the held-out rows of the training part: comparable between folds, and
    of the other sign where shortcuts misled there. Where that fit does not exist the number itself ranks, and the logit
    is NaN. The threshold of the call is chosen on the same rows.

    Parameters
    ----------
    test : Reading
        Rows to score.
    calibration : Reading
        Held-out training rows.
    """
    raw, held_out = shortcut_score(run, store, test), shortcut_score(run, store, calibration)
    line = calibration_line(calibration.label, held_out)
    if line is None:
        return Scores.called(raw, np.full(len(raw), np.nan), held_out, calibration.label)
    logit = line.intercept + line.slope * raw
    return Scores.called(logit, logit, line.intercept + line.slope * held_out, calibration.label)


@torch.no_grad()
def shortcut_score(run: Run, store: ElementStore, reading: Reading) -> NDArray[np.float64]:
    """Return ``-R_O(i) / T`` with ``R_O(i) = R_S(c) + delta(s_i, h_c)``, shape (n_pairs,).

    h_c comes from the support that prediction reads; delta is centred over the rows of the environment.
    """
    system = run.system
    rows = pair_rows(reading.dataset, run.facts.shortcuts)
    score = np.zeros(len(rows))
    for (estimate, index), support in zip(reading.environments(), reading.predictions.supports, strict=True):
        read = rows.take(support[: run.facts.config.episodes.support_max])
        embedding = embed_support(system, score_rows(system.backbone, store, read))
        delta = system.opportunist(torch.from_numpy(rows.shortcuts[index]), embedding).double().numpy()
        score[index] = -estimate.r_student / reading.temperature - delta / float(system.temperature())
    return score
