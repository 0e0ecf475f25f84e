"""What the figures of a comparison are drawn from, see `episode.evaluate.figures`.

Pure: scores and results in, figures out. This module knows neither files nor how a figure looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from episode.compare.methods.registry import FEW_LABELS
from episode.compare.results import ComparisonResults
from episode.evaluate.curves import POTENTIAL, potential_histograms, precision_recall_curves, reliability_curves
from episode.evaluate.figures import ComparisonFigures, FewLabelPoint, ImpedanceRecord, RunFigures
from episode.metrics.metrics import oracle_impedance

__all__ = ["comparison_figures"]


def comparison_figures(
    label: ArrayLike,
    environment: ArrayLike,
    methods: Mapping[str, tuple[ArrayLike, ArrayLike]],
    runs: Sequence[RunFigures],
    results: ComparisonResults,
    *,
    fold: ArrayLike,
    truth: pd.DataFrame | None = None,
) -> ComparisonFigures:
    """Put together the ``figures.json`` of a comparison.

    Parameters
    ----------
    label : array_like, shape (n,), int
        1, 0, or -1 for unknown.
    environment : array_like, shape (n,), str
    methods : mapping of str to (array_like, array_like), each of shape (n,), float
        Score and logit of every method, of its first seed; NaN where it says nothing.
    runs : sequence of RunFigures
        Of every training run of EPIsode.
    fold : array_like, shape (n,), str
        Fold of each pair, which the oracle impedance of a fold is found with.
    truth : DataFrame, optional
        ``cell_line`` and ``impedance`` of simulated environments.

    Returns
    -------
    ComparisonFigures
        Curves of all methods, ``impedance`` of the first seed, ``training`` of all.
    """
    names = np.asarray(environment, dtype=str)
    score = {name: np.asarray(pair[0], dtype=np.float64) for name, pair in methods.items()}
    logit = {name: np.asarray(pair[1], dtype=np.float64) for name, pair in methods.items()}
    reliability = {name: reliability_curves(label, expit(value), names) for name, value in logit.items()}
    potential = score.get(POTENTIAL, np.full(names.shape, math.nan))
    pooled = {count: results.methods.get(f"episode.few_label_{count}") for count in FEW_LABELS}
    return ComparisonFigures(
        precision_recall={name: precision_recall_curves(label, value, names) for name, value in score.items()},
        reliability={name: curves for name, curves in reliability.items() if curves},
        potential=potential_histograms(label, potential, names),
        impedance=_with_references(
            _first_seed(runs), np.asarray(label), names, potential, np.asarray(fold, str), truth
        ),
        few_labels=[
            FewLabelPoint(labels=count, **dict(entry.pooled)) for count, entry in pooled.items() if entry is not None
        ],
        training=[run.training for run in runs],
        alarms=results.alarms,
    )


def _first_seed(runs: Sequence[RunFigures]) -> list[ImpedanceRecord]:
    """Return the impedances of the training runs of the first seed, with temperature and level."""
    first = min((run.training.seed for run in runs), default=0)
    return [
        record.model_copy(update={"temperature": run.temperature, "level": run.level})
        for run in runs
        if run.training.seed == first
        for record in run.impedance
    ]


def _with_references(
    records: Sequence[ImpedanceRecord],
    label: NDArray[np.int_],
    names: NDArray[np.str_],
    potential: NDArray[np.float64],
    fold: NDArray[np.str_],
    truth: pd.DataFrame | None,
) -> list[ImpedanceRecord]:
    """Add ``r_oracle`` (from (U_I - level) / T and labels, in units of U_I) and ``r_true`` (by cell line)."""
    simulated = {} if truth is None else dict(zip(truth["cell_line"].astype(str), truth["impedance"], strict=True))
    found = []
    for record in records:
        name, temperature, level = record.environment, record.temperature, record.level
        true = simulated.get(name, simulated.get(name.split(":")[0]))
        known: dict[str, float | None] = {} if true is None or not math.isfinite(true) else {"r_true": float(true)}
        here = (names == name) & (fold == record.fold) & (label >= 0) & np.isfinite(potential)
        if temperature and level is not None and here.any():
            oracle = oracle_impedance(potential[here], label[here], 1.0)
            known["r_oracle"] = None if oracle is None else oracle * temperature + level
        found.append(record.model_copy(update=known))
    return found
