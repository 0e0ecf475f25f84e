"""Fit the Student in closed form on scores of lines that their scorers left out.

First the scale of the potentials, one for all lines in each view; then a record a line; then the forecasts of levels,
judged by leaving each line out. No optimiser beyond the logistic fit of two numbers, and no network. It does not know
where scores come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit as log_odds
from scipy.stats import norm
from scipy.stats import t as student_t

from episode.inference.closed_form import UPPER, ClosedForm, LeftOut, Scale, View
from episode.metrics.label_shift import SHIFT_SD
from episode.metrics.metrics import fit_logistic
from episode.seeds import generator
from episode.train.student_records import MAX_PAIRS, LineScores, Records, fit_axes, gives_record, make_records
from episode.train.student_regression import fit_level_model

__all__ = ["LINE_ROWS", "MIN_SLOPE", "LineScores", "averaged_scale", "averaging_factor", "fit_closed_form", "fit_scale"]

MIN_SLOPE = 0.02
"""Smallest slope of ``lambda`` by the standardised potential. Reached, nothing transfers between lines."""
LINE_ROWS = 100
"""Labelled pairs that are added to a line's own before it is weighted by their inverse."""


def fit_scale(lines: Sequence[LineScores]) -> Scale:
    """Calibrate the potentials of one view: one slope and intercept for all lines, by log-loss.

    A pair has the weight ``1 / (n + 100)``, n the labelled pairs of its line, so that no line rules by its size. Lines
    of one class take no part unless all lines are.

    Parameters
    ----------
    lines : sequence of LineScores
        In any order.

    Returns
    -------
    Scale
        With the weighted prevalence. `Scale.nothing_transfers` where the slope is at its bound, 0.02.

    Raises
    ------
    ValueError
        If the labelled pairs lack a class.
    """
    score, label, weight = _weighted_rows(lines)
    if len(np.unique(label)) < 2:
        raise ValueError(
            f"{len(label)} labelled pairs of {len(lines)} lines hold one class: a scale needs positives and negatives"
        )
    prevalence = float(np.average(label, weights=weight))
    centre = float(np.average(score, weights=weight))
    unit = float(np.sqrt(np.average((score - centre) ** 2, weights=weight))) or 1.0
    line = fit_logistic(
        (score - centre) / unit,
        label,
        start=(max(1.0, MIN_SLOPE * unit), float(log_odds(prevalence))),
        weight=weight,
        min_slope=MIN_SLOPE * unit,
        tolerance=(0.0, 1e-9),
    )
    at_bound = line.slope <= MIN_SLOPE * unit * (1 + 1e-9)
    slope = MIN_SLOPE if at_bound else line.slope / unit
    return Scale(slope, line.intercept - slope * centre, prevalence, nothing_transfers=at_bound)


def averaging_factor(potentials: Sequence[NDArray[np.float64]], *, members: int) -> float:
    """Factor of a slope that was fitted on means of some members and is used on means of `members`.

    ``(s2 + n2 / k) / (s2 + n2 / M)``: n2 the variance between the k members on the same pairs, s2 the rest. The mean
    of more members has less noise, so its slope is steeper.

    Parameters
    ----------
    potentials : sequence of ndarray, shape (k, n)
        Standardised potentials of the pairs of one line each, by the k members whose mean was fitted; no label is
        needed.
    members : int
        M, at least k.

    Returns
    -------
    float
        1 where k is 1, for then n2 is not known, or where the potentials do not vary.

    Raises
    ------
    ValueError
        If an array is not (k, n) with one k >= 1, holds a value that is not finite, or `members` is below k.
    """
    sizes = {len(found) for found in potentials if found.ndim == 2 and np.isfinite(found).all()}
    if len(sizes) != 1 or any(found.ndim != 2 or not np.isfinite(found).all() for found in potentials):
        raise ValueError(f"finite potentials (k, n) are needed, not {[found.shape for found in potentials]}")
    count = sizes.pop()
    if not 1 <= count <= members:
        raise ValueError(f"the potentials are of {count} members of {members}")
    centred = np.concatenate([found - found.mean(axis=1, keepdims=True) for found in potentials], axis=1)
    if count == 1 or not centred.any():
        return 1.0
    between = float(centred.var(axis=0, ddof=1).mean())
    rest = max(0.0, float(centred.mean(axis=0).var()) - between / count)
    return (rest + between / count) / (rest + between / members)


def averaged_scale(scale: Scale, lines: Sequence[LineScores], factor: float) -> Scale:
    """Multiply a slope by `averaging_factor`, and move the intercept so that the mean ``lambda`` of the table stays.

    Parameters
    ----------
    scale : Scale
        Of `fit_scale` on the same `lines`.
    factor : float
        > 0.
    """
    score, _, weight = _weighted_rows(lines)
    slope = scale.slope * factor
    moved = (scale.slope - slope) * float(np.average(score, weights=weight))
    return replace(scale, slope=slope, intercept=scale.intercept + moved)


def fit_closed_form(
    views: Mapping[View, Sequence[LineScores]],
    *,
    scales: Mapping[View, Scale] | None = None,
    seed: int,
    axes: int = 4,
) -> ClosedForm:
    """Fit the Student in closed form.

    A line of one class, under 30 labelled pairs or at a single locus gives no record of that view. Each line is also
    forecast without it, which widens the intervals where these forecasts err by more than they say. The order of
    lines and of their pairs does not matter.

    Parameters
    ----------
    views : mapping of View to sequence of LineScores
        Each environment at most once a view, with at most 16,384 pairs.
    scales : mapping of View to Scale, optional
        Those of these potentials; `fit_scale` by default. To predict with means of more members, replace
        `ClosedForm.scales` by `averaged_scale` afterwards.
    seed : int
        The user's seed; the draws derive from it by name.
    axes : int
        Largest number of composition axes; at most the number of lines less 1.

    Raises
    ------
    ValueError
        If there is no line, an environment occurs twice in a view, a line has too many pairs, compositions differ in
        their channels, or a view lacks a class.
    """
    _check(views)
    given = {view: fit_scale(views[view]) for view in views} if scales is None else scales
    fitted = {view: given[view] for view in views}
    lines = [line for view in sorted(views) for line in views[view]]
    recorded = {line.environment for line in lines if gives_record(line)}
    found = fit_axes(lines, min(axes, len(recorded) - 1))
    records, offsets = make_records(views, fitted, found)
    left_out, inflation = _leave_out(records, seed)
    return ClosedForm(
        scales=fitted,
        offsets=offsets,
        centre=found.centre,
        vectors=found.vectors,
        lines=len(records.environment),
        inflation=inflation,
        model=fit_level_model(records, generator(seed, "student", "resampled records")),
        left_out=left_out,
    )


def _leave_out(records: Records, seed: int) -> tuple[LeftOut, float]:
    """Leave each line out in turn: its forecast, and the inflation that these errors ask of the intervals."""
    count = len(records.environment)
    level, variance, outside = np.zeros(count), np.full(count, SHIFT_SD**2), np.zeros(count)
    for index, name in enumerate(records.environment):
        others = records.take([other for other in range(count) if other != index])
        model = fit_level_model(others, generator(seed, "student", "left out", name))
        if model is not None:
            level[index], variance[index], outside[index] = model.predict(records.reading(index))
    sd = np.sqrt(variance + records.level_se**2)
    inflation, quantile = 1.0, float(norm.ppf(UPPER))
    if count > 1:
        inflation = max(1.0, float(np.sqrt(np.mean(((records.level - level) / sd) ** 2))))
        quantile = float(student_t.ppf(UPPER, count - 1))
    left_out = LeftOut(
        environment=records.environment,
        level=records.level,
        level_se=records.level_se,
        forecast=level,
        sd=np.sqrt(variance),
        outside=outside,
        half_width=quantile * inflation * sd,
    )
    return left_out, inflation


def _weighted_rows(lines: Sequence[LineScores]) -> tuple[NDArray[np.float64], ...]:
    """Potential, label and weight of the labelled pairs, lines in the order of their names.

    A line of one class says nothing of a slope, and its level is not known: it would only move that of the others.
    """
    both = [line for line in lines if {0, 1} <= set(line.label.tolist())]
    ordered = sorted(both or lines, key=lambda line: line.environment)
    known = [line.label >= 0 for line in ordered]
    score = [line.potential[labelled] for line, labelled in zip(ordered, known, strict=True)]
    label = [line.label[labelled] for line, labelled in zip(ordered, known, strict=True)]
    weight = [np.full(len(rows), 1 / (len(rows) + LINE_ROWS)) for rows in score]
    nothing = [np.zeros(0)]
    return tuple(np.concatenate(part or nothing).astype(np.float64) for part in (score, label, weight))


def _check(views: Mapping[View, Sequence[LineScores]]) -> None:
    lines = [line for same in views.values() for line in same]
    if not lines:
        raise ValueError("no line: the Student in closed form needs scores of training lines")
    if len({line.composition.shape[1] for line in lines}) > 1:
        raise ValueError(f"channels differ: {sorted({line.composition.shape[1] for line in lines})}")
    for view, same in views.items():
        names = [line.environment for line in same]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"view {view!r}: {twice[0]!r} occurs twice")
        for line in same:
            if len(line.potential) > MAX_PAIRS:
                raise ValueError(
                    f"view {view!r}: {line.environment!r} has {len(line.potential)} pairs, at most {MAX_PAIRS} are read"
                )
