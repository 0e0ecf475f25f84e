"""Fit the Student in closed form on scores of lines that their scorers left out.

First the scale of the potentials, one for all lines in each view; then a record a line; then the forecasts of levels,
judged by leaving each line out. No optimiser beyond the logistic fit of two numbers, and no network. It does not know
where scores come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.special import logit as log_odds
from scipy.stats import norm
from scipy.stats import t as student_t

from episode.inference.closed_form import UPPER, ClosedForm, LeftOut, Scale, View
from episode.metrics.clustered import clustered_variance
from episode.metrics.label_shift import SHIFT_SD
from episode.metrics.metrics import fit_logistic, oracle_impedance
from episode.seeds import generator
from episode.train.student_records import (
    MAX_PAIRS,
    LineScores,
    Records,
    beyond_chance,
    fit_axes,
    gives_record,
    make_records,
)
from episode.train.student_regression import fit_level_model

__all__ = [
    "LINE_ROWS",
    "MIN_SLOPE",
    "LineScores",
    "averaged_scale",
    "averaging_factor",
    "fit_closed_form",
    "fit_scale",
    "fit_scales",
]

MIN_SLOPE = 0.02
"""Smallest slope of ``lambda`` by the standardised potential. Reached, nothing transfers between lines."""
LINE_ROWS = 100
"""Labelled pairs that are added to a line's own before it is weighted by their inverse."""
VARIANCE_RANGE = (1e-12, 1e9)
"""Bounds of the variance of a scale's numbers: it is infinite at a single locus, and may be 0 where labels are even."""


def fit_scale(lines: Sequence[LineScores]) -> Scale:
    """Calibrate the potentials of one view: one slope and intercept for all lines, by log-loss.

    The slope is that inside lines: each line has its own level while it is fitted, as it has its own R_E in use, so
    that lines of different prevalence do not tell how far the potential ranks. The intercept is that of all lines at
    this slope. A pair has the weight ``1 / (n + 100)``, n the labelled pairs of its line, so that no line rules by its
    size. Lines of one class take no part; where all are, they are taken as one line.

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
    rows = _weighted_rows(lines)
    score, label, weight = rows.score, rows.label, rows.weight
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
        group=rows.line,
        min_slope=MIN_SLOPE * unit,
        tolerance=(0.0, 1e-9),
    )
    at_bound = line.slope <= MIN_SLOPE * unit * (1 + 1e-9)
    slope = MIN_SLOPE if at_bound else line.slope / unit
    return Scale(slope, line.intercept - slope * centre, prevalence, nothing_transfers=at_bound)


def fit_scales(views: Mapping[View, Sequence[LineScores]]) -> dict[View, Scale]:
    """Calibrate the potentials of each view, and take off what chance between loci makes them differ by.

    Slope, level and prevalence of two views are moved towards their mean, weighted by inverse variance: what remains of
    each difference is `episode.train.student_records.beyond_chance`. So a view of few loci is read by the loci of both
    where they agree.

    Raises
    ------
    ValueError
        As `fit_scale`.
    """
    scales = {view: fit_scale(views[view]) for view in sorted(views)}
    if len(scales) < 2:
        return scales
    rows = {view: _weighted_rows(views[view]) for view in scales}
    every = np.concatenate([found.score for found in rows.values()])
    centre = float(np.average(every, weights=np.concatenate([found.weight for found in rows.values()])))
    numbers = np.array([_numbers(scales[view], centre) for view in scales])
    variance = np.clip([_variance(scales[view], centre, rows[view]) for view in scales], *VARIANCE_RANGE)
    mean = np.average(numbers, axis=0, weights=1 / variance)
    kept = beyond_chance(numbers[1] - numbers[0], variance.sum(axis=0)) / np.where(
        numbers[0] == numbers[1], 1.0, numbers[1] - numbers[0]
    )
    pooled = mean + kept * (numbers - mean)
    return {
        view: Scale(
            slope, level + prevalence - slope * centre, float(expit(prevalence)), scales[view].nothing_transfers
        )
        for view, (slope, level, prevalence) in zip(scales, pooled.tolist(), strict=True)
    }


def _numbers(scale: Scale, centre: float) -> tuple[float, float, float]:
    """Slope, log-likelihood ratio at a potential, and log-odds of the prevalence."""
    prevalence = float(log_odds(scale.prevalence))
    return scale.slope, scale.slope * centre + scale.intercept - prevalence, prevalence


def _variance(scale: Scale, centre: float, rows: _Rows) -> NDArray[np.float64]:
    """Clustered variance of `_numbers`, shape (3,)."""
    score, weight, label = rows.score, rows.weight, rows.label
    own = np.array(
        [
            oracle_impedance(scale.slope * score[rows.line == line], label[rows.line == line], 1.0)
            for line in range(int(rows.line.max()) + 1)
        ]
    )
    inside = expit(scale.slope * score - own[rows.line])
    curvature = weight * inside * (1 - inside)
    middle = np.bincount(rows.line, curvature * score) / np.bincount(rows.line, curvature)
    away = score - middle[rows.line]
    information = float(curvature @ away**2)
    slope = weight * (label - inside) * away / information if information > 0 else np.zeros(len(score))
    probability = expit(scale.logit(score))
    spread = weight * probability * (1 - probability)
    level = (weight * (label - probability) - (spread @ (score - centre)) * slope) / spread.sum()
    prevalence = scale.prevalence
    share = weight * (label - prevalence) / (weight.sum() * prevalence * (1 - prevalence))
    return clustered_variance(np.column_stack([slope, level - share, share]), rows.clusters)


def averaging_factor(
    means: Sequence[NDArray[np.float64]], differences: Sequence[NDArray[np.float64]], *, groups: int
) -> float:
    """Factor of a slope that was fitted on means over a group's members and is used on means over all groups.

    ``(s2 + n2) / (s2 + n2 / G)``: n2 the variance of a group's mean around the mean of ever more groups, s2 the rest.
    The mean of more groups has less noise, so its slope is steeper. Members of a group have learned from the same
    pairs, so only groups that differ show all of n2.

    Parameters
    ----------
    means : sequence of ndarray, shape (n,)
        Mean standardised potential of the pairs of one line each, by the group that left them out; no label is needed.
    differences : sequence of ndarray, shape (m,)
        Difference of such means of two groups, on pairs of one line that both have left out.
    groups : int
        G.

    Returns
    -------
    float
        1 where no pair was left out by two groups, for then n2 is not known, or where the potentials do not vary.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    if not all(np.isfinite(found).all() for found in (*means, *differences)):
        raise ValueError("a potential is not finite")
    total = _variance_inside(means)
    noise = min(_variance_inside(differences) / 2, total)
    return total / (total - noise + noise / groups) if total > 0 else 1.0


def _variance_inside(lines: Sequence[NDArray[np.float64]]) -> float:
    """Mean square around the means of the lines; 0 without a pair."""
    centred = [found - found.mean() for found in lines if len(found)]
    return float(np.mean(np.concatenate(centred) ** 2)) if centred else 0.0


def averaged_scale(scale: Scale, lines: Sequence[LineScores], factor: float) -> Scale:
    """Multiply a slope by `averaging_factor`, and move the intercept so that the mean ``lambda`` of the table stays.

    Parameters
    ----------
    scale : Scale
        Of `fit_scale` on the same `lines`.
    factor : float
        > 0.
    """
    rows = _weighted_rows(lines)
    slope = scale.slope * factor
    moved = (scale.slope - slope) * float(np.average(rows.score, weights=rows.weight))
    return replace(scale, slope=slope, intercept=scale.intercept + moved)


def fit_closed_form(
    views: Mapping[View, Sequence[LineScores]],
    *,
    scales: Mapping[View, Scale] | None = None,
    seed: int,
    axes: int = 4,
) -> ClosedForm:
    """Fit the Student in closed form.

    A line of one class, under 30 labelled pairs or of a single locus or promoter gives no record of that view. Each
    line is also forecast without it, which widens the intervals where these forecasts err by more than they say. The
    order of lines and of their pairs does not matter.

    Parameters
    ----------
    views : mapping of View to sequence of LineScores
        Each environment at most once a view, with at most 16,384 pairs.
    scales : mapping of View to Scale, optional
        Those of these potentials; `fit_scales` by default. To predict with means of more members, replace
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
    given = fit_scales(views) if scales is None else scales
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


@dataclass(frozen=True)
class _Rows:
    """Labelled pairs of the lines of a view: arrays of shape (n,), clusters (n, 2).

    `line` counts the lines from 0. Where each line has one class it is 0 everywhere: no slope inside lines is known.
    """

    score: NDArray[np.float64]
    label: NDArray[np.float64]
    weight: NDArray[np.float64]
    line: NDArray[np.int64]
    clusters: NDArray[np.int64]


def _weighted_rows(lines: Sequence[LineScores]) -> _Rows:
    """Labelled pairs, lines in the order of their names.

    A line of one class says nothing of a slope, and its level is not known: it would only move that of the others.
    """
    both = [line for line in lines if {0, 1} <= set(line.label.tolist())]
    ordered = sorted(both or lines, key=lambda line: line.environment)
    labelled = [(line, line.label >= 0) for line in ordered]
    count = [int(known.sum()) for _, known in labelled]
    nothing = np.zeros(0)
    return _Rows(
        score=np.concatenate([nothing, *(line.potential[known] for line, known in labelled)]),
        label=np.concatenate([nothing, *(line.label[known] for line, known in labelled)]),
        weight=np.repeat([1 / (rows + LINE_ROWS) for rows in count], count),
        line=np.repeat(np.arange(len(both)) if both else np.zeros(len(ordered), dtype=np.int64), count),
        clusters=np.concatenate([np.zeros((0, 2), np.int64), *(line.clusters[known] for line, known in labelled)]),
    )


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
