"""Choose on the selection rows, learn again from all training rows, score the test rows: one way for all rivals.

1. Models of every setting learn from ``fit``; the setting with the least log-loss on ``selection`` is taken, the first
   of equals.
2. The call threshold is that of best F1 on ``selection``, by the model of that setting that learned from ``fit``; so is
   the logistic calibration of its log-odds.
3. A model of that setting learns from all of ``train`` and scores ``test``.

Where ``fit`` or ``selection`` lacks a class, the learner's own fallback setting is taken and nothing is called (NaN).
Where ``train`` lacks a class, every pair gets the log-odds of the share of positives, with half a pair added to either
class. Unlabelled rows (-1) are left out everywhere. This module does NOT know what the features are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from episode.errors import EpisodeError
from episode.evaluate.baselines.base import FoldTask, Scores
from episode.evaluate.baselines.features import Features, layouts
from episode.evaluate.metrics import best_f1_threshold, calibration_line, log_loss

__all__ = ["BoostedTrees", "Chosen", "Learner", "LogOdds", "calibrated", "choose_and_learn", "labelled", "score_number"]

BLOCK = 1 << 14

LogOdds = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""From features of shape (m, d) to log-odds of shape (n_settings, m)."""


class Learner(Protocol):
    """A kind of model with one setting to choose."""

    @property
    def settings(self) -> Sequence[float]:
        """What is tried, the most cautious first."""

    @property
    def fallback(self) -> float:
        """The setting where none can be chosen."""

    def learn(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int8],
        weight: NDArray[np.float64],
        settings: Sequence[float],
    ) -> LogOdds:
        """Learn a model of each setting from rows of both classes."""


@dataclass(frozen=True)
class Chosen:
    """Scores of the test rows and how they came about.

    Parameters
    ----------
    scores : Scores
    setting : float
        That of the model.
    from_selection : bool
        It was chosen; False for the fallback.
    """

    scores: Scores
    setting: float
    from_selection: bool


@dataclass(frozen=True)
class BoostedTrees:
    """Gradient-boosted trees (LightGBM) on one thread; the setting is the number of trees.

    Parameters
    ----------
    settings : sequence of float
        Numbers of trees, ascending; one model of the greatest number gives all of them.
    fallback : float
    leaves : int
        Leaves of a tree.
    seed : int
    learning_rate : float
    feature_share : float
        Share of the features that a tree may use.
    min_leaf : int
        Least rows of a leaf.

    References
    ----------
    Ke et al. LightGBM: a highly efficient gradient boosting decision tree. NeurIPS 2017.
    """

    settings: Sequence[float]
    fallback: float
    leaves: int
    seed: int
    learning_rate: float = 0.05
    feature_share: float = 1.0
    min_leaf: int = 20

    def learn(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int8],
        weight: NDArray[np.float64],
        settings: Sequence[float],
    ) -> LogOdds:
        """Learn as many trees as the greatest setting says.

        Raises
        ------
        EpisodeError
            If LightGBM is not installed.
        """
        try:
            import lightgbm
        except ModuleNotFoundError:
            raise EpisodeError(
                "boosted trees need LightGBM, which is not installed: pip install 'episode-epi[compare]'"
            ) from None
        parameters = {
            "objective": "binary",
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "feature_fraction": self.feature_share,
            "min_data_in_leaf": self.min_leaf,
            "max_bin": 63,
            "seed": self.seed % 2**31,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(features, label=label, weight=weight, params=parameters)
        trees = lightgbm.train(parameters, data, num_boost_round=int(max(settings)))

        def log_odds(table: NDArray[np.float32]) -> NDArray[np.float64]:
            return np.stack(
                [
                    np.asarray(trees.predict(table, raw_score=True, num_iteration=int(count), num_threads=1))
                    for count in settings
                ]
            )

        return log_odds


def labelled(task: FoldTask, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of `mask` whose label may be read and is known."""
    readable = mask & task.fold.learnable & (task.dataset.pairs["label"].to_numpy() >= 0)
    return np.flatnonzero(readable).astype(np.int64)


def choose_and_learn(task: FoldTask, features: Features, learner: Learner) -> Chosen:
    """Score the test rows of a fold by a learned model.

    Parameters
    ----------
    task : FoldTask
    features : Features
    learner : Learner

    Returns
    -------
    Chosen
        ``score`` is the log-odds of the model that learned from all of ``train``, ``logit`` the same `calibrated`.
    """
    fold = task.fold
    label = task.dataset.pairs["label"].to_numpy(np.int8)
    fit, selection, train = (labelled(task, mask) for mask in (fold.fit, fold.selection, fold.train))
    test = np.flatnonzero(fold.test)
    setting, threshold, judge = learner.fallback, np.nan, np.zeros(0)
    chosen = _both_classes(label[fit]) and _both_classes(label[selection])
    if chosen:
        model = _learn(task, features, learner, fit, learner.settings)
        judged = _apply(task, features, model, selection)
        losses = [log_loss(label[selection], scores) for scores in judged]
        best = int(np.argmin([np.inf if loss is None else loss for loss in losses]))
        setting = learner.settings[best]
        judge = judged[best]
        threshold = _threshold(label[selection], judge)
    if _both_classes(label[train]):
        model = _learn(task, features, learner, train, [setting])
        score = _apply(task, features, model, test)[0]
    else:
        score = np.full(len(test), _share_log_odds(label[train]))
    logit = calibrated(score, label[selection], judge) if chosen else score.copy()
    return Chosen(Scores(score, logit, _call(score, threshold)), float(setting), chosen)


def calibrated(score: NDArray[np.float64], label: NDArray[np.int_], judged: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct log-odds by the logistic calibration of selection rows.

    Parameters
    ----------
    score : ndarray, shape (n_test,)
        Log-odds of the model that learned from all of ``train``.
    label, judged : ndarray, shape (n_selection,)
        Labels of the selection rows, and the log-odds that the model that learned from ``fit`` gave them.

    Returns
    -------
    ndarray, shape (n_test,)
        As it came where no calibration of positive slope exists.
    """
    line = calibration_line(label, judged)
    return score.copy() if line is None or line.slope <= 0 else line.intercept + line.slope * score


def score_number(task: FoldTask, number: NDArray[np.float64]) -> Scores:
    """Score the test rows of a fold by one number, which ranks as it is.

    Parameters
    ----------
    task : FoldTask
    number : ndarray, shape (n_pairs,), float
        Greater means likelier; NaN where there is none, and there the row says nothing.

    Returns
    -------
    Scores
        ``score`` is the number, ``logit`` its logistic calibration on ``train`` (of either sign; the share of
        positives alone where no finite one exists).
    """
    fold = task.fold
    label = task.dataset.pairs["label"].to_numpy(np.int8)
    selection, train = (
        rows[np.isfinite(number[rows])] for rows in (labelled(task, fold.selection), labelled(task, fold.train))
    )
    score = number[fold.test].astype(np.float64)
    line = calibration_line(label[train], number[train])
    logit = score * 0.0 + _share_log_odds(label[train]) if line is None else line.intercept + line.slope * score
    threshold = _threshold(label[selection], number[selection])
    return Scores(score, logit, _call(score, threshold))


def _learn(
    task: FoldTask, features: Features, learner: Learner, rows: NDArray[np.int64], settings: Sequence[float]
) -> LogOdds:
    which = layouts(task.dataset, rows)
    label = task.dataset.pairs["label"].to_numpy(np.int8)[rows]
    return learner.learn(features(which), label[which.pair], which.weight, settings)


def _apply(task: FoldTask, features: Features, model: LogOdds, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-odds of rows, shape (n_settings, n), some rows at a time; two layouts are averaged."""
    parts = []
    for start in range(0, len(rows), BLOCK):
        which = layouts(task.dataset, rows[start : start + BLOCK])
        parts.append(which.average(model(features(which))))
    return np.concatenate(parts, axis=1)


def _threshold(label: NDArray[np.int8], score: NDArray[np.float64]) -> float:
    threshold = best_f1_threshold(label, score) if _both_classes(label) else None
    return np.nan if threshold is None else threshold


def _both_classes(label: NDArray[np.int8]) -> bool:
    return len(np.unique(label)) == 2


def _share_log_odds(label: NDArray[np.int8]) -> float:
    positives = int((label == 1).sum())
    return float(np.log((positives + 0.5) / (len(label) - positives + 0.5)))


def _call(score: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """1 where the score reaches the threshold, else 0; NaN where either is not known."""
    return np.where(np.isnan(score) | np.isnan(threshold), np.nan, (score >= threshold).astype(np.float64))
