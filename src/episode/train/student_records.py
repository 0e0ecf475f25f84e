"""What each training line says about levels: its level by the labels, beside what its pairs say without labels.

One record a line, as if it were unseen: potentials come from members that did not learn its labels. A line of known
labels is also read at other prevalences, by weights instead of draws. Forecasts are fitted to these records in
`episode.train.student_regression`. This module knows neither files nor models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.special import logit as log_odds

from episode.inference.closed_form import Scale, View, ViewOffset, project, read_support
from episode.inference.level_model import SupportReading
from episode.metrics.label_shift import map_shifts
from episode.metrics.metrics import oracle_impedance

__all__ = [
    "DELTAS",
    "MAX_PAIRS",
    "MIN_LABELLED",
    "Axes",
    "LineScores",
    "Records",
    "fit_axes",
    "gives_record",
    "make_records",
]

Array = NDArray[np.float64]

MAX_PAIRS = 16_384
"""Largest number of pairs of a line in one view; the caller draws them."""
MIN_LABELLED = 30
"""Labelled pairs below which a line gives no record of a view."""
DELTAS = np.array([-1.8, -0.8, 0.0, 0.8, 1.8])
"""Shifts of the prevalence, in log-odds, at which a training line is read again."""
PREVALENCE_BOUND = 0.01
CHANNEL_BLOCK = 256
CHANNEL_VARIANCE_FLOOR = 1e-3


@dataclass(frozen=True)
class LineScores:
    """Scored pairs of one training environment in one view.

    Parameters
    ----------
    environment : str
    potential : ndarray, shape (n,), float64
        Standardised potential u, mean over the members that left the environment out.
    label : ndarray, shape (n,), int8
        1, 0, or -1 for unknown.
    locus : ndarray, shape (n,), int64
        Pairs of one locus have one number.
    composition : ndarray, shape (n, F), float32

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or a label is none of -1, 0, 1.
    """

    environment: str
    potential: NDArray[np.float64]
    label: NDArray[np.int8]
    locus: NDArray[np.int64]
    composition: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = (len(self.potential),)
        if not (self.potential.shape == self.label.shape == self.locus.shape == self.composition.shape[:1] == shape):
            raise ValueError(
                f"{self.environment}: shapes differ: potential {self.potential.shape}, label {self.label.shape},"
                f" locus {self.locus.shape}, composition {self.composition.shape}"
            )
        if self.composition.ndim != 2:
            raise ValueError(f"{self.environment}: a composition (n, F) is needed, not {self.composition.shape}")
        if not (np.isfinite(self.potential).all() and np.isfinite(self.composition).all()):
            raise ValueError(f"{self.environment}: a potential or a composition is not finite")
        if not np.isin(self.label, (-1, 0, 1)).all():
            raise ValueError(f"{self.environment}: a label is none of -1, 0, 1")


@dataclass(frozen=True)
class Axes:
    """Composition axes: centre (F,) and vectors (F, K), see `episode.inference.closed_form.ClosedForm`."""

    centre: Array
    vectors: Array


@dataclass(frozen=True)
class Records:
    """One record a line; shapes start with (n,), in the order of `environment`.

    Parameters
    ----------
    environment : tuple of str
        Sorted.
    level, level_se : ndarray, shape (n,)
        b by the labels, in the units of the home view, with its Fisher standard error.
    shift, shift_se : ndarray, shape (n,)
    axes, axes_se : ndarray, shape (n, K)
        See `episode.inference.closed_form.SupportReading`.
    prevalence_log_odds, prevalence_variance : ndarray, shape (n,)
        Of the labelled pairs, with its sampling variance.
    resampled : ndarray, shape (n,), bool
        Whether the line has labelled pairs in the home view, hence can be read at another prevalence.
    shift_moved : ndarray, shape (n, 5)
        What `shift` gains at each of `DELTAS`; 0 where not resampled.
    axes_moved : ndarray, shape (n, 5, K)
        The same of `axes`.
    """

    environment: tuple[str, ...]
    level: Array
    level_se: Array
    shift: Array
    shift_se: Array
    axes: Array
    axes_se: Array
    prevalence_log_odds: Array
    prevalence_variance: Array
    resampled: NDArray[np.bool_]
    shift_moved: Array
    axes_moved: Array

    def take(self, index: Sequence[int]) -> Records:
        """Return the records of some lines, in the given order."""
        chosen = np.asarray(index, dtype=np.int64)
        return Records(
            environment=tuple(self.environment[i] for i in chosen.tolist()),
            level=self.level[chosen],
            level_se=self.level_se[chosen],
            shift=self.shift[chosen],
            shift_se=self.shift_se[chosen],
            axes=self.axes[chosen],
            axes_se=self.axes_se[chosen],
            prevalence_log_odds=self.prevalence_log_odds[chosen],
            prevalence_variance=self.prevalence_variance[chosen],
            resampled=self.resampled[chosen],
            shift_moved=self.shift_moved[chosen],
            axes_moved=self.axes_moved[chosen],
        )

    def reading(self, index: int) -> SupportReading:
        """Return what prediction would read of a line; its size is not known here and 0."""
        return SupportReading(
            size=0,
            shift=float(self.shift[index]),
            shift_se=float(self.shift_se[index]),
            axes=self.axes[index],
            axes_se=self.axes_se[index],
        )


@dataclass(frozen=True)
class _ViewRecord:
    """Record of one line in one view, with what its labelled pairs look like at other prevalences."""

    level: float
    level_se: float
    reading: SupportReading
    labelled: int
    positives: int
    shift_moved: Array
    axes_moved: Array


def gives_record(line: LineScores) -> bool:
    """Whether a line has 30 labelled pairs, both classes, and pairs at more than one locus."""
    labels = set(line.label[line.label >= 0].tolist())
    return int((line.label >= 0).sum()) >= MIN_LABELLED and len(labels) == 2 and len(np.unique(line.locus)) > 1


def fit_axes(lines: Sequence[LineScores], count: int) -> Axes:
    """Find the directions in which the mean composition differs between lines; no label enters.

    A channel is measured in standard deviations of a pair inside its line and weighted by
    ``max(0, 1 - variance of a line's mean, clustered by locus / variance between lines)``. The axes are the leading
    singular vectors of the centred weighted means.

    Parameters
    ----------
    lines : sequence of LineScores
        Those of one environment in several views are pooled; an environment at a single locus takes no part.
    count : int
        Largest K; K is at most the number of environments less 1, and F.
    """
    channels = lines[0].composition.shape[1]
    by_environment: dict[str, list[LineScores]] = {}
    for line in sorted(lines, key=lambda line: line.environment):
        by_environment.setdefault(line.environment, []).append(line)
    moments = [_moments(same) for same in by_environment.values() if _loci(same) > 1]
    kept = min(count, channels, len(moments) - 1)
    if kept < 1:
        return Axes(np.zeros(channels), np.zeros((channels, 0)))
    mean, variance, noise = (np.stack(part) for part in zip(*moments, strict=True))
    centre, between, within = mean.mean(axis=0), mean.var(axis=0, ddof=1), variance.mean(axis=0)
    unit = np.sqrt(within + CHANNEL_VARIANCE_FLOOR * within.mean())
    varies = (between > 0) & (unit > 0)
    weight = np.zeros(channels)
    weight[varies] = np.maximum(0, 1 - noise.mean(axis=0)[varies] / between[varies]) / unit[varies]
    right = np.linalg.svd((mean - centre) * weight, full_matrices=False)[2][:kept]
    sign = np.sign(right[np.arange(kept), np.abs(right).argmax(axis=1)])
    return Axes(centre, (right * sign[:, None]).T * weight[:, None])


def make_records(
    views: Mapping[View, Sequence[LineScores]], scales: Mapping[View, Scale], axes: Axes
) -> tuple[Records, dict[View, ViewOffset]]:
    """Make the record of every line that has one, and the offset of each view from the home view.

    The home view is "new" where a line has a record in it, else "shared". Levels, shifts and axes of both views are
    pooled by inverse variance, the mean offset of the other view taken off first (not off the axes, which do not
    depend on the view).

    Parameters
    ----------
    views : mapping of View to sequence of LineScores
        Each environment once a view.
    scales : mapping of View to Scale
        Those of these potentials.
    """
    found = {view: _view_records(views[view], scales[view], axes) for view in sorted(views)}
    home: View = "new" if found.get("new") else "shared"
    at_home = found.get(home, {})
    offsets = {view: ViewOffset() if view == home else _offset(found[view], at_home) for view in found}
    names = sorted({name for records in found.values() for name in records})
    count = axes.vectors.shape[1]

    def column(read: Callable[[_ViewRecord], ArrayLike], absent: ArrayLike) -> Array:
        rows = [[read(records[name]) if name in records else absent for name in names] for records in found.values()]
        return np.array(rows, dtype=np.float64).reshape(len(found), len(names), *np.shape(absent))

    apart = np.array([[offset.level, offset.shift] for offset in offsets.values()])[..., None]
    nothing, infinite = np.zeros(count), np.full(count, np.inf)
    level, level_se = _weighted(column(lambda r: r.level, 0.0) - apart[:, 0], column(lambda r: r.level_se, np.inf))
    shift, shift_se = _weighted(
        column(lambda r: r.reading.shift, 0.0) - apart[:, 1], column(lambda r: r.reading.shift_se, np.inf)
    )
    place, place_se = _weighted(
        column(lambda r: r.reading.axes, nothing), column(lambda r: r.reading.axes_se, infinite)
    )
    labelled = column(lambda r: r.labelled, 0.0).sum(axis=0)
    prevalence = column(lambda r: r.positives, 0.0).sum(axis=0) / labelled
    moved = [at_home.get(name) for name in names]
    shift_moved = [np.zeros(len(DELTAS)) if record is None else record.shift_moved for record in moved]
    axes_moved = [np.zeros((len(DELTAS), count)) if record is None else record.axes_moved for record in moved]
    records = Records(
        environment=tuple(names),
        level=level,
        level_se=level_se,
        shift=shift,
        shift_se=shift_se,
        axes=place,
        axes_se=place_se,
        prevalence_log_odds=log_odds(np.clip(prevalence, PREVALENCE_BOUND, 1 - PREVALENCE_BOUND)),
        prevalence_variance=1 / (labelled * prevalence * (1 - prevalence)),
        resampled=np.array([name in at_home for name in names], dtype=bool),
        shift_moved=np.array(shift_moved).reshape(len(names), len(DELTAS)),
        axes_moved=np.array(axes_moved).reshape(len(names), len(DELTAS), count),
    )
    return records, offsets


def _loci(lines: list[LineScores]) -> int:
    return len(np.unique(np.concatenate([line.locus for line in lines])))


def _moments(lines: list[LineScores]) -> tuple[Array, Array, Array]:
    """Mean of each channel, its variance over pairs, and the variance of the mean clustered by locus; each (F,)."""
    loci, cluster = np.unique(np.concatenate([line.locus for line in lines]), return_inverse=True)
    order = np.argsort(cluster, kind="stable")
    start = np.searchsorted(cluster[order], np.arange(len(loci)))
    channels = lines[0].composition.shape[1]
    mean, variance, noise = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    for first in range(0, channels, CHANNEL_BLOCK):
        block = slice(first, first + CHANNEL_BLOCK)
        values = np.concatenate([line.composition[:, block] for line in lines])[order].astype(np.float64)
        mean[block] = values.mean(axis=0)
        values -= mean[block]
        variance[block] = np.square(values).mean(axis=0)
        noise[block] = np.square(np.add.reduceat(values, start, axis=0)).sum(axis=0) / len(values) ** 2
    return mean, variance, noise * len(loci) / (len(loci) - 1)


def _view_records(lines: Sequence[LineScores], scale: Scale, axes: Axes) -> dict[str, _ViewRecord]:
    return {line.environment: _view_record(line, scale, axes) for line in lines if gives_record(line)}


def _view_record(line: LineScores, scale: Scale, axes: Axes) -> _ViewRecord:
    known = line.label >= 0
    labelled, positives = int(known.sum()), int((line.label == 1).sum())
    logit = scale.logit(line.potential)
    level, level_se = _level(logit[known], line.label[known])
    place = project(line.composition, axes.centre, axes.vectors)
    prevalence, positive = positives / labelled, line.label[known] == 1
    moved = expit(log_odds(prevalence) + DELTAS)[:, None]
    weight = np.where(positive, moved / prevalence, (1 - moved) / (1 - prevalence))
    shifts = map_shifts(logit[known], scale.prevalence, np.concatenate([np.ones((1, labelled)), weight]))
    return _ViewRecord(
        level=level,
        level_se=level_se,
        reading=read_support(logit, scale.prevalence, place, line.locus),
        labelled=labelled,
        positives=positives,
        shift_moved=shifts[1:] - shifts[0],
        axes_moved=weight @ place[known] / labelled - place[known].mean(axis=0),
    )


def _level(logit: Array, label: NDArray[np.int8]) -> tuple[float, float]:
    """Level that minimises log-loss, and its Fisher standard error."""
    impedance = oracle_impedance(logit, label, 1.0)
    if impedance is None:
        raise ValueError("a level needs both classes")
    probability = expit(logit - impedance)
    return -impedance, float(1 / np.sqrt((probability * (1 - probability)).sum()))


def _offset(other: Mapping[str, _ViewRecord], home: Mapping[str, _ViewRecord]) -> ViewOffset:
    """Mean difference of a view from the home view over the lines that have both; 0 without one."""
    both = [(other[name], home[name]) for name in sorted(other) if name in home]
    if not both:
        return ViewOffset()
    level = [a.level - b.level for a, b in both]
    weight = [1 / (a.level_se**2 + b.level_se**2) for a, b in both]
    shift = [a.reading.shift - b.reading.shift for a, b in both]
    return ViewOffset(level=float(np.average(level, weights=weight)), shift=float(np.mean(shift)))


def _weighted(value: Array, se: Array) -> tuple[Array, Array]:
    """Mean over the first axis by inverse variance, with its standard error."""
    weight = 1 / (se**2 + 1e-12)
    total = weight.sum(axis=0)
    return (weight * value).sum(axis=0) / total, 1 / np.sqrt(total)
