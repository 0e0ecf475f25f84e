"""Choose, calibrate on held-out rows, learn again from all training rows, score the test rows: one way for all.

1. Models of every setting learn from ``fit``; the setting with the smallest log-loss on ``selection`` is taken, the
   first of equals.
2. A model of that setting learns from the `rest` of the training rows, all cell lines outside the held-out part of the
   chromosomes and its gap, and scores ``held_out``. The logistic calibration of the log-odds comes from these scores,
   and the threshold of a call is that of best F1 on them once calibrated. ``selection`` would not do: it is one group
   of cell lines, and the prevalence differs between groups.
3. A model of that setting learns from all of ``train`` and scores ``test``. Rows rank by the calibrated log-odds, for
   the folds of one cell line are judged together.

A model that has learned from the same rows is not learned twice: with a split column ``fit``, `rest` and ``train`` are
one. Where ``fit``, ``selection`` or ``held_out`` lacks a class, the learner's own fallback setting is taken, nothing is
calibrated and nothing is called (NaN). Where ``train`` lacks a class, every pair gets the log-odds of the prevalence,
with half a pair added to either class. Where no calibration of positive slope exists, log-odds stay as they
came. Unlabelled rows (-1) are left out everywhere. This module does NOT know what the features are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from episode.compare.folds import Fold
from episode.compare.methods.base import FoldTask, RunnerResult, Scores
from episode.compare.methods.features import Features, oriented_pairs
from episode.errors import EpisodeError
from episode.metrics.metrics import calibration_line, log_loss

__all__ = [
    "BoostedTrees",
    "Chosen",
    "Learner",
    "LogOdds",
    "calibrated",
    "choose_and_learn",
    "labelled",
    "number_log_odds",
    "rest",
    "score_number",
]

BLOCK = 1 << 14

LogOdds = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""From features of shape (m, d) to log-odds of shape (m,)."""


class Learner(Protocol):
    """A kind of model with one setting to choose."""

    @property
    def settings(self) -> Sequence[float]:
        """What is tried, the most cautious first."""

    @property
    def fallback(self) -> float:
        """The setting where none can be chosen."""

    def passes(self, setting: float) -> int:
        """Return how often a model of a setting draws every row."""

    def learn(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int8],
        weight: NDArray[np.float64],
        settings: Sequence[float],
    ) -> list[LogOdds]:
        """Learn a model of each setting from rows of both classes."""


@dataclass(frozen=True)
class Chosen:
    """Scores of the test rows and how they came about.

    Parameters
    ----------
    setting : float
        That of the model.
    from_selection : bool
        It was chosen; False for the fallback.
    pairs_drawn : int or None
        See `RunnerResult`.
    """

    scores: Scores
    setting: float
    from_selection: bool
    pairs_drawn: int | None

    def result(self, method: str, **setting: float) -> RunnerResult:
        """Fill one method; keeps `setting`, by its own name, and whether it was chosen."""
        kept = setting | {"chosen_on_selection": self.from_selection}
        return RunnerResult({method: self.scores}, kept, self.pairs_drawn)


@dataclass(frozen=True)
class BoostedTrees:
    """Gradient-boosted trees (LightGBM) on one thread; the setting is the number of trees.

    Parameters
    ----------
    settings : sequence of float
        Numbers of trees, ascending; one model of the largest number gives all of them.
    leaves : int
        Leaves of a tree.
    feature_fraction : float
        Fraction of the features that a tree may use.
    min_leaf : int
        Smallest number of rows of a leaf.

    References
    ----------
    Ke et al. LightGBM: a highly efficient gradient boosting decision tree. NeurIPS 2017.
    """

    settings: Sequence[float]
    fallback: float
    leaves: int
    seed: int
    learning_rate: float = 0.05
    feature_fraction: float = 1.0
    min_leaf: int = 20

    def passes(self, setting: float) -> int:
        """Return one pass a tree."""
        return int(setting)

    def learn(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int8],
        weight: NDArray[np.float64],
        settings: Sequence[float],
    ) -> list[LogOdds]:
        """Learn as many trees as the largest setting says.

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
            "feature_fraction": self.feature_fraction,
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

        def first(count: int) -> LogOdds:
            return lambda table: np.asarray(
                trees.predict(table, raw_score=True, num_iteration=count, num_threads=1), dtype=np.float64
            )

        return [first(int(count)) for count in settings]


def rest(fold: Fold) -> NDArray[np.bool_]:
    """Rows of ``train`` outside the held-out part and its gap, of all training cell lines."""
    return fold.train & ~fold.held_out & ~fold.gap


def labelled(task: FoldTask, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of `mask` whose label may be read and is known."""
    readable = mask & task.fold.learnable & (task.dataset.pairs["label"].to_numpy() >= 0)
    return np.flatnonzero(readable).astype(np.int64)


def choose_and_learn(task: FoldTask, features: Features, learner: Learner) -> Chosen:
    """Score the test rows of a fold by a learned model.

    Returns
    -------
    Chosen
        ``score`` and ``logit`` are the log-odds of the model that learned from all of ``train``, `calibrated`.
    """
    fold = task.fold
    label = task.dataset.pairs["label"].to_numpy(np.int8)
    fit, selection, train = (labelled(task, mask) for mask in (fold.fit, fold.selection, fold.train))
    beside, held_out = labelled(task, rest(fold)), labelled(task, fold.held_out)
    setting, known, judged = learner.fallback, held_out[:0], np.zeros(0)
    model: LogOdds | None = None
    chosen = all(_both_classes(label[rows]) for rows in (fit, selection, held_out))
    if chosen:
        models = _learn(task, features, learner, fit, learner.settings)
        losses = [log_loss(label[selection], scores) for scores in _apply(task, features, models, selection)]
        best = int(np.argmin([np.inf if loss is None else loss for loss in losses]))
        setting = learner.settings[best]
        same = np.array_equal(beside, fit)
        model = models[best] if same else _learn(task, features, learner, beside, [setting])[0]
        known, judged = held_out, _apply(task, features, [model], held_out)[0]
    drawn = None
    if _both_classes(label[train]):
        drawn = max(len(train), len(beside)) * learner.passes(setting)
        if chosen:
            drawn = max(drawn, len(fit) * max(map(learner.passes, learner.settings)))
        if model is None or not np.array_equal(train, beside):
            model = _learn(task, features, learner, train, [setting])[0]
        score = _apply(task, features, [model], np.flatnonzero(fold.test))[0]
    else:
        score = np.full(int(fold.test.sum()), _prevalence_log_odds(label[train]))
    return Chosen(calibrated(score, label[known], judged), float(setting), chosen, drawn)


def calibrated(score: NDArray[np.float64], label: NDArray[np.int_], judged: NDArray[np.float64]) -> Scores:
    """Correct log-odds by the logistic calibration of held-out rows, and call by them.

    Beyond the range of the held-out rows a line steeper than 1 continues with slope 1: two models that learned next to
    nothing may differ in level by more than the standard deviation of their log-odds, and a steep line would make that
    certainty.

    Parameters
    ----------
    score : ndarray, shape (n_test,)
        Log-odds of the model that learned from all of ``train``.
    label, judged : ndarray, shape (n_held_out,)
        Labels of the held-out rows, and the log-odds that the model that learned from the `rest` gave them; empty
        where there is none.

    Returns
    -------
    Scores
        ``score`` and ``logit`` are the same: corrected, or as they came where no calibration of positive slope exists.
        The call's threshold is that of best F1 on `judged`, corrected in the same way; NaN without both classes.
    """
    line = calibration_line(label, judged)
    if line is not None and line.slope > 0:
        seen = np.clip(score, judged.min(), judged.max())
        score = line.intercept + line.slope * seen + min(line.slope, 1.0) * (score - seen)
        judged = line.intercept + line.slope * judged
    return Scores.called(score, score.copy(), judged, label)


def number_log_odds(task: FoldTask, number: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn one number into log-odds by its logistic calibration on ``train``, of either sign.

    Parameters
    ----------
    number : ndarray, shape (n_pairs,), float
        NaN where there is none.

    Returns
    -------
    ndarray, shape (n_pairs,)
        NaN where the number is; the log-odds of the prevalence elsewhere where no finite calibration exists.
    """
    label = task.dataset.pairs["label"].to_numpy(np.int8)
    train = _known(labelled(task, task.fold.train), number)
    line = calibration_line(label[train], number[train])
    base = _prevalence_log_odds(label[train])
    return number * 0.0 + base if line is None else line.intercept + line.slope * number


def score_number(task: FoldTask, score: NDArray[np.float64], logit: NDArray[np.float64]) -> Scores:
    """Score the test rows of a fold by numbers that nothing but ``train`` has shaped.

    Parameters
    ----------
    score : ndarray, shape (n_pairs,), float
        Greater means likelier; NaN where there is none, and there the method says nothing.
    logit : ndarray, shape (n_pairs,), float
        Log-odds, see `number_log_odds`.

    Returns
    -------
    Scores
        The call's threshold is that of best F1 on ``held_out``, or on ``train`` where ``held_out`` lacks a class.
    """
    label = task.dataset.pairs["label"].to_numpy(np.int8)
    held_out, train = (_known(labelled(task, mask), score) for mask in (task.fold.held_out, task.fold.train))
    rows = held_out if _both_classes(label[held_out]) else train
    test = task.fold.test
    return Scores.called(score[test], logit[test], score[rows], label[rows])


def _learn(
    task: FoldTask, features: Features, learner: Learner, rows: NDArray[np.int64], settings: Sequence[float]
) -> list[LogOdds]:
    which = oriented_pairs(task.dataset, rows)
    label = task.dataset.pairs["label"].to_numpy(np.int8)[rows]
    return learner.learn(features(which), label[which.pair], which.weight, settings)


def _apply(
    task: FoldTask, features: Features, models: Sequence[LogOdds], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log-odds of rows by each model, shape (n_models, n), some rows at a time; both orientations are averaged."""
    parts = []
    for start in range(0, len(rows), BLOCK):
        which = oriented_pairs(task.dataset, rows[start : start + BLOCK])
        table = features(which)
        parts.append(which.average(np.stack([model(table) for model in models])))
    return np.concatenate(parts, axis=1)


def _known(rows: NDArray[np.int64], number: NDArray[np.float64]) -> NDArray[np.int64]:
    return rows[np.isfinite(number[rows])]


def _both_classes(label: NDArray[np.int_] | NDArray[np.int8]) -> bool:
    return len(np.unique(label)) == 2


def _prevalence_log_odds(label: NDArray[np.int8]) -> float:
    positives = int((label == 1).sum())
    return float(np.log((positives + 0.5) / (len(label) - positives + 0.5)))
