"""What the figures of a report are drawn from: the content of ``figures.json``, as plain lists.

Pure functions, arrays in, lists and dicts out. A curve that is not defined (one class only, nothing labelled) is left
out rather than filled with something. This module knows neither files nor how a figure looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.metrics import precision_recall_curve

from episode.metrics.metrics import oracle_impedance, reliability_curve

__all__ = [
    "POOLED",
    "comparison_figures",
    "evaluation_figures",
    "impedance_records",
    "potential_histograms",
    "precision_recall_curves",
    "reliability_curves",
    "training_series",
]

POOLED = "pooled"
"""Stands beside the names of environments for all rows together."""
POTENTIAL = "episode.potential"
FUSED = "episode.fused"
FEW_LABEL_ROW = "episode.few_label_"
CURVE_POINTS = 200
HISTOGRAM_BINS = 30
PACING_POINTS = 100
TAIL = 0.001
"""Share of the potentials at either end that the outermost bins of a histogram take up."""
LOSSES = ("task", "opportunist", "distillation")
CHECKS = ("step", "stage", "task", "log_loss", "aupr", "slope")
IMPEDANCES = (
    "r_student",
    "r_student_sd",
    "r_student_low",
    "r_student_high",
    "r_teacher",
    "r_used",
    "r_oracle",
    "r_true",
)


def evaluation_figures(
    predictions: pd.DataFrame, summary: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Put together the ``figures.json`` of one evaluated run.

    Parameters
    ----------
    predictions : DataFrame, one row a pair
        ``environment`` (str), ``label`` (1, 0, -1), ``potential`` and ``logit`` (float).
    summary : mapping
        Content of ``metrics.json``: impedances of the environments, temperature, mean impedance.
    lines : iterable of mapping
        The training log, see `training_series`.

    Returns
    -------
    dict
        ``precision_recall`` of the rows "episode.fused", "episode.potential" (U_I alone) and "oracle"; ``reliability``
        of "episode.fused", "mean_impedance" and "oracle"; ``potential`` ((U_I - level) / T, where the level is the
        mean impedance of training; empty without one), ``impedance``, ``few_labels`` (empty), ``training``.
    """
    temperature = float(summary["temperature"])
    label, names = predictions["label"].to_numpy(), predictions["environment"].to_numpy(str)
    potential, logit = (predictions[key].to_numpy(np.float64) for key in ("potential", "logit"))
    oracle = {name: entry["r_oracle"] for name, entry in summary["environments"].items()}
    known = predictions["environment"].map(oracle).to_numpy(np.float64, na_value=math.nan)
    oracle_logit = np.where(np.isnan(known), logit, (potential - known) / temperature)
    mean = summary["mean_impedance"]["impedance"]
    flat = np.full(len(label), math.nan) if mean is None else (potential - mean) / temperature
    ranked = {FUSED: logit, POTENTIAL: potential, "oracle": oracle_logit}
    claimed = {FUSED: logit, "mean_impedance": flat, "oracle": oracle_logit}
    return {
        "precision_recall": {row: precision_recall_curves(label, score, names) for row, score in ranked.items()},
        "reliability": {row: reliability_curves(label, expit(score), names) for row, score in claimed.items()},
        "potential": potential_histograms(label, flat, names),
        "impedance": impedance_records(summary["environments"]),
        "few_labels": [],
        "training": [training_series(lines, seed=int(summary.get("provenance", {}).get("training seed", 0)))],
    }


def comparison_figures(
    label: ArrayLike,
    environment: ArrayLike,
    rows: Mapping[str, tuple[ArrayLike, ArrayLike]],
    extras: Sequence[Mapping[str, Any]],
    results: Mapping[str, Any],
    *,
    truth: pd.DataFrame | None = None,
    fold: ArrayLike | None = None,
) -> dict[str, Any]:
    """Put together the ``figures.json`` of a comparison.

    Parameters
    ----------
    label : array_like, shape (n,), int
        1, 0, or -1 for unknown.
    environment : array_like, shape (n,), str
    rows : mapping of str to (array_like, array_like), each of shape (n,), float
        Score and logit of every row of the table, of its first seed; NaN where it says nothing.
    extras : sequence of mapping
        What each training of EPIsode left: ``impedance`` (records), ``temperature`` and ``level`` (units of U_I) that
        the score of "episode.potential" was made with, ``training``, ``alarms``.
    results : mapping
        Content of ``results.json``.
    truth : DataFrame, optional
        ``cell_line`` and ``impedance`` of simulated environments.
    fold : array_like, shape (n,), str, optional
        Fold of each row, which the oracle impedance of a fold is found with; without it, it is left out wherever an
        environment stands in more than one fold.

    Returns
    -------
    dict
        ``precision_recall`` and ``reliability`` of all rows, ``potential`` ((U_I - level) / T, the score of
        "episode.potential"), ``impedance`` of the first seed with ``temperature`` and ``level``, ``training`` of all,
        ``few_labels`` (pooled; so many labels of each environment of each fold), and ``alarms`` of the trainings, each
        with its ``fold`` and ``seed``.
    """
    names = np.asarray(environment, dtype=str)
    score = {row: np.asarray(pair[0], dtype=np.float64) for row, pair in rows.items()}
    logit = {row: np.asarray(pair[1], dtype=np.float64) for row, pair in rows.items()}
    reliability = {row: reliability_curves(label, expit(value), names) for row, value in logit.items()}
    potential = score.get(POTENTIAL, np.full(names.shape, math.nan))
    runs = [entry for entry in extras if entry.get("training")]
    first = min((entry["training"]["seed"] for entry in runs), default=0)
    records = [
        dict(record) | {"temperature": entry["temperature"], "level": entry["level"]}
        for entry in runs
        if entry["training"]["seed"] == first
        for record in entry["impedance"]
    ]
    _add_references(
        records, np.asarray(label), names, potential, None if fold is None else np.asarray(fold, str), truth
    )
    counts = sorted(int(row.removeprefix(FEW_LABEL_ROW)) for row in results["rows"] if row.startswith(FEW_LABEL_ROW))
    return {
        "precision_recall": {row: precision_recall_curves(label, value, names) for row, value in score.items()},
        "reliability": {row: curves for row, curves in reliability.items() if curves},
        "potential": potential_histograms(label, potential, names),
        "impedance": records,
        "few_labels": [{"labels": count, **results["rows"][f"{FEW_LABEL_ROW}{count}"]["pooled"]} for count in counts],
        "training": [entry["training"] for entry in runs],
        "alarms": [
            {"fold": entry["training"]["fold"], "seed": entry["training"]["seed"], **alarm}
            for entry in runs
            for alarm in entry.get("alarms", [])
        ],
    }


def precision_recall_curves(label: ArrayLike, score: ArrayLike, environment: ArrayLike) -> dict[str, dict[str, Any]]:
    """Precision against recall of each environment and of all rows together.

    Parameters
    ----------
    label : array_like, shape (n,), int
        1, 0, or -1 for unknown (ignored).
    score : array_like, shape (n,), float
        Anything that ranks; rows that are not finite are ignored.
    environment : array_like, shape (n,), str

    Returns
    -------
    dict of str to dict
        ``recall`` and ``precision`` (equal lengths, at most 200, recall ascending) and ``share`` of positives, by
        environment and under "pooled". What holds one class only is left out.
    """
    truth, scores, names = _usable(label, score, environment)
    curves = {}
    for name, rows in _parts(names):
        if rows.any() and truth[rows].min() != truth[rows].max():
            precision, recall, _ = precision_recall_curve(truth[rows], scores[rows])
            recall, precision = _thin(recall[-2::-1], precision[-2::-1])
            share = _plain([truth[rows].mean()])[0]
            curves[name] = {"recall": _plain(recall), "precision": _plain(precision), "share": share}
    return curves


def reliability_curves(label: ArrayLike, probability: ArrayLike, environment: ArrayLike) -> dict[str, dict[str, Any]]:
    """Observed against predicted share of positives, by `episode.metrics.metrics.reliability_curve`.

    Parameters
    ----------
    label : array_like, shape (n,), int
        1, 0, or -1 for unknown (ignored).
    probability : array_like, shape (n,), float
        In [0, 1]; rows that are not finite are ignored.
    environment : array_like, shape (n,), str

    Returns
    -------
    dict of str to dict
        ``probability`` (bin means, ascending), ``observed`` (shares) and ``count`` (rows), by environment and under
        "pooled". What holds no row is left out.
    """
    truth, chance, names = _usable(label, probability, environment)
    curves = {}
    for name, rows in _parts(names):
        curve = reliability_curve(truth[rows], chance[rows])
        if curve.count.size:
            curves[name] = {
                "probability": _plain(curve.probability),
                "observed": _plain(curve.observed),
                "count": curve.count.tolist(),
            }
    return curves


def potential_histograms(label: ArrayLike, potential: ArrayLike, environment: ArrayLike) -> dict[str, dict[str, Any]]:
    """Counts of potentials by label and environment, all in the same 30 bins.

    Parameters
    ----------
    label : array_like, shape (n,), int
        1, 0, or -1 for unknown (ignored).
    potential : array_like, shape (n,), float
        (U_I - level) / T, one level a training; rows that are not finite are ignored.
    environment : array_like, shape (n,), str

    Returns
    -------
    dict of str to dict
        ``edges`` (31, in the unit of `potential`), ``positive`` and ``negative`` (30 counts each) by environment. The
        edges leave out the outermost 0.1 % at either end; those are counted in the outermost bins.
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
        name: {
            "edges": _plain(edges),
            "positive": np.histogram(inside[rows & (truth == 1)], edges)[0].tolist(),
            "negative": np.histogram(inside[rows & (truth == 0)], edges)[0].tolist(),
        }
        for name, rows in _parts(names)
        if name != POOLED
    }


def impedance_records(entries: Mapping[str, Mapping[str, Any]], *, fold: str = "") -> list[dict[str, Any]]:
    """Impedances of the environments, one record each, in the unit of U_I (``r_true``: of the planted potential).

    Parameters
    ----------
    entries : mapping of str to mapping
        By environment: ``known``, ``support_size``, ``r_student``, ``r_student_sd``, ``r_student_low``,
        ``r_student_high``, ``r_teacher``, ``r_used``, ``r_oracle``, ``r_true``. What is
        absent or not finite becomes None.
    fold : str
        Which training these belong to: levels of different trainings are not to be compared.
    """
    return [
        {
            "environment": name,
            "fold": fold,
            "known": bool(entry["known"]),
            **{key: _number(entry.get(key)) for key in IMPEDANCES},
            "support_size": int(entry["support_size"]),
        }
        for name, entry in entries.items()
    ]


def training_series(lines: Iterable[Mapping[str, Any]], *, fold: str = "", seed: int = 0) -> dict[str, Any]:
    """Thin the lines of a training log to what is drawn of them.

    Parameters
    ----------
    lines : iterable of mapping
        As ``metrics.jsonl`` of a run: ``kind`` "train" with ``step``, losses in nats and ``tasks``, each with
        ``environment`` and, where there was a competition, ``pull_in``, ``push_away`` (nats) and ``ratio`` (rho_c);
        ``kind`` "validation" with ``step``, ``stage``, ``task``, ``log_loss``, ``aupr``, ``slope``. Lines of another
        kind are ignored.
    fold : str
    seed : int

    Returns
    -------
    dict
        ``fold``, ``seed``; ``validation``, a list of records; ``losses``: {name: {``step``, ``value``}} of task,
        Opportunist and distillation; ``pacing``: {environment: {``step``, ``pull``, ``push``, ``ratio``}}. A series
        longer than 200 points (pacing: 100) is given as the means of so many stretches of it, so that a single pull or
        push still shows.
    """
    checks: list[dict[str, Any]] = []
    losses: dict[str, list[tuple[float, ...]]] = {name: [] for name in LOSSES}
    pacing: dict[str, list[tuple[float, ...]]] = {}
    for line in lines:
        step = _number(line.get("step"))
        if step is None:
            continue
        if line.get("kind") == "validation":
            stage = str(line.get("stage", ""))
            checks.append(
                {key: stage if key == "stage" else _number(line.get(key)) for key in CHECKS} | {"step": int(step)}
            )
        elif line.get("kind") == "train":
            for name in LOSSES:
                value = _number(line.get(name))
                if value is not None:
                    losses[name].append((step, value))
            for task in line.get("tasks", []):
                found = tuple(_number(task.get(key)) for key in ("pull_in", "push_away", "ratio"))
                if None not in found:
                    pacing.setdefault(str(task["environment"]), []).append((step, *found))  # type: ignore[arg-type]
    return {
        "fold": fold,
        "seed": seed,
        "validation": checks[:: max(1, math.ceil(len(checks) / CURVE_POINTS))],
        "losses": {
            name: _columns(("step", "value"), points, CURVE_POINTS) for name, points in losses.items() if points
        },
        "pacing": {
            name: _columns(("step", "pull", "push", "ratio"), points, PACING_POINTS)
            for name, points in sorted(pacing.items())
        },
    }


def _add_references(
    records: list[dict[str, Any]],
    label: NDArray[np.int_],
    names: NDArray[np.str_],
    potential: NDArray[np.float64],
    fold: NDArray[np.str_] | None,
    truth: pd.DataFrame | None,
) -> None:
    """Fill in ``r_oracle`` (from (U_I - level) / T and labels, in units of U_I) and ``r_true`` (by cell line)."""
    planted = {} if truth is None else dict(zip(truth["cell_line"].astype(str), truth["impedance"], strict=True))
    folds: dict[str, set[str]] = {}
    for record in records:
        folds.setdefault(record["environment"], set()).add(record["fold"])
    for record in records:
        name, temperature = record["environment"], record["temperature"]
        true = planted.get(name, planted.get(name.split(":")[0]))
        record["r_true"] = record["r_true"] if true is None else _number(true)
        here = (names == name) & (label >= 0) & np.isfinite(potential)
        if fold is not None:
            here &= fold == record["fold"]
        elif len(folds[name]) > 1:
            continue
        if temperature and here.any():
            found = oracle_impedance(potential[here], label[here], 1.0)
            record["r_oracle"] = None if found is None else found * temperature + record["level"]


def _usable(
    label: ArrayLike, value: ArrayLike, environment: ArrayLike
) -> tuple[NDArray[np.int_], NDArray[np.float64], NDArray[np.str_]]:
    """Keep labelled rows with a finite value."""
    truth, values = np.asarray(label, dtype=np.int_), np.asarray(value, dtype=np.float64)
    names = np.asarray(environment, dtype=str)
    if not truth.shape == values.shape == names.shape or truth.ndim != 1:
        raise ValueError(f"shapes differ: label {truth.shape}, value {values.shape}, environment {names.shape}")
    kept = (truth >= 0) & np.isfinite(values)
    return truth[kept], values[kept], names[kept]


def _parts(names: NDArray[np.str_]) -> Iterable[tuple[str, NDArray[np.bool_]]]:
    for name in np.unique(names):
        yield str(name), names == name
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


def _columns(names: Sequence[str], points: Sequence[tuple[float, ...]], most: int) -> dict[str, list[float]]:
    """Turn rows into named columns, averaged over at most `most` stretches."""
    table = np.array(points, dtype=np.float64)
    if len(table) > most:
        table = np.array([part.mean(axis=0) for part in np.array_split(table, most)])
    return {name: _plain(column) for name, column in zip(names, table.T, strict=True)}


def _plain(values: ArrayLike) -> list[float]:
    """Five significant digits: more than a figure shows, and a smaller file."""
    return [float(f"{value:.5g}") for value in np.asarray(values, dtype=np.float64)]


def _number(value: Any) -> float | None:
    if isinstance(value, int | float | np.number) and math.isfinite(value):
        return float(value)
    return None
