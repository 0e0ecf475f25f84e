"""EPIsode's own methods, and the baselines of its impedance: one training run a fold fills them all.

With one impedance channel most of them rank alike inside an environment, for a scalar cannot change a ranking there;
what they compare is the level. With a spectrum Student, Teacher and what prediction uses re-rank the pairs. The
method `oracle` reads test labels and is not made here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from episode.checkpoint import Run
from episode.compare.methods.base import FoldTask, RunnerResult, Scores
from episode.compare.methods.budget import queried_pairs
from episode.compare.methods.opportunist import opportunist_scores
from episode.compare.methods.trained_run import Reading, describe, learning_part, read_part, trained_run
from episode.metrics.label_shift import (
    SourceScores,
    bbse_prior,
    em_prior,
    prior_to_impedance,
    source_scores,
)
from episode.metrics.metrics import oracle_impedance
from episode.predict.impedance import deviation, update_impedance

__all__ = ["Level", "few_label_logit", "score_fold", "shift_impedances", "training_level"]


@dataclass(frozen=True)
class Level:
    """What a constant impedance says, and where.

    Parameters
    ----------
    impedance : float
        Units of U_I.
    prevalence : float
        Of the pairs that ``sigmoid((U_I - impedance) / T)`` is calibrated on, in (0, 1).
    """

    impedance: float
    prevalence: float


def score_fold(task: FoldTask) -> RunnerResult:
    """Train EPIsode on a fold, predict its test rows from unlabelled support, and fill the methods below.

    ``episode.potential``
        ``(U_I - level) / T`` with the one constant of `training_level`: inside an environment the ranking of U_I, and
        comparable between folds, each of which has a U_I of its own. It claims no probability and calls nothing.
    ``episode.student``, ``episode.teacher``, ``episode.fused``
        ``(U_I - R) / T`` with R_S; with R_T where the Teacher knows the environment, else NaN; with what prediction
        uses (both where known, R_S where not).
    ``mean_impedance``, ``em``, ``bbse``
        The same U_I under that constant, for all environments alike, and under the impedance that a label-shift
        estimator reads from the scores of the support, see `shift_impedances`.
    ``episode.few_label_<k>``
        The impedance that prediction uses, updated with k labels of each environment of this fold; k = 0 is
        ``episode.fused``. All are NaN on the same rows, `FewLabels.left_out`. Held-out training rows show no labels to
        the update: the threshold of the call is that of ``episode.fused``.
    ``opportunist``
        Shortcuts alone, see `episode.compare.methods.opportunist`.

    Thresholds of calls are those of best F1 on the held-out rows of all training cell lines, predicted as test rows
    are: each environment from its own unlabelled support.

    Parameters
    ----------
    task : FoldTask
        A finished run in its folder is used, a broken-off one resumed.
    """
    learning = learning_part(task)
    run = trained_run(task, learning)
    test, calibration = read_part(run, task, task.fold.test), read_part(run, task, task.fold.held_out)
    level = training_level(run, calibration)
    source = _source(run, calibration, level)
    logits, chosen_on = (_level_logits(run, reading, level, source) for reading in (test, calibration))
    methods = {name: Scores.called(logit, logit, chosen_on[name], calibration.label) for name, logit in logits.items()}
    nothing = np.full(len(test.potential), np.nan)
    methods["episode.potential"] = Scores(_level_logit(run, test, level), nothing, nothing.copy())
    for count in sorted({0, *task.few_labels.rows}):
        logit = few_label_logit(task, run, test, count)
        methods[f"episode.few_label_{count}"] = Scores.called(logit, logit, calibration.logit, calibration.label)
    methods["opportunist"] = opportunist_scores(run, task.own_store, test, calibration)
    return RunnerResult(methods, describe(task, run, test, level=level.impedance), queried_pairs(run, learning))


def training_level(run: Run, calibration: Reading) -> Level:
    """Find the one constant impedance of smallest log-loss on the held-out training rows, all of them pooled.

    The mean of the training environments' R_T would not do: T and the offset of U_I were fitted under R_S, whose mean
    may lie elsewhere. At this constant the mean probability of the held-out rows is their prevalence.

    Parameters
    ----------
    calibration : Reading
        The held-out training rows. Where they lack a class: the mean R_T and the training prevalence.
    """
    label = calibration.label
    found = oracle_impedance(calibration.potential, label, _temperature(run))
    if found is None:
        return Level(run.facts.calibration.training_impedance, run.facts.train_share)
    return Level(found, float((label == 1).sum() / (label >= 0).sum()))


def shift_impedances(run: Run, reading: Reading, level: Level, source: SourceScores | None) -> list[dict[str, float]]:
    """Read the impedance of every environment of a part from the distribution of its scores.

    Both estimators want a probability that is calibrated where a known prevalence holds. That is
    ``sigmoid((U_I - level) / T)`` with the prevalence of the held-out training rows, see `training_level`: the final
    stage of training refitted T by log-loss on them, so the logit is a log-odds. `inverse_link` belongs to logits as
    IMMAX leaves them, before that stage, and would correct a second time. The scores are those of the support that the
    Student reads.

    Parameters
    ----------
    source : SourceScores or None
        Of the held-out training rows; None leaves BBSE at NaN.

    Returns
    -------
    list of dict
        ``em`` and ``bbse`` for each of `reading.predictions.estimates`, units of U_I. They are not held at 0: below
        it they say that the environment is easier than the gauge of the training environments allows.
    """
    temperature = _temperature(run)
    probability = expit(_level_logit(run, reading, level))
    found = []
    for support in (probability[rows] for rows in reading.predictions.supports):
        priors = {"em": em_prior(support, level.prevalence)} | (
            {} if source is None else {"bbse": bbse_prior(support, source)}
        )
        impedance = {
            name: prior_to_impedance(prior, level.prevalence, level.impedance, temperature)
            for name, prior in priors.items()
        }
        found.append({"bbse": np.nan} | impedance)
    return found


def few_label_logit(task: FoldTask, run: Run, test: Reading, count: int) -> NDArray[np.float64]:
    """Return the logits of the test rows after `count` labels of each environment of this fold, NaN where left out."""
    rows = task.few_labels.rows.get(count, np.zeros(0, dtype=np.int64))
    shown = np.isin(np.flatnonzero(task.fold.test), rows)
    label, temperature = task.few_labels.label[task.fold.test], _temperature(run)
    logit = np.zeros(len(test.potential))
    for estimate, index in test.environments():
        mine = index[shown[index]]
        ranked = test.potential - deviation(estimate, test.predictions.exposure)
        updated = update_impedance(estimate, ranked[mine], label[mine], temperature)
        logit[index] = (ranked[index] - updated.r_used) / temperature
    logit[task.few_labels.left_out[task.fold.test]] = np.nan
    return logit


def _level_logits(
    run: Run, reading: Reading, level: Level, source: SourceScores | None
) -> dict[str, NDArray[np.float64]]:
    """Logits of the methods that differ in the impedance of an environment only."""
    potential, temperature = reading.potential, _temperature(run)
    shift = shift_impedances(run, reading, level, source)
    names = ("episode.student", "episode.teacher", "mean_impedance", "em", "bbse")
    logits = {name: np.zeros(len(potential)) for name in names}
    for (estimate, index), found in zip(reading.environments(), shift, strict=True):
        exposure = reading.predictions.exposure[index]
        student, teacher = exposure @ np.array(estimate.student), exposure @ np.array(estimate.teacher)
        impedances = (student, teacher, level.impedance, found["em"], found["bbse"])
        for name, impedance in zip(names, impedances, strict=True):
            logits[name][index] = (potential[index] - impedance) / temperature
    return logits | {"episode.fused": reading.logit}


def _source(run: Run, calibration: Reading, level: Level) -> SourceScores | None:
    """What BBSE needs of the held-out training rows; None where they lack a class or do not separate the two."""
    try:
        return source_scores(calibration.label, expit(_level_logit(run, calibration, level)))
    except ValueError:
        return None


def _level_logit(run: Run, reading: Reading, level: Level) -> NDArray[np.float64]:
    """Log-odds at one impedance for all environments; calibrated at the prevalence of `level`."""
    return (reading.potential - level.impedance) / _temperature(run)


def _temperature(run: Run) -> float:
    return float(run.system.temperature())
