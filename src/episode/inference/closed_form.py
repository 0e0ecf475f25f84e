"""The Student in closed form: the level of a cell line from the distribution of its support set alone.

Two things are read of a support set: how far the scores say that the prevalence moved (`map_shift`), and where the mean
motif composition lies on a few axes. A linear forecast, averaged over its hyperparameters by evidence, turns them into
a level b: the log-odds of a pair are ``lambda + b``, with ``lambda`` the calibrated potential. A second forecast,
fitted on training lines of resampled prevalence, takes over where the shift lies outside what training lines showed.

Levels and shifts are in log-odds. Nothing here is fitted: `episode.train.student_fit` does that. This module knows no
files, no labels and no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri, stdtrit
from scipy.special import logit as log_odds

from episode.inference.level_model import LevelModel, Regression, Scaling, SupportReading
from episode.metrics.clustered import clustered_variance
from episode.metrics.label_shift import SHIFT_SD, log_likelihood_ratio, map_shift

__all__ = [
    "VIEWS",
    "ClosedForm",
    "Forecast",
    "LeftOut",
    "Scale",
    "SupportReading",
    "View",
    "ViewOffset",
    "project",
    "read_support",
    "reading_influence",
    "shift_pull",
]

Array = NDArray[np.float64]
View = Literal["shared", "new"]
"""Whether the loci of the pairs were learned by the members that score them."""
VIEWS: tuple[View, ...] = get_args(View)

CONFIDENCE = 0.9
UPPER = (1 + CONFIDENCE) / 2
BLOCK_ROWS = 2048
MODEL_NUMBERS = ("shift_mean", "shift_variance", "transfer", "outside_prior")


@dataclass(frozen=True)
class Scale:
    """Calibration of a standardised potential in one view: ``lambda = slope * u + intercept``.

    Parameters
    ----------
    prevalence : float
        Weighted prevalence of the rows that the scale was fitted to, in (0, 1).
    nothing_transfers : bool
        The slope fell to its lower bound: scores rank nothing in lines that were left out.
    """

    slope: float
    intercept: float
    prevalence: float
    nothing_transfers: bool = False

    def logit(self, potential: NDArray[np.floating]) -> Array:
        """Return ``lambda``, shape of `potential`, in log-odds."""
        return self.slope * np.asarray(potential, dtype=np.float64) + self.intercept


@dataclass(frozen=True)
class Forecast:
    """Level of a cell line, with its uncertainty.

    Parameters
    ----------
    level : float
        b, to be added to ``lambda``; log-odds.
    sd : float
        Standard deviation of the forecast.
    half_width : float
        Half of the 90 % interval.
    outside : float
        Probability that the prevalence moved further than between training lines, in [0, 1].
    """

    level: float
    sd: float
    half_width: float
    outside: float


@dataclass(frozen=True)
class ViewOffset:
    """How readings of a view differ from those that the forecasts were fitted on.

    Parameters
    ----------
    level, shift : float
        Mean difference from the view that the forecasts hold in.
    shift_se : float
        Standard error of the mean shift of all training lines by the elements that they share. At loci of its own a
        line has another such error, so there its shift is less certain by this.
    axes_se : ndarray, shape (K,)
        The same of the mean compositions.
    """

    level: float
    shift: float
    shift_se: float
    axes_se: Array


@dataclass(frozen=True)
class LeftOut:
    """Each training line forecast without it; shapes (n,), in the order of `environment`.

    Parameters
    ----------
    environment : tuple of str
        Sorted.
    level, level_se : ndarray
        Level by the labels, and its standard error.
    forecast, sd, outside : ndarray
        Level without the line's labels, see `Forecast`.
    half_width : ndarray
        Half of the 90 % interval for `level`, its own standard error included.
    """

    environment: tuple[str, ...]
    level: Array
    level_se: Array
    forecast: Array
    sd: Array
    outside: Array
    half_width: Array

    @property
    def coverage(self) -> float:
        """Fraction of lines whose level lies inside its interval; NaN without a line."""
        inside = np.abs(self.level - self.forecast) <= self.half_width
        return float(inside.mean()) if inside.size else float("nan")


@dataclass(frozen=True)
class ClosedForm:
    """Everything that prediction needs of the Student in closed form.

    Parameters
    ----------
    scales : mapping of View to Scale
    offsets : mapping of View to ViewOffset
        Same keys.
    centre : ndarray, shape (F,)
        Mean composition of the training lines.
    vectors : ndarray, shape (F, K)
        Composition axes, channel weights folded in.
    lines : int
        Training lines with a record.
    inflation : float
        Factor of the standard deviation in an interval, at least 1: root mean square of the left-out errors in
        standard deviations.
    model : LevelModel or None
        None with fewer than 2 lines: every level is then forecast as 0.
    left_out : LeftOut
    """

    scales: Mapping[View, Scale]
    offsets: Mapping[View, ViewOffset]
    centre: Array
    vectors: Array
    lines: int
    inflation: float
    model: LevelModel | None
    left_out: LeftOut

    def read(
        self,
        view: View,
        potential: NDArray[np.floating],
        composition: NDArray[np.floating],
        clusters: NDArray[np.integer],
    ) -> SupportReading:
        """Read a support set.

        Parameters
        ----------
        view : View
        potential : ndarray, shape (n,)
            Standardised potential u.
        composition : ndarray, shape (n, F)
            Motif presences of both elements, or another composition, as in training.
        clusters : ndarray, shape (n, 2)
            Numbers of the locus of the enhancer and of the promoter.

        Raises
        ------
        ValueError
            If the view was not fitted, there is no pair, shapes differ or a value is not finite.
        """
        scale = self.scale(view)
        rows = len(potential)
        if composition.shape != (rows, len(self.centre)) or clusters.shape != (rows, 2):
            raise ValueError(
                f"shapes differ: {rows} potentials, composition {composition.shape}, clusters {clusters.shape};"
                f" {len(self.centre)} channels are needed"
            )
        axes = project(composition, self.centre, self.vectors)
        return read_support(scale.logit(potential), scale.prevalence, axes, clusters)

    def forecast(self, reading: SupportReading, view: View) -> Forecast:
        """Forecast the level of a cell line.

        With fewer than 2 training lines the level is 0 and the sd that of the prior, 1.5. With 2 lines neither the sd
        nor the interval is wider than the prior's. At new loci scores shift by themselves, by what the loci of training
        do not tell; so where pairs at shared loci were fitted too, a shift outside training at new ones widens the
        interval, and does not move the level.

        Parameters
        ----------
        view : View
            The one that `reading` was read in; the level is to be added to this view's ``lambda``.
        """
        self.scale(view)
        widest = SHIFT_SD * float(ndtri(UPPER))
        if self.model is None:
            return Forecast(level=0.0, sd=SHIFT_SD, half_width=widest, outside=0.0)
        offset = self.offsets[view]
        moved = SupportReading(
            size=reading.size,
            shift=reading.shift - offset.shift,
            shift_se=float(np.hypot(reading.shift_se, offset.shift_se)),
            axes=reading.axes,
            axes_se=np.hypot(reading.axes_se, offset.axes_se),
        )
        level, variance, outside = self.model.predict(moved, may_move=view == "shared" or "shared" not in self.scales)
        sd = float(np.sqrt(variance))
        half_width = float(stdtrit(self.lines - 1, UPPER)) * self.inflation * sd
        if self.lines == 2:
            sd, half_width = min(sd, SHIFT_SD), min(half_width, widest)
        return Forecast(level=level + offset.level, sd=sd, half_width=half_width, outside=outside)

    def scale(self, view: View) -> Scale:
        """Return the scale of a view.

        Raises
        ------
        ValueError
            If the view was not fitted.
        """
        if view not in self.scales:
            raise ValueError(f"no scale was fitted for the view {view!r}, only for {sorted(self.scales)}")
        return self.scales[view]

    def arrays(self) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        """Flatten into float64 and int64 arrays by name; `from_arrays` inverts this exactly."""
        flat: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {
            "centre": self.centre,
            "vectors": self.vectors,
            "lines": np.array(self.lines, dtype=np.int64),
            "inflation": np.array(self.inflation),
            "left_out.environment": _codes(self.left_out.environment),
        }
        for view, scale in self.scales.items():
            numbers = [scale.slope, scale.intercept, scale.prevalence]
            flat[f"scale.{view}"] = np.array(numbers, dtype=np.float64)
            flat[f"nothing_transfers.{view}"] = np.array(scale.nothing_transfers, dtype=np.int64)
            offset = self.offsets[view]
            flat[f"offset.{view}"] = np.array([offset.level, offset.shift, offset.shift_se, *offset.axes_se])
        for name in _array_names(LeftOut):
            flat[f"left_out.{name}"] = getattr(self.left_out, name)
        if self.model is not None:
            for name in MODEL_NUMBERS:
                flat[f"model.{name}"] = np.array(getattr(self.model, name), dtype=np.float64)
            for part, regression in (("natural", self.model.natural), ("resampled", self.model.resampled)):
                flat |= {f"{part}.{name}": getattr(regression.scaling, name) for name in _array_names(Scaling)}
                flat |= {f"{part}.{name}": getattr(regression, name) for name in _array_names(Regression)}
        return flat

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.float64] | NDArray[np.int64]]) -> ClosedForm:
        """Rebuild what `arrays` flattened.

        Raises
        ------
        KeyError
            If an array is missing.
        """
        views = [view for view in VIEWS if f"scale.{view}" in arrays]
        scales: dict[View, Scale] = {}
        for view in views:
            slope, intercept, prevalence = arrays[f"scale.{view}"].tolist()
            scales[view] = Scale(slope, intercept, prevalence, bool(arrays[f"nothing_transfers.{view}"]))
        lines = int(arrays["lines"])
        left_out = {name: np.asarray(arrays[f"left_out.{name}"], np.float64) for name in _array_names(LeftOut)}
        return cls(
            scales=scales,
            offsets={view: _offset(np.asarray(arrays[f"offset.{view}"], np.float64)) for view in views},
            centre=np.asarray(arrays["centre"], np.float64),
            vectors=np.asarray(arrays["vectors"], np.float64),
            lines=lines,
            inflation=float(arrays["inflation"]),
            model=_model(arrays, lines) if lines > 1 else None,
            left_out=LeftOut(environment=_text(arrays["left_out.environment"]), **left_out),
        )


def project(composition: NDArray[np.floating], centre: Array, vectors: Array) -> Array:
    """Coordinates of pairs on the composition axes.

    Parameters
    ----------
    composition : ndarray, shape (n, F)
    centre : ndarray, shape (F,)
    vectors : ndarray, shape (F, K)

    Returns
    -------
    ndarray, shape (n, K)
    """
    origin = centre @ vectors
    blocks = [
        composition[start : start + BLOCK_ROWS].astype(np.float64) @ vectors - origin
        for start in range(0, len(composition), BLOCK_ROWS)
    ]
    return np.concatenate(blocks) if blocks else np.zeros((0, vectors.shape[1]))


def read_support(logit: Array, prevalence: float, axes: Array, clusters: NDArray[np.integer]) -> SupportReading:
    """Read shift and composition of one support set, with standard errors that count loci and promoters, not pairs.

    Parameters
    ----------
    logit : ndarray, shape (n,)
        ``lambda``, n >= 1.
    prevalence : float
        Prevalence at which `logit` is calibrated.
    axes : ndarray, shape (n, K)
        Of `project`.
    clusters : ndarray, shape (n, 2)
        Numbers of the locus of the enhancer and of the promoter.

    Returns
    -------
    SupportReading
        The standard error of the shift is the larger of the clustered one and the model's own. At a single locus, or
        with a single promoter, it is at least the prior's sd, and those of the axes are infinite.

    Raises
    ------
    ValueError
        If there is no pair, or a value is not finite.
    """
    if not (np.isfinite(logit).all() and np.isfinite(axes).all()):
        raise ValueError("a potential or a composition of the support set is not finite")
    shift = map_shift(logit, prevalence)
    influence, information = reading_influence(logit, prevalence, axes, shift)
    mean = axes.mean(axis=0)
    error = np.sqrt(clustered_variance(influence, clusters))
    clustered = float(error[0]) if np.isfinite(error[0]) else SHIFT_SD
    return SupportReading(len(logit), shift, max(float(1 / np.sqrt(information)), clustered), mean, error[1:])


def reading_influence(logit: Array, prevalence: float, axes: Array, shift: float) -> tuple[Array, float]:
    """How each pair moves what is read of its support set: shift, then axes, shape (n, 1 + K).

    Also return the information of the shift, see `shift_pull`; parameters are those of `read_support`, with the shift
    that was read.
    """
    pull, information = shift_pull(logit, prevalence, shift)
    return np.column_stack([pull / information, (axes - axes.mean(axis=0)) / len(axes)]), information


def shift_pull(logit: Array, prevalence: float, shift: float) -> tuple[Array, float]:
    """What each pair pulls at a shift that was read, and the information that it is divided by.

    Parameters
    ----------
    logit : ndarray, shape (n,)
    prevalence : float
    shift : float
        Of `map_shift` on these.

    Returns
    -------
    pull : ndarray, shape (n,)
        Centred: ``pull / information`` is the influence of a pair on the shift.
    information : float
        That of the prior included.
    """
    moved = float(expit(log_odds(prevalence) + shift))
    excess = np.expm1(log_likelihood_ratio(logit, prevalence))
    score = moved * (1 - moved) * excess / (1 + moved * excess)
    return score - score.mean(), float((score**2).sum()) + 1 / SHIFT_SD**2


def _array_names(kind: type[Scaling] | type[Regression] | type[LeftOut]) -> list[str]:
    return [field.name for field in fields(kind) if field.name not in ("scaling", "environment")]


def _regression(arrays: Mapping[str, NDArray[np.float64] | NDArray[np.int64]], part: str) -> Regression:
    scaling = Scaling(**{name: np.asarray(arrays[f"{part}.{name}"], np.float64) for name in _array_names(Scaling)})
    own = {name: np.asarray(arrays[f"{part}.{name}"], np.float64) for name in _array_names(Regression)}
    return Regression(scaling=scaling, **own)


def _model(arrays: Mapping[str, NDArray[np.float64] | NDArray[np.int64]], lines: int) -> LevelModel:
    numbers = {name: float(arrays[f"model.{name}"]) for name in MODEL_NUMBERS}
    return LevelModel(
        lines=lines, natural=_regression(arrays, "natural"), resampled=_regression(arrays, "resampled"), **numbers
    )


def _offset(numbers: Array) -> ViewOffset:
    level, shift, shift_se = numbers[:3].tolist()
    return ViewOffset(level, shift, shift_se, numbers[3:])


def _codes(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Names as the bytes of their UTF-8 text, one line feed after each."""
    return np.frombuffer("".join(name + "\n" for name in names).encode(), dtype=np.uint8).astype(np.int64)


def _text(codes: NDArray[np.float64] | NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(codes.astype(np.uint8).tobytes().decode().split("\n")[:-1])
