"""What the runner of a method is given and what it gives back.

A runner learns from the training pairs of one fold and scores its test pairs; it may fill several methods.
`FoldTask.dataset` holds -1 in place of every label outside the training pairs (`episode.compare.jobs.blind`); the only
test labels shown are those of `FewLabels`, for few-label methods. This module knows no particular method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from episode.compare.folds import Fold
from episode.config import Config
from episode.data.dataset import Dataset
from episode.encode.motifs import MotifBank
from episode.encode.store import ElementStore
from episode.evaluate.figures import RunFigures
from episode.metrics.metrics import best_f1_threshold

__all__ = ["FewLabels", "FoldTask", "Runner", "RunnerResult", "Scores"]


@dataclass(frozen=True)
class FewLabels:
    """Labels of test pairs of one fold that a few-label method may read.

    Parameters
    ----------
    rows : dict of int to ndarray of int64
        For each number of labels an environment of this fold: the dataset rows whose labels are shown. The rows of a
        smaller number are among those of a larger one. An environment that is tested in several folds is shown that
        number in each, of its test rows there.
    label : ndarray, shape (n_pairs,), int8
        Over all rows of the dataset: 1 or 0 where shown for the largest number, else -1.
    left_out : ndarray, shape (n_pairs,), bool
        Rows that no few-label method is judged on: those shown, and every other row with the same two elements.
    """

    rows: Mapping[int, NDArray[np.int64]]
    label: NDArray[np.int8]
    left_out: NDArray[np.bool_]


@dataclass(frozen=True)
class FoldTask:
    """One fold for one runner.

    Parameters
    ----------
    dataset : Dataset
        All pairs of the protocol. ``label`` is -1 outside `fold.learnable`. ``split`` is "train" and "val" in the
        learnable rows ("val": the held-out part of the training chromosomes), "skip" in those within the gap, and
        "test" elsewhere.
    store : ElementStore
        Motif scores of every element, bins of `config.stem.bin` bp.
    bank : MotifBank
        The motifs of the store.
    config : Config
        Settings of EPIsode.
    folder : Path
        The runner's own, for what it keeps; may not exist yet.
    own_store : ElementStore
        Every element as EPIsode's own stem reads it: `store` where `config.stem.kind` is "motif".
    budget : int or None
        Pairs that a training run may draw, of a runner that is given as many as EPIsode's own; None for the runner's
        own number.
    """

    dataset: Dataset
    store: ElementStore
    bank: MotifBank
    fold: Fold
    few_labels: FewLabels
    config: Config
    seed: int
    folder: Path
    own_store: ElementStore
    budget: int | None = None

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the dataset that are learned from, chosen on or tested."""
        return np.flatnonzero(self.fold.learnable | self.fold.test)


@dataclass(frozen=True)
class Scores:
    """What one method says of the test rows of one fold, in the order of ``np.flatnonzero(fold.test)``.

    Parameters
    ----------
    score : ndarray, shape (n_test,), float
        Ranks; NaN where the method says nothing of a pair.
    logit : ndarray, shape (n_test,), float
        Log-odds of interaction; NaN where the method claims no probability.
    call : ndarray, shape (n_test,), float
        1 or 0: `score` against a threshold chosen on the fold's held-out training rows; NaN where none was chosen.
    """

    score: NDArray[np.float64]
    logit: NDArray[np.float64]
    call: NDArray[np.float64]

    @classmethod
    def called(
        cls, score: NDArray[np.float64], logit: NDArray[np.float64], chosen_on: NDArray[np.float64], label: NDArray[Any]
    ) -> Self:
        """Add the call by the threshold of best F1 on held-out training rows; NaN where those lack a class.

        Parameters
        ----------
        score, logit : ndarray, shape (n_test,)
        chosen_on : ndarray, shape (n_held_out,)
            The same score of the held-out rows; NaN where it says nothing of one.
        label : ndarray, shape (n_held_out,)
        """
        known = np.isfinite(chosen_on)
        threshold = best_f1_threshold(label[known], chosen_on[known])
        call = np.full(len(score), np.nan)
        if threshold is not None:
            call = np.where(np.isfinite(score), (score >= threshold).astype(np.float64), np.nan)
        return cls(score, logit, call)


@dataclass(frozen=True)
class RunnerResult:
    """The methods that a runner fills, and what it keeps.

    Parameters
    ----------
    extras : RunFigures or mapping
        JSON-ready: of a training run of EPIsode its figures.
    pairs_drawn : int or None
        Labelled pairs that were drawn, each as often as it was, in the longest training run behind the scores: a run
        that chooses among its steps counts to its end. None where nothing is trained.
    """

    methods: Mapping[str, Scores]
    extras: RunFigures | Mapping[str, JsonValue] = field(default_factory=dict)
    pairs_drawn: int | None = None


class Runner(Protocol):
    """Learns and scores one fold."""

    def __call__(self, task: FoldTask) -> RunnerResult:
        """Return the scores of `task.fold.test`."""
