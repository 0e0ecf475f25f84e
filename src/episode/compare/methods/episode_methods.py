"""EPIsode's own methods, and the baselines of its impedance: one training run a fold fills them all.

With one impedance channel most of them rank alike inside an environment, for a scalar cannot change a ranking there;
what they compare is the level. With a spectrum Student, Teacher and what prediction uses re-rank the pairs. The
method `oracle` reads test labels and is not made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from episode.checkpoint import GAUGE, MEMBERS, Run, load_run, load_unseen
from episode.compare.methods.base import FoldTask, RunnerResult, Scores
from episode.compare.methods.opportunist import opportunist_scores
from episode.compare.methods.trained_run import Reading, describe, learning_part, read_part, trained_run
from episode.inference.closed_form import ClosedForm, View
from episode.metrics.label_shift import (
    SourceScores,
    bbse_prior,
    em_prior,
    prior_to_impedance,
    source_scores,
)
from episode.metrics.metrics import oracle_impedance
from episode.predict.impedance import deviation, update_impedance

__all__ = [
    "Level",
    "Reference",
    "few_label_logit",
    "method_logits",
    "reference_of_network",
    "reference_of_student",
    "score_fold",
    "shift_impedances",
]


@dataclass(frozen=True)
class Level:
    """What a constant impedance says, and where.

    Parameters
    ----------
    impedance : float
        Units of U_I.
    prevalence : float
        Of the pairs that ``sigmoid((U_I - impedance) / T)`` is calibrated on, in (0, 1).
    source : SourceScores or None
        Of those pairs under that constant, for BBSE; None where they do not separate the classes.
    """

    impedance: float
    prevalence: float
    source: SourceScores | None


@dataclass(frozen=True)
class Reference:
    """What a run says of training pairs that its potential has not learned from: all that is chosen is chosen on them.

    Parameters
    ----------
    levels : dict
        The constant of each view, or of None where there is no closed-form Student.
    label : ndarray, shape (n,)
        1, 0 or -1.
    logits : dict of str to ndarray, shape (n,)
        Of each method in these pairs.
    """

    levels: dict[View | None, Level]
    label: NDArray[np.int8]
    logits: dict[str, NDArray[np.float64]]


def score_fold(task: FoldTask) -> RunnerResult:
    """Train EPIsode on a fold, predict its test rows from unlabelled support, and fill the methods below.

    ``episode.potential``
        ``(U_I - level) / T`` with one constant: inside an environment the ranking of U_I, and comparable between folds,
        each of which has a U_I of its own. It claims no probability and calls nothing.
    ``episode.student``, ``episode.teacher``, ``episode.fused``
        ``(U_I - R) / T`` with R_S; with R_T where the Teacher knows the environment, else NaN; with what prediction
        uses (both where known, R_S where not).
    ``episode.network``
        Under a closed-form Student of a single member: R_S of the network that it stands in for.
    ``mean_impedance``, ``em``, ``bbse``
        The same U_I under that constant, for all environments alike, and under the impedance that a label-shift
        estimator reads from the scores of the support, see `shift_impedances`.
    ``episode.few_label_<k>``
        The impedance that prediction uses, updated with k labels of each environment of this fold; k = 0 is
        ``episode.fused``. All are NaN on the same rows, `FewLabels.left_out`. The threshold of the call is that of
        ``episode.fused``: training rows show no labels to the update.
    ``opportunist``
        Shortcuts alone, see `episode.compare.methods.opportunist`.

    Constants and thresholds of best F1 are chosen on a `Reference`: under a closed-form Student the training pairs that
    members left out, else the held-out rows of all training cell lines, predicted as test rows are.

    Parameters
    ----------
    task : FoldTask
        A finished run in its folder is used, a broken-off one resumed.
    """
    run = trained_run(task, learning_part(task))
    test, held_out = read_part(run, task, task.fold.test), read_part(run, task, task.fold.held_out)
    if run.student is None:
        reference = reference_of_network(run, held_out)
    else:
        reference = reference_of_student(run.student.fitted, load_unseen(task.folder / "run"))
    logits, chosen_on = method_logits(run, test, reference.levels), reference.logits
    methods = {name: Scores.called(logit, logit, chosen_on[name], reference.label) for name, logit in logits.items()}
    nothing = np.full(len(test.potential), np.nan)
    methods["episode.potential"] = Scores(logits["mean_impedance"], nothing, nothing.copy())
    fused = chosen_on["episode.fused"]
    for count in sorted({0, *task.few_labels.rows}):
        logit = few_label_logit(task, run, test, count)
        methods[f"episode.few_label_{count}"] = Scores.called(logit, logit, fused, reference.label)
    alone = first_member(task, run)
    if run.student is not None and len(run.members) == 1:
        own, chosen = read_part(alone, task, task.fold.test).logit, read_part(alone, task, task.fold.held_out)
        methods["episode.network"] = Scores.called(own, own, chosen.logit, chosen.label)
    methods["opportunist"] = opportunist_scores(alone, task.own_store, test, held_out)
    level = next(iter(reference.levels.values()))
    prevalence = {
        estimate.environment: reference.levels[estimate.view].prevalence for estimate in test.predictions.estimates
    }
    figures = describe(task, run, test, level=level.impedance)
    return RunnerResult(methods, figures.changed(prevalence=prevalence), run.facts.provenance.queried)


def first_member(task: FoldTask, run: Run) -> Run:
    """Return the first member of a run with the network as its Student; the run itself where that is so."""
    if run.student is None:
        return run
    name = run.facts.student.members[0].name if run.facts.student else ""
    if name:
        return load_run(task.folder / "run" / MEMBERS / name)
    nowhere = np.zeros(run.system.backbone.representation_size)  # the domain of the run is one of compositions
    domain = run.facts.domain.changed(centre=nowhere, spread=nowhere + 1, limit=None)
    return replace(run, student=None, facts=run.facts.changed(student=None, domain=domain))


def reference_of_network(run: Run, held_out: Reading) -> Reference:
    """Choose on the held-out rows of all training cell lines, each environment predicted from its unlabelled support.

    The constant has the smallest log-loss on all of them. The mean of the training environments' R_T would not do: T
    and the offset of U_I were fitted under R_S, whose mean may lie elsewhere. At this constant the mean probability is
    their prevalence. Where they lack a class it is the mean R_T, and the training prevalence.
    """
    label = held_out.label
    found = oracle_impedance(held_out.potential, label, run.temperature)
    if found is None:
        level = Level(run.facts.calibration.training_impedance, run.facts.train_share, None)
    else:
        logit = (held_out.potential - found) / run.temperature
        level = Level(found, float((label == 1).sum() / (label >= 0).sum()), _source(label, logit))
    levels: dict[View | None, Level] = {None: level}
    return Reference(levels, label, method_logits(run, held_out, levels))


def reference_of_student(fitted: ClosedForm, unseen: pd.DataFrame) -> Reference:
    """Choose on the training pairs that members left out; the constant of a view is the level it is calibrated at.

    EM and BBSE read the scores of each environment there as they do in a test environment. What a Teacher would say of
    an environment that members left out is not known: its thresholds are those of the Student.

    Parameters
    ----------
    unseen : DataFrame
        See `episode.checkpoint.load_unseen`.
    """
    label, logit = unseen["label"].to_numpy(), unseen["logit"].to_numpy()
    student = logit + unseen["level"].to_numpy()
    levels: dict[View | None, Level] = {}
    logits = {"mean_impedance": logit, "em": logit.copy(), "bbse": np.full(len(logit), np.nan)}
    for view, scale in fitted.scales.items():
        here = (unseen["view"] == view).to_numpy()
        levels[view] = Level(GAUGE, scale.prevalence, _source(label[here], logit[here]))
        for _, rows in unseen[here].groupby("environment"):
            index = rows.index.to_numpy()
            for name, impedance in shift_impedances(logit[index], levels[view], 1.0).items():
                logits[name][index] = logit[index] + GAUGE - impedance
    logits |= dict.fromkeys(("episode.student", "episode.teacher", "episode.fused"), student)
    return Reference(levels, label, logits)


def shift_impedances(logit: NDArray[np.float64], level: Level, temperature: float) -> dict[str, float]:
    """Read the impedance of an environment from the distribution of its scores.

    Both estimators want a probability that is calibrated where a known prevalence holds: that under the constant, with
    its prevalence. `inverse_link` belongs to logits as IMMAX leaves them, before T was refitted by log-loss, and would
    correct a second time. The scores are those of the support that the Student reads.

    Parameters
    ----------
    logit : ndarray, shape (n,)
        ``(U_I - level) / T`` of the support.

    Returns
    -------
    dict
        ``em`` and ``bbse`` (NaN without `Level.source`), units of U_I. They are not held at 0: below it they say that
        the environment is easier than the gauge of the training environments allows.
    """
    probability = expit(logit)
    priors = {"em": em_prior(probability, level.prevalence)}
    if level.source is not None:
        priors["bbse"] = bbse_prior(probability, level.source)
    return {"bbse": np.nan} | {
        name: prior_to_impedance(prior, level.prevalence, level.impedance, temperature)
        for name, prior in priors.items()
    }


def method_logits(run: Run, reading: Reading, levels: Mapping[View | None, Level]) -> dict[str, NDArray[np.float64]]:
    """Logits of the methods that differ in the impedance of an environment only."""
    potential, temperature = reading.potential, run.temperature
    names = ("episode.student", "episode.teacher", "mean_impedance", "em", "bbse")
    logits = {name: np.zeros(len(potential)) for name in names}
    supports = reading.predictions.supports
    for (estimate, index), support in zip(reading.environments(), supports, strict=True):
        level = levels[estimate.view]
        found = shift_impedances((potential[support] - level.impedance) / temperature, level, temperature)
        exposure = reading.predictions.exposure[index]
        student, teacher = exposure @ np.array(estimate.student), exposure @ np.array(estimate.teacher)
        impedances = (student, teacher, level.impedance, found["em"], found["bbse"])
        for name, impedance in zip(names, impedances, strict=True):
            logits[name][index] = (potential[index] - impedance) / temperature
    return logits | {"episode.fused": reading.logit}


def few_label_logit(task: FoldTask, run: Run, test: Reading, count: int) -> NDArray[np.float64]:
    """Return the logits of the test rows after `count` labels of each environment of this fold, NaN where left out."""
    rows = task.few_labels.rows.get(count, np.zeros(0, dtype=np.int64))
    shown = np.isin(np.flatnonzero(task.fold.test), rows)
    label, temperature = task.few_labels.label[task.fold.test], run.temperature
    logit = np.zeros(len(test.potential))
    for estimate, index in test.environments():
        mine = index[shown[index]]
        ranked = test.potential - deviation(estimate, test.predictions.exposure)
        updated = update_impedance(estimate, ranked[mine], label[mine], temperature)
        logit[index] = (ranked[index] - updated.r_used) / temperature
    logit[task.few_labels.left_out[task.fold.test]] = np.nan
    return logit


def _source(label: NDArray[np.int8], logit: NDArray[np.float64]) -> SourceScores | None:
    """What BBSE needs of calibrated pairs; None where they lack a class or do not separate the two."""
    try:
        return source_scores(label, expit(logit))
    except ValueError:
        return None
