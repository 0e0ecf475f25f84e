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

from episode.inference.closed_form import Scale, View, ViewOffset, project, read_support, reading_influence
from episode.inference.level_model import SupportReading
from episode.metrics.clustered import clustered_variance
from episode.metrics.label_shift import map_shifts
from episode.metrics.metrics import oracle_impedance

__all__ = [
    "DELTAS",
    "MAX_PAIRS",
    "MIN_LABELLED",
    "Axes",
    "LineScores",
    "Records",
    "beyond_chance",
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
TINY = 1e-12
OWN_SHARE = 0.1
"""Smallest fraction of the variance of a reading that is its line's own, not common to all lines."""


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
    clusters : ndarray, shape (n, 2), int64
        Numbers of the locus of the enhancer and of the promoter, the same in all lines.
    composition : ndarray, shape (n, F), float32

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or a label is none of -1, 0, 1.
    """

    environment: str
    potential: NDArray[np.float64]
    label: NDArray[np.int8]
    clusters: NDArray[np.int64]
    composition: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = (len(self.potential),)
        if not (self.label.shape == self.composition.shape[:1] == shape and self.clusters.shape == (*shape, 2)):
            raise ValueError(
                f"{self.environment}: shapes differ: potential {self.potential.shape}, label {self.label.shape},"
                f" clusters {self.clusters.shape}, composition {self.composition.shape}"
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
    """Record of one line in one view, with what its labelled pairs look like at other prevalences.

    `level_influence`, shape (n,), and `reading_influence`, shape (n, 1 + K), say how each pair moves level, shift and
    axes.
    """

    line: LineScores
    level: float
    level_se: float
    level_influence: Array
    reading: SupportReading
    reading_influence: Array
    labelled: int
    positives: int
    shift_moved: Array
    axes_moved: Array


def gives_record(line: LineScores) -> bool:
    """Whether a line has 30 labelled pairs, both classes, and more than one locus and promoter."""
    labels = set(line.label[line.label >= 0].tolist())
    return int((line.label >= 0).sum()) >= MIN_LABELLED and len(labels) == 2 and _fewest(line.clusters) > 1


def fit_axes(lines: Sequence[LineScores], count: int) -> Axes:
    """Find the directions in which the mean composition differs between lines; no label enters.

    A channel is measured in standard deviations of a pair inside its line and weighted by
    ``max(0, 1 - clustered variance of a line's mean / variance between lines)``. The axes are the leading
    singular vectors of the centred weighted means.

    Parameters
    ----------
    lines : sequence of LineScores
        Those of one environment in several views are pooled; an environment of a single locus or promoter takes no
        part.
    count : int
        Largest K; K is at most the number of environments less 1, and F.
    """
    channels = lines[0].composition.shape[1]
    by_environment: dict[str, list[LineScores]] = {}
    for line in sorted(lines, key=lambda line: line.environment):
        by_environment.setdefault(line.environment, []).append(line)
    moments = [
        _moments(same)
        for same in by_environment.values()
        if _fewest(np.concatenate([line.clusters for line in same])) > 1
    ]
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
    pooled by inverse variance, the offset of the other view taken off first (not off the axes, which do not depend on
    the view). An offset is the mean difference, less what chance between loci would make of none, see `beyond_chance`.

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
    differences = {view: (0.0, 0.0) if view == home else _difference(found[view], at_home) for view in found}
    names = sorted({name for records in found.values() for name in records})
    count = axes.vectors.shape[1]

    def column(read: Callable[[_ViewRecord], ArrayLike], absent: ArrayLike) -> Array:
        rows = [[read(records[name]) if name in records else absent for name in names] for records in found.values()]
        return np.array(rows, dtype=np.float64).reshape(len(found), len(names), *np.shape(absent))

    apart = np.array(list(differences.values()))[..., None]
    nothing, infinite = np.zeros(count), np.full(count, np.inf)
    level, level_se = _weighted(column(lambda r: r.level, 0.0) - apart[:, 0], column(lambda r: r.level_se, np.inf))
    shift, shift_se = _weighted(
        column(lambda r: r.reading.shift, 0.0) - apart[:, 1], column(lambda r: r.reading.shift_se, np.inf)
    )
    place, place_se = _weighted(
        column(lambda r: r.reading.axes, nothing), column(lambda r: r.reading.axes_se, infinite)
    )
    common = _common_error(found, names, shift_se, place_se)
    variance = np.column_stack([shift_se, place_se]) ** 2
    shared = np.maximum(0, len(names) * common**2 - variance.mean(axis=0)) / max(1, len(names) - 1)
    own_se = np.sqrt(np.maximum(variance - shared, OWN_SHARE * variance))
    shift_se, place_se = own_se[:, 0], own_se[:, 1:]
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
    offsets: dict[View, ViewOffset] = {}
    for view, (level_apart, shift_apart) in differences.items():
        error = common if view == "new" else np.zeros_like(common)
        offsets[view] = ViewOffset(level_apart, shift_apart, float(error[0]), error[1:])
    return records, offsets


def beyond_chance(difference: ArrayLike, variance: ArrayLike) -> Array:
    """Shrink differences by what chance makes of none: ``d max(0, 1 - variance / d^2)`` (James and Stein).

    Parameters
    ----------
    difference, variance : array_like, same shape
    """
    apart = np.asarray(difference, dtype=np.float64)
    return apart * np.maximum(0, 1 - np.asarray(variance) / np.maximum(apart**2, 1e-300))


def _fewest(clusters: NDArray[np.int64]) -> int:
    """Distinct loci or promoters, whichever are fewer."""
    return min(len(np.unique(column)) for column in clusters.T)


def _moments(lines: list[LineScores]) -> tuple[Array, Array, Array]:
    """Mean of each channel, its variance over pairs, and the clustered variance of the mean; each (F,)."""
    clusters = np.concatenate([line.clusters for line in lines])
    channels = lines[0].composition.shape[1]
    mean, variance, noise = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    for first in range(0, channels, CHANNEL_BLOCK):
        block = slice(first, first + CHANNEL_BLOCK)
        values = np.concatenate([line.composition[:, block] for line in lines]).astype(np.float64)
        mean[block] = values.mean(axis=0)
        values -= mean[block]
        variance[block] = np.square(values).mean(axis=0)
        noise[block] = clustered_variance(values / len(values), clusters)
    return mean, variance, noise


def _view_records(lines: Sequence[LineScores], scale: Scale, axes: Axes) -> dict[str, _ViewRecord]:
    return {line.environment: _view_record(line, scale, axes) for line in lines if gives_record(line)}


def _view_record(line: LineScores, scale: Scale, axes: Axes) -> _ViewRecord:
    known = line.label >= 0
    labelled, positives = int(known.sum()), int((line.label == 1).sum())
    logit = scale.logit(line.potential)
    level, level_se, level_influence = _level(logit, line.label)
    place = project(line.composition, axes.centre, axes.vectors)
    prevalence, positive = positives / labelled, line.label[known] == 1
    moved = expit(log_odds(prevalence) + DELTAS)[:, None]
    weight = np.where(positive, moved / prevalence, (1 - moved) / (1 - prevalence))
    shifts = map_shifts(logit[known], scale.prevalence, np.concatenate([np.ones((1, labelled)), weight]))
    reading = read_support(logit, scale.prevalence, place, line.clusters)
    return _ViewRecord(
        line=line,
        level=level,
        level_se=level_se,
        level_influence=level_influence,
        reading=reading,
        reading_influence=reading_influence(logit, scale.prevalence, place, reading.shift)[0],
        labelled=labelled,
        positives=positives,
        shift_moved=shifts[1:] - shifts[0],
        axes_moved=weight @ place[known] / labelled - place[known].mean(axis=0),
    )


def _level(logit: Array, label: NDArray[np.int8]) -> tuple[float, float, Array]:
    """Level that minimises log-loss, its Fisher standard error, and the influence of each pair, shape (n,)."""
    known = label >= 0
    impedance = oracle_impedance(logit[known], label[known], 1.0)
    if impedance is None:
        raise ValueError("a level needs both classes")
    probability = expit(logit - impedance)
    information = float((probability * (1 - probability))[known].sum())
    return -impedance, float(1 / np.sqrt(information)), np.where(known, label - probability, 0.0) / information


def _difference(other: Mapping[str, _ViewRecord], home: Mapping[str, _ViewRecord]) -> tuple[float, float]:
    """How far levels and shifts of a view lie from the home view, over the lines that have both; 0 without one."""
    both = [(other[name], home[name]) for name in sorted(other) if name in home]
    if not both:
        return 0.0, 0.0
    precision = np.array([1 / (a.level_se**2 + b.level_se**2) for a, b in both])
    weight = np.column_stack([precision / precision.sum(), np.full(len(both), 1 / len(both))])
    apart = np.array([[a.level - b.level, a.reading.shift - b.reading.shift] for a, b in both])
    variance = np.zeros(2)
    for side in zip(*both, strict=True):
        influence = [
            np.column_stack([one.level_influence, one.reading_influence[:, 0]]) * share
            for one, share in zip(side, weight, strict=True)
        ]
        variance += clustered_variance(np.concatenate(influence), np.concatenate([one.line.clusters for one in side]))
    level, shift = beyond_chance((weight * apart).sum(axis=0), variance).tolist()
    return level, shift


def _common_error(
    found: Mapping[View, Mapping[str, _ViewRecord]], names: Sequence[str], shift_se: Array, axes_se: Array
) -> Array:
    """Standard error of the mean shift and axes of all lines, by the loci and promoters that they share; (1 + K,)."""
    if not names:
        return np.zeros(1 + axes_se.shape[1])
    pooled_variance = np.column_stack([shift_se, axes_se]) ** 2
    influence, clusters = [], []
    for records in found.values():
        for name, record in records.items():
            own = np.array([record.reading.shift_se, *record.reading.axes_se]) ** 2 + TINY
            share = pooled_variance[names.index(name)] / own / len(names)
            influence.append(record.reading_influence * share)
            clusters.append(record.line.clusters)
    return np.sqrt(clustered_variance(np.concatenate(influence), np.concatenate(clusters)))


def _weighted(value: Array, se: Array) -> tuple[Array, Array]:
    """Mean over the first axis by inverse variance, with its standard error."""
    weight = 1 / (se**2 + TINY)
    total = weight.sum(axis=0)
    return (weight * value).sum(axis=0) / total, 1 / np.sqrt(total)
