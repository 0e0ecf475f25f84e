"""From predictions to the content of ``metrics.json``: per environment, macro, pooled, oracle, truth.

The impedances in here are those that the prediction used; nothing is chosen after looking at labels, except
under the name *oracle*. This module does not know how the predictions were made, nor how they are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import spearmanr

from episode.errors import DatasetError
from episode.metrics.metrics import (
    average_precision,
    binary_metrics,
    expected_calibration_error,
    log_loss,
    oracle_impedance,
)

__all__ = ["Truth", "check_truth", "load_truth", "metrics_table", "summarise", "true_logit"]

PAIR_KEY = ["cell_line", "enhancer_name", "promoter_name"]
POOLED_KEYS = (
    "n",
    "positives",
    "share_positive",
    "aupr_potential",
    "aupr",
    "auroc",
    "log_loss",
    "brier",
    "ece",
    "f1",
    "precision",
    "recall",
    "calibration_slope",
    "calibration_intercept",
)
MACRO_KEYS = POOLED_KEYS[2:]
LEAST_GAIN = 1e-6


@dataclass(frozen=True)
class Truth:
    """What a simulator planted.

    Parameters
    ----------
    environments : DataFrame, one row a cell line
        ``cell_line`` (str), ``impedance`` (float, units of the true potential).
    pairs : DataFrame, one row a pair
        ``cell_line``, ``enhancer_name``, ``promoter_name`` (str, unique together), ``potential`` (float) and
        ``logit`` (float): the log-odds that drew the label.
    """

    environments: pd.DataFrame
    pairs: pd.DataFrame


def load_truth(folder: Path) -> Truth:
    """Read the ``truth/`` folder that a simulator writes beside its tables.

    Raises
    ------
    DatasetError
        If a file or a column is missing, a number is none, or a pair has two different truths.
    """
    table, parquet = folder / "environments.tsv", folder / "pairs.parquet"
    for path in (table, parquet):
        if not path.is_file():
            raise DatasetError(f"{path}: no such file; a truth folder holds environments.tsv and pairs.parquet")
    environments = _columns(
        pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False), table, ["cell_line", "impedance"]
    )
    impedance = pd.to_numeric(environments["impedance"], errors="coerce")
    if impedance.isna().any():
        raise DatasetError(f"{table}:{int(impedance.isna().argmax()) + 2}: impedance is not a number")
    environments["impedance"] = impedance.astype(np.float64)
    try:
        planted = pd.read_parquet(parquet)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{parquet}: not a readable Parquet file ({error})") from None
    pairs = _columns(planted, parquet, [*PAIR_KEY, "potential", "logit"]).drop_duplicates()
    if pairs.duplicated(PAIR_KEY).any():
        first = pairs.loc[pairs.duplicated(PAIR_KEY), PAIR_KEY].iloc[0].to_list()
        raise DatasetError(f"{parquet}: {' '.join(first)} has two different truths")
    return Truth(environments=environments, pairs=pairs)


def summarise(
    predictions: pd.DataFrame,
    environments: pd.DataFrame,
    *,
    temperature: float,
    truth: Truth | None,
    training_impedance: float,
) -> dict[str, Any]:
    """Compute everything that ``metrics.json`` says.

    Parameters
    ----------
    predictions : DataFrame, one row a pair
        ``environment``, ``cell_line``, ``enhancer_name``, ``promoter_name`` (str), ``label`` (1, 0, -1
        unknown), ``potential``, ``impedance``, ``logit`` (float). Unlabelled rows are ignored.
    environments : DataFrame, one row an environment
        ``environment``, ``cell_line`` (str), ``known`` (bool), ``r_student``, ``r_student_sd``,
        ``r_student_low``, ``r_student_high``, ``r_teacher``, ``r_used`` (float), ``support_size`` (int),
        ``warnings`` (str).
    temperature : float
        T of the model, > 0.
    truth : Truth or None
        Where the data are simulated.
    training_impedance : float
        Mean impedance of the training environments, the rival that knows nothing of the environment.

    Returns
    -------
    dict
        Plain Python values, None for what is not defined; safe for JSON. ``environments.<name>``, ``macro``
        (mean over the environments in which a number is defined), ``pooled`` (all labelled rows together),
        ``oracle`` (the mean impedance of an environment that minimises log-loss given the model's own potential, T
        and, with a spectrum, what the impedance of each pair departs from that mean; where one class only makes it
        infinite, the impedance that was used), ``mean_impedance`` (every environment set to
        `training_impedance`), ``temperature``, and ``truth`` where given. ``gain_share`` is what the correction adds
        to the pooled AUPR of the potential alone, as a share of what the oracle
        adds; None where the oracle adds nothing.

    Raises
    ------
    DatasetError
        If a pair or cell line has no truth in a truth that is given.
    ValueError
        If a prediction belongs to none of `environments`.
    """
    strangers = set(predictions["environment"]) - set(environments["environment"])
    if strangers:
        raise ValueError(f"predictions of environments that are not listed: {sorted(strangers)[:5]}")
    if truth is not None:
        check_truth(predictions, truth)
    scored = predictions.loc[predictions["label"] >= 0].reset_index(drop=True)
    label = scored["label"].to_numpy(int)
    potential, impedance, logit = (scored[name].to_numpy(float) for name in ("potential", "impedance", "logit"))
    bayes = None if truth is None else true_logit(scored, truth)

    described: dict[str, dict[str, Any]] = {}
    oracle_logit = logit.copy()
    for row in environments.to_dict("records"):
        rows = (scored["environment"] == row["environment"]).to_numpy()
        ranked = potential[rows] - (impedance[rows] - row["r_used"])
        entry = _environment(row, label[rows], logit[rows], potential[rows])
        entry["r_oracle"] = oracle_impedance(ranked, label[rows], temperature)
        if entry["r_oracle"] is not None:
            oracle_logit[rows] = (ranked - entry["r_oracle"]) / temperature
        if truth is not None and bayes is not None:
            planted = truth.environments.set_index("cell_line")["impedance"]
            entry["r_true"] = _number(planted[row["cell_line"]])
            entry["aupr_bayes"] = average_precision(label[rows], bayes[rows])
        described[str(row["environment"])] = entry

    summary: dict[str, Any] = {
        "temperature": _number(temperature),
        "environments": described,
        "macro": {"environments": len(described)}
        | {key: _mean(entry[key] for entry in described.values()) for key in MACRO_KEYS},
        "pooled": {key: _with_share(label, logit, potential)[key] for key in POOLED_KEYS},
    }
    summary["oracle"] = _oracle(summary, label, oracle_logit)
    mean_logit = (potential - training_impedance) / temperature
    mean_loss = log_loss(label, mean_logit) if math.isfinite(training_impedance) else None
    summary["mean_impedance"] = {
        "impedance": _number(training_impedance),
        "log_loss": mean_loss,
        "ece": None if mean_loss is None else expected_calibration_error(label, expit(mean_logit)),
    }
    if bayes is not None:
        summary["truth"] = _truth(summary, label, bayes)
    return summary


def metrics_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Lay a summary out as the rows of ``metrics.tsv``: each environment, then ``macro`` and ``pooled``.

    Parameters
    ----------
    summary : mapping
        As returned by `summarise`.

    Returns
    -------
    DataFrame
        ``level`` (environment, macro or pooled), ``environment`` ("" where none), and the keys of an
        environment; empty where a level has no such number.
    """
    rows = [{"level": "environment", "environment": name} | entry for name, entry in summary["environments"].items()]
    macro = {key: value for key, value in summary["macro"].items() if key != "environments"}
    rows += [
        {"level": "macro", "environment": ""} | macro,
        {"level": "pooled", "environment": ""} | summary["pooled"],
    ]
    return pd.DataFrame(rows).astype({"n": "Int64", "positives": "Int64"})


def _environment(
    row: Mapping[Any, Any],
    label: NDArray[np.int_],
    logit: NDArray[np.float64],
    potential: NDArray[np.float64],
) -> dict[str, Any]:
    entry = _with_share(label, logit, potential)
    entry["known"] = bool(row["known"])
    for key in ("r_student", "r_student_sd", "r_student_low", "r_student_high", "r_teacher", "r_used"):
        entry[key] = _number(row[key])
    entry["support_size"] = int(row["support_size"])
    entry["warnings"] = str(row["warnings"])
    return entry


def _with_share(label: NDArray[np.int_], logit: NDArray[np.float64], potential: NDArray[np.float64]) -> dict[str, Any]:
    metrics = asdict(binary_metrics(label, logit, potential))
    share = metrics["positives"] / metrics["n"] if metrics["n"] else None
    return {"n": metrics.pop("n"), "positives": metrics.pop("positives"), "share_positive": share} | metrics


def _oracle(summary: Mapping[str, Any], label: NDArray[np.int_], oracle_logit: NDArray[np.float64]) -> dict[str, Any]:
    pooled, entries = summary["pooled"], list(summary["environments"].values())
    aupr = average_precision(label, oracle_logit)
    share = None
    if aupr is not None and aupr - pooled["aupr_potential"] > LEAST_GAIN:
        share = (pooled["aupr"] - pooled["aupr_potential"]) / (aupr - pooled["aupr_potential"])
    return {
        "aupr": aupr,
        "log_loss": log_loss(label, oracle_logit),
        "gain_share": share,
        "interval_coverage": _mean(
            float(entry["r_student_low"] <= entry["r_oracle"] <= entry["r_student_high"])
            for entry in entries
            if None not in (entry["r_student_low"], entry["r_student_high"], entry["r_oracle"])
        ),
        "spearman_impedance": _spearman(entries, "r_student", "r_oracle"),
    }


def _truth(summary: Mapping[str, Any], label: NDArray[np.int_], bayes: NDArray[np.float64]) -> dict[str, Any]:
    entries = list(summary["environments"].values())
    macro = _mean(entry["aupr_bayes"] for entry in entries)
    return {
        "spearman_impedance": _spearman(entries, "r_student", "r_true"),
        "aupr_pooled_oracle_impedance": summary["oracle"]["aupr"],
        "oracle_gain_share": summary["oracle"]["gain_share"],
        "interval_coverage": summary["oracle"]["interval_coverage"],
        "aupr_bayes_pooled": average_precision(label, bayes),
        "aupr_bayes_macro": macro,
        "macro_aupr_over_bayes": None if not macro else summary["macro"]["aupr"] / macro,
        "log_loss_bayes": log_loss(label, bayes),
        "log_loss_mean_impedance": summary["mean_impedance"]["log_loss"],
    }


def check_truth(pairs: pd.DataFrame, truth: Truth) -> None:
    """Make sure that a truth knows every one of some pairs, and their cell lines.

    Raises
    ------
    DatasetError
        If it lacks one.
    """
    missing = sorted(set(pairs["cell_line"]) - set(truth.environments["cell_line"]))
    if missing:
        raise DatasetError(f"the truth has no impedance for {len(missing)} cell lines, first {missing[0]!r}")
    wanted = pd.MultiIndex.from_frame(pairs[PAIR_KEY])
    absent = ~wanted.isin(pd.MultiIndex.from_frame(truth.pairs[PAIR_KEY]))
    if absent.any():
        first = " ".join(map(str, wanted[int(absent.argmax())]))
        raise DatasetError(f"the truth lacks {int(absent.sum())} of {len(wanted)} pairs, first {first}")


def true_logit(scored: pd.DataFrame, truth: Truth) -> NDArray[np.float64]:
    """Return the planted log-odds of each pair of `scored`, shape (n,)."""
    joined = scored[PAIR_KEY].merge(truth.pairs, on=PAIR_KEY, how="left", validate="many_to_one")
    return joined["logit"].to_numpy(np.float64)


def _columns(frame: pd.DataFrame, path: Path, names: list[str]) -> pd.DataFrame:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DatasetError(f"{path}: column {missing[0]!r} is missing; needed are {', '.join(names)}")
    return frame[names].copy()


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _spearman(entries: Iterable[Mapping[str, Any]], left: str, right: str) -> float | None:
    """Rank correlation over environments; None below three, or where one side does not vary."""
    both = [(entry[left], entry[right]) for entry in entries if None not in (entry[left], entry[right])]
    if len(both) < 3 or min(len(set(side)) for side in zip(*both, strict=True)) < 2:
        return None
    return _number(spearmanr(*zip(*both, strict=True)).statistic)
