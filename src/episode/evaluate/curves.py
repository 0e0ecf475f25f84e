"""What the figures of a report are drawn from, see `episode.evaluate.figures`: curves and series as plain lists.

Pure functions. A curve that is not defined (one class only, nothing labelled) is left out rather than filled with
something. This module knows neither files nor how a figure looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.metrics import precision_recall_curve

from episode.evaluate.figures import (
    Figures,
    ImpedanceRecord,
    Impedances,
    LossSeries,
    PacingSeries,
    PotentialHistogram,
    PrecisionRecall,
    Reliability,
    TrainingSeries,
    ValidationCheck,
)
from episode.evaluate.results import EnvironmentSummary, EvaluationResults
from episode.metrics.metrics import reliability_curve

if TYPE_CHECKING:
    from episode.predict.impedance import EnvironmentEstimate

__all__ = [
    "POOLED",
    "evaluation_figures",
    "finite_number",
    "impedance_records",
    "potential_histograms",
    "precision_recall_curves",
    "reliability_curves",
    "training_series",
]

POOLED = "pooled"
"""Stands beside the names of environments for all pairs together."""
POTENTIAL = "episode.potential"
FUSED = "episode.fused"
CURVE_POINTS = 200
HISTOGRAM_BINS = 30
PACING_POINTS = 100
TAIL = 0.001
"""Fraction of the potentials at either end that the outermost bins of a histogram take up."""
LOSSES = ("task", "opportunist", "distillation")
CHECKS = ("task", "log_loss", "aupr", "slope")
IMPEDANCES = (*(key for key in Impedances.model_fields if key != "known"), "r_oracle", "r_true")


def evaluation_figures(
    predictions: pd.DataFrame, results: EvaluationResults, lines: Iterable[Mapping[str, object]]
) -> Figures:
    """Put together the ``figures.json`` of one evaluated run.

    Parameters
    ----------
    predictions : DataFrame, one row a pair
        ``environment`` (str), ``label`` (1, 0, -1), ``potential`` and ``logit`` (float).
    results : EvaluationResults
        Impedances of the environments, temperature, mean impedance.
    lines : iterable of mapping
        The training log, see `training_series`.

    Returns
    -------
    Figures
        ``precision_recall`` of "episode.fused", "episode.potential" (U_I alone) and "oracle"; ``reliability`` of
        "episode.fused", "mean_impedance" and "oracle"; ``potential`` by the mean impedance of training as level, empty
        without one; ``few_labels`` empty.
    """
    temperature = results.temperature
    label, names = predictions["label"].to_numpy(), predictions["environment"].to_numpy(str)
    potential, logit = (predictions[key].to_numpy(np.float64) for key in ("potential", "logit"))
    oracle = {name: entry.r_oracle for name, entry in results.environments.items()}
    known = predictions["environment"].map(oracle).to_numpy(np.float64, na_value=math.nan)
    oracle_logit = np.where(np.isnan(known), logit, (potential - known) / temperature)
    mean = results.mean_impedance.impedance
    flat = np.full(len(label), math.nan) if mean is None else (potential - mean) / temperature
    ranked = {FUSED: logit, POTENTIAL: potential, "oracle": oracle_logit}
    claimed = {FUSED: logit, "mean_impedance": flat, "oracle": oracle_logit}
    return Figures(
        precision_recall={name: precision_recall_curves(label, score, names) for name, score in ranked.items()},
        reliability={name: reliability_curves(label, expit(score), names) for name, score in claimed.items()},
        potential=potential_histograms(label, flat, names),
        impedance=impedance_records(results.environments),
        training=[training_series(lines, seed=results.provenance.training_seed)],
    )


def precision_recall_curves(label: ArrayLike, score: ArrayLike, environment: ArrayLike) -> dict[str, PrecisionRecall]:
    """Precision against recall of each environment and of all pairs together.

    Parameters
    ----------
    label : array_like, shape (n,), int
        1, 0, or -1 for unknown (ignored).
    score : array_like, shape (n,), float
        Anything that ranks; pairs whose score is not finite are ignored.
    environment : array_like, shape (n,), str

    Returns
    -------
    dict of str to PrecisionRecall
        By environment and under "pooled". What holds one class only is left out.
    """
    truth, scores, names = _usable(label, score, environment)
    curves = {}
    for name, rows in _parts(names):
        if rows.any() and truth[rows].min() != truth[rows].max():
            precision, recall, _ = precision_recall_curve(truth[rows], scores[rows])
            recall, precision = _thin(recall[-2::-1], precision[-2::-1])
            prevalence = _plain([truth[rows].mean()])[0]
            curves[name] = PrecisionRecall(recall=_plain(recall), precision=_plain(precision), share=prevalence)
    return curves


def reliability_curves(label: ArrayLike, probability: ArrayLike, environment: ArrayLike) -> dict[str, Reliability]:
    """Observed against predicted prevalence, by `episode.metrics.metrics.reliability_curve`.

    Parameters
    ----------
    label : array_like, shape (n,), int
        1, 0, or -1 for unknown (ignored).
    probability : array_like, shape (n,), float
        In [0, 1]; pairs whose probability is not finite are ignored.
    environment : array_like, shape (n,), str

    Returns
    -------
    dict of str to Reliability
        By environment and under "pooled". What holds no pair is left out.
    """
    truth, predicted, names = _usable(label, probability, environment)
    curves = {}
    for name, rows in _parts(names):
        curve = reliability_curve(truth[rows], predicted[rows])
        if curve.count.size:
            curves[name] = Reliability(
                probability=_plain(curve.probability), observed=_plain(curve.observed), count=curve.count.tolist()
            )
    return curves


def potential_histograms(
    label: ArrayLike, potential: ArrayLike, environment: ArrayLike
) -> dict[str, PotentialHistogram]:
    """Counts of potentials by label and environment, all in the same 30 bins.

    Parameters
    ----------
    label : array_like, shape (n,), int
        1, 0, or -1 for unknown (ignored).
    potential : array_like, shape (n,), float
        (U_I - level) / T, one level a training run; pairs whose value is not finite are ignored.
    environment : array_like, shape (n,), str

    Returns
    -------
    dict of str to PotentialHistogram
        By environment. The edges leave out the outermost 0.1 % at either end; those are counted in the outermost bins.
    """
    truth, values, names = _usable(label, potential, environment)
    if not values.size:
        return {}
    low, high = np.quantile(values, TAIL, method="higher"), np.quantile(values, 1 - TAIL, method="lower")
    if not high > low:
        low, high = values.min(), values.max()
    if not high > low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    inside = values.clip(low, high)
    return {
        name: PotentialHistogram(
            edges=_plain(edges),
            positive=np.histogram(inside[rows & (truth == 1)], edges)[0].tolist(),
            negative=np.histogram(inside[rows & (truth == 0)], edges)[0].tolist(),
        )
        for name, rows in _parts(names)
        if name != POOLED
    }


def impedance_records(
    entries: Mapping[str, EnvironmentSummary | EnvironmentEstimate], *, fold: str = ""
) -> list[ImpedanceRecord]:
    """Impedances of the environments, one record each.

    Parameters
    ----------
    entries : mapping of str to EnvironmentSummary or EnvironmentEstimate
        By environment. What one of them lacks, or is not finite, becomes None.
    fold : str
        Which training run these belong to.
    """
    return [
        ImpedanceRecord(
            environment=name,
            fold=fold,
            known=bool(entry.known),
            **{key: finite_number(getattr(entry, key, None)) for key in IMPEDANCES},
            support_size=int(entry.support_size),
        )
        for name, entry in entries.items()
    ]


def training_series(lines: Iterable[Mapping[str, object]], *, fold: str = "", seed: int = 0) -> TrainingSeries:
    """Thin the lines of a training log to what is drawn of them.

    Parameters
    ----------
    lines : iterable of mapping
        As ``metrics.jsonl`` of a run: ``kind`` "train" with ``step``, losses in nats and ``tasks``, each with
        ``environment`` and, where there was a competition, ``pull_in``, ``push_away`` (nats) and ``ratio`` (rho_c);
        ``kind`` "validation" with ``step``, ``stage``, ``task``, ``log_loss``, ``aupr``, ``slope``. Lines of another
        kind are ignored.

    Returns
    -------
    TrainingSeries
        With the losses of task, Opportunist and distillation. A series longer than 200 points (pacing: 100) is given as
        the means of 200 (100) stretches of it, so that a single pull or push still shows.
    """
    checks: list[ValidationCheck] = []
    losses: dict[str, list[tuple[float, ...]]] = {name: [] for name in LOSSES}
    pacing: dict[str, list[tuple[float, ...]]] = {}
    for line in lines:
        step = finite_number(line.get("step"))
        if step is None:
            continue
        if line.get("kind") == "validation":
            measured = {key: finite_number(line.get(key)) for key in CHECKS}
            checks.append(ValidationCheck(step=int(step), stage=str(line.get("stage", "")), **measured))
        elif line.get("kind") == "train":
            for name in LOSSES:
                value = finite_number(line.get(name))
                if value is not None:
                    losses[name].append((step, value))
            tasks = line.get("tasks")
            for task in tasks if isinstance(tasks, list) else []:
                found = tuple(finite_number(task.get(key)) for key in ("pull_in", "push_away", "ratio"))
                if None not in found:
                    pacing.setdefault(str(task["environment"]), []).append((step, *found))  # type: ignore[arg-type]
    return TrainingSeries(
        fold=fold,
        seed=seed,
        validation=checks[:: max(1, math.ceil(len(checks) / CURVE_POINTS))],
        losses={
            name: LossSeries(**_columns(("step", "value"), points, CURVE_POINTS))
            for name, points in losses.items()
            if points
        },
        pacing={
            name: PacingSeries(**_columns(("step", "pull", "push", "ratio"), points, PACING_POINTS))
            for name, points in sorted(pacing.items())
        },
    )


def _usable(
    label: ArrayLike, value: ArrayLike, environment: ArrayLike
) -> tuple[NDArray[np.int_], NDArray[np.float64], NDArray[np.str_]]:
    """Keep labelled pairs with a finite value."""
    truth, values = np.asarray(label, dtype=np.int_), np.asarray(value, dtype=np.float64)
    names = np.asarray(environment, dtype=str)
    if not truth.shape == values.shape == names.shape or truth.ndim != 1:
        raise ValueError(f"shapes differ: label {truth.shape}, value {values.shape}, environment {names.shape}")
    kept = (truth >= 0) & np.isfinite(values)
    return truth[kept], values[kept], names[kept]


def _parts(names: NDArray[np.str_]) -> Iterable[tuple[str, NDArray[np.bool_]]]:
    for name in np.unique(names):
        yield f"{name} (environment)" if name == POOLED else str(name), names == name
    yield POOLED, np.ones(names.shape, dtype=bool)


def _thin(
    recall: NDArray[np.float64], precision: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Keep at most `CURVE_POINTS` points, evenly in recall, the last one among them."""
    if recall.size <= CURVE_POINTS:
        return recall, precision
    wanted = np.linspace(recall[0], recall[-1], CURVE_POINTS)
    kept = np.unique(np.searchsorted(recall, wanted).clip(0, recall.size - 1))
    return recall[kept], precision[kept]


def _columns(names: Sequence[str], points: Sequence[tuple[float, ...]], limit: int) -> dict[str, list[float]]:
    """Turn rows into named columns, averaged over at most `limit` stretches."""
    table = np.array(points, dtype=np.float64)
    if len(table) > limit:
        table = np.array([part.mean(axis=0) for part in np.array_split(table, limit)])
    return {name: _plain(column) for name, column in zip(names, table.T, strict=True)}


def _plain(values: ArrayLike) -> list[float]:
    """Five significant digits: more than a figure shows, and a smaller file."""
    return [float(f"{value:.5g}") for value in np.asarray(values, dtype=np.float64)]


def finite_number(value: object) -> float | None:
    """Return a finite number as a float, anything else as None."""
    if isinstance(value, int | float | np.number) and math.isfinite(value):
        return float(value)
    return None
