"""The budget of a training run of EPIsode: how many labelled pairs it has drawn. Knows no other method."""

from __future__ import annotations

import numpy as np

from episode.checkpoint import Run
from episode.data.dataset import Dataset

__all__ = ["queried_pairs"]


def queried_pairs(run: Run, learning: Dataset) -> int:
    """Count the labelled pairs that a training run has queried, each as often as it was; both stages together.

    Parameters
    ----------
    learning : Dataset
        What the run was trained on, validation pairs (split "val") among it.
    """
    pairs, roles = learning.pairs, run.facts.roles
    learned = (pairs["split"] == "train") & pairs["environment"].isin([*roles.training, *roles.pseudo_ood])
    return round(run.facts.provenance.epochs * int(np.sum(learned & (pairs["label"] >= 0))))
