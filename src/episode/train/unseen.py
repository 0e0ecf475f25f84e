"""Training pairs as members see them that have not learned from them, and the closed-form Student fitted on them.

With one member these are held-out loci of every environment; with cross-fitting every environment is left out by some
members, so all its pairs count. This module does NOT know how members are trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from episode.checkpoint import (
    GAUGE,
    Alarm,
    ClosedStudent,
    Domain,
    MemberFacts,
    RunCalibration,
    StudentFacts,
)
from episode.data.places import Places
from episode.episodes.sampler import EnvironmentPool
from episode.errors import DatasetError
from episode.inference.closed_form import ClosedForm, View
from episode.inference.composition import Composition
from episode.inference.members import Member
from episode.inference.pairs import PairRows
from episode.inference.scoring import Scorer
from episode.metrics.metrics import average_precision, calibration_line, log_loss, oracle_impedance
from episode.train.student_fit import averaged_scale, fit_closed_form, fit_scales
from episode.train.student_records import MAX_PAIRS, MIN_LABELLED, LineScores
from episode.train.validation import EnvironmentCheck, or_nan

__all__ = ["FittedStudent", "fit_student", "level_of", "line_scores", "student_of_one"]


@dataclass(frozen=True)
class FittedStudent:
    """A closed-form Student, with what it was fitted on.

    Parameters
    ----------
    unseen : DataFrame
        See `episode.checkpoint.load_unseen`.
    calibration : RunCalibration
        Of predictions in training environments, each forecast without its own labels.
    domain : Domain
        Of compositions.
    checks : list of EnvironmentCheck
        The same predictions by environment, for alarms.
    """

    student: ClosedStudent
    facts: StudentFacts
    unseen: pd.DataFrame
    calibration: RunCalibration
    domain: Domain
    checks: list[EnvironmentCheck]

    @property
    def alarms(self) -> list[Alarm]:
        """Whether scores transfer between cell lines at all."""
        views = [view for view, scale in self.student.fitted.scales.items() if scale.nothing_transfers]
        where = {"new": "at new loci", "shared": "at shared loci"}
        text = (
            f"{' and '.join(where[view] for view in sorted(views))} U_I ranks nothing in cell lines that it has not "
            "learned from: probabilities follow the prevalence of training alone; tell the prevalence "
            "(--prevalence) or show labels (--support-labels)"
        )
        return [Alarm(name="nothing_transfers", text=text)] if views else []


def line_scores(pool: EnvironmentPool, potential: np.ndarray, composition: np.ndarray, rows: PairRows) -> LineScores:
    """Gather what the fit reads of one environment in one view.

    Parameters
    ----------
    potential : ndarray, shape (n,)
        Mean standardised potential of the rows of `pool`.
    composition : ndarray, shape (n, features)
    rows : PairRows
        Those that `pool.rows` number.
    """
    return LineScores(pool.name, potential, pool.label, rows.take(pool.rows).clusters, composition)


def level_of(potential: np.ndarray, label: np.ndarray, temperature: float) -> float:
    """Constant impedance that fits labelled pairs best, units of U_I.

    Raises
    ------
    DatasetError
        If they lack a class.
    """
    level = oracle_impedance(potential, label, temperature)
    if level is None:
        raise DatasetError("training needs pairs of both labels, 1 and 0; the rows of a member lack one")
    return level


def drawn(pool: EnvironmentPool, rank: np.ndarray) -> EnvironmentPool:
    """Return the pairs of an environment that are read: those of lowest rank, at most `MAX_PAIRS`."""
    order = np.argsort(rank[pool.rows], kind="stable")[:MAX_PAIRS]
    return replace(pool, rows=pool.rows[order], locus=pool.locus[order], label=pool.label[order])


def student_of_one(
    member: Member,
    score: Scorer,
    composition: Composition,
    *,
    learned: Sequence[EnvironmentPool],
    held_out: Sequence[EnvironmentPool],
    rank: np.ndarray,
    seed: int,
) -> FittedStudent:
    """Fit the Student of a run with a single member.

    Parameters
    ----------
    learned, held_out : sequence of EnvironmentPool
        Rows at loci that the member learned, and at loci that it did not.
    rank : ndarray, shape (n,)
        Of every row of the dataset.
    """
    views: dict[View, list[LineScores]] = {"shared": [], "new": []}
    parts: tuple[tuple[View, Sequence[EnvironmentPool]], ...] = (("shared", learned), ("new", held_out))
    for view, pools in parts:
        for pool in (drawn(pool, rank) for pool in pools):
            potential = member.standardised(score(pool.rows).potential).double().cpu().numpy()
            features = composition.pairs(score.rows.take(pool.rows))
            views[view].append(line_scores(pool, potential, features, score.rows))
    facts = MemberFacts(name="", left_out=(), level=member.level, temperature=member.temperature)
    nowhere = Places.of(pd.DataFrame({"chrom": [], "start": [], "end": []}), [])
    return fit_student(views, (facts,), (member,), nowhere, factor=1.0, judged=("new",), seed=seed)


def fit_student(
    views: Mapping[View, Sequence[LineScores]],
    facts: tuple[MemberFacts, ...],
    members: tuple[Member, ...],
    places: Places,
    *,
    factor: float,
    judged: Sequence[View],
    seed: int,
) -> FittedStudent:
    """Fit the closed-form Student, and judge it on the environments that it is fitted on.

    Parameters
    ----------
    views : mapping of View to sequence of LineScores
        A view whose labelled pairs lack a class is left out.
    places : Places
        Where training has been.
    factor : float
        See `episode.train.student_fit.averaging_factor`.
    judged : sequence of View
        Views whose pairs no member of the mean has learned from.

    Raises
    ------
    DatasetError
        If no view has labelled pairs of both classes.
    """
    usable = {
        view: list(lines)
        for view, lines in views.items()
        if {0, 1} <= {label for line in lines for label in np.unique(line.label).tolist()}
    }
    if not set(usable) & set(judged):
        raise DatasetError("the pairs that no member learned from lack a class; needed labelled pairs of both")
    scales = fit_scales(usable)
    fitted = fit_closed_form(usable, scales=scales, seed=seed)
    rows, checks = [], []
    for view in (view for view in judged if view in usable):
        for line in usable[view]:
            rows.append(_unseen_rows(line, view, fitted))
            checks.append(_check(line, view, fitted, len(judged) > 1))
    unseen = pd.concat(rows, ignore_index=True)
    used = {view: averaged_scale(scale, usable[view], factor) for view, scale in scales.items()}
    student = ClosedStudent(replace(fitted, scales=used), places, members)
    return FittedStudent(
        student=student,
        facts=StudentFacts(members=facts, chromosomes=places.chromosomes),
        unseen=unseen,
        calibration=_calibration(unseen, fitted),
        domain=_domain(usable),
        checks=checks,
    )


def left_out_level(fitted: ClosedForm, environment: str, view: View) -> float:
    """Level forecast for a training environment without it, in a view; 0 where there is no forecast."""
    names = fitted.left_out.environment
    return (
        float(fitted.left_out.forecast[names.index(environment)]) + fitted.offsets[view].level
        if environment in names
        else 0.0
    )


def _unseen_rows(line: LineScores, view: View, fitted: ClosedForm) -> pd.DataFrame:
    known = line.label >= 0
    return pd.DataFrame(
        {
            "environment": line.environment,
            "view": view,
            "logit": fitted.scale(view).logit(line.potential[known]),
            "label": line.label[known].astype(np.int8),
            "level": left_out_level(fitted, line.environment, view),
        }
    )


def _check(line: LineScores, view: View, fitted: ClosedForm, by_view: bool) -> EnvironmentCheck:
    known = line.label >= 0
    label, logit = line.label[known], fitted.scale(view).logit(line.potential[known])
    student = GAUGE - left_out_level(fitted, line.environment, view)
    potential = (logit + GAUGE).astype(np.float32)
    aupr = or_nan(average_precision(label, potential))
    return EnvironmentCheck(
        name=f"{line.environment} at {view} loci" if by_view else line.environment,
        potential=potential,
        label=label,
        ranked=potential,
        student=student,
        oracle=or_nan(oracle_impedance(potential, label, 1.0)),
        task=or_nan(log_loss(label, potential - student)),
        aupr=aupr,
        aupr_ranked=aupr,
        spread=0.0,
    )


def _calibration(unseen: pd.DataFrame, fitted: ClosedForm) -> RunCalibration:
    """Of predictions for training environments as for unseen ones."""
    logit = (unseen["logit"] + unseen["level"]).to_numpy()
    label = unseen["label"].to_numpy()
    line = calibration_line(label, logit)
    errors = fitted.left_out.forecast - fitted.left_out.level
    return RunCalibration(
        temperature=1.0,
        trained_temperature=None,
        offset=0.0,
        log_loss=log_loss(label, logit),
        residual_slope=None if line is None else line.slope,
        impedance_error=max(float(np.sqrt(np.mean(errors**2))) if len(errors) else 1.0, 1e-3),
        impedance_environments=len(errors),
        bootstrap_sd=0.0,
        pairs=len(unseen),
        training_impedance=GAUGE,
    )


def _domain(views: Mapping[View, Sequence[LineScores]]) -> Domain:
    """Mean compositions of training environments, both views together, and how far any lies from their centre."""
    parts: dict[str, list[np.ndarray]] = {}
    for lines in views.values():
        for line in lines:
            parts.setdefault(line.environment, []).append(line.composition)
    table = np.stack([np.concatenate(found).mean(0, dtype=np.float64) for _, found in sorted(parts.items())])
    domain = Domain(centre=table.mean(0), spread=np.maximum(table.std(0), 1e-3), limit=None, smallest=MIN_LABELLED)
    if len(table) == 1:
        return domain
    means = [line.composition.mean(0, dtype=np.float64) for lines in views.values() for line in lines]
    return domain.changed(limit=max(domain.distance(mean) for mean in means))
