"""From predictions to the numbers of ``metrics.json``: per environment, macro, pooled, oracle, truth.

The impedances in here are those that the prediction used; nothing is chosen after looking at labels, except
under the name *oracle*. This module does not know how the predictions were made, nor how they are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import spearmanr

from episode.errors import DatasetError
from episode.evaluate.curves import finite_number
from episode.evaluate.figures import Impedances
from episode.evaluate.results import (
    EnvironmentSummary,
    MacroSummary,
    MeanImpedance,
    OracleSummary,
    Summary,
    TruthSummary,
)
from episode.metrics.metrics import (
    Metrics,
    Numbers,
    average_precision,
    binary_metrics,
    expected_calibration_error,
    log_loss,
    oracle_impedance,
)

__all__ = ["Truth", "check_truth", "load_truth", "metrics_table", "summarise", "true_logit"]

PAIR_KEY = ["cell_line", "enhancer_name", "promoter_name"]
ESTIMATES = tuple(key for key in Impedances.model_fields if key != "known")
MIN_GAIN = 1e-6


@dataclass(frozen=True)
class Truth:
    """The truth of a simulated world.

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
    again = environments["cell_line"].duplicated()
    if again.any():
        name = environments["cell_line"][again].iloc[0]
        raise DatasetError(f"{table}:{int(again.argmax()) + 2}: cell line {name!r} is there twice")
    try:
        simulated = pd.read_parquet(parquet)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{parquet}: not a readable Parquet file ({error})") from None
    pairs = _columns(simulated, parquet, [*PAIR_KEY, "potential", "logit"]).drop_duplicates()
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
) -> Summary:
    """Compute everything that predictions and labels say.

    Parameters
    ----------
    predictions : DataFrame, one row a pair
        ``environment``, ``cell_line``, ``enhancer_name``, ``promoter_name`` (str), ``label`` (1, 0, -1
        unknown), ``potential``, ``impedance``, ``logit`` (float). Unlabelled pairs are ignored.
    environments : DataFrame, one row an environment
        ``environment``, ``cell_line`` (str), ``known`` (bool), ``r_student``, ``r_student_sd``,
        ``r_student_low``, ``r_student_high``, ``r_teacher``, ``r_used`` (float), ``support_size`` (int),
        ``warnings`` (str).
    temperature : float
        T of the model, > 0.
    truth : Truth or None
        Where the data are simulated.
    training_impedance : float
        Mean impedance of the training environments, the baseline that knows nothing of the environment.

    Returns
    -------
    Summary
        The *oracle* is the mean impedance of an environment that minimises log-loss given the model's own potential, T
        and, with a spectrum, the deviation of each pair's impedance from that mean; where one class only makes it
        infinite, the impedance that was used. ``mean_impedance`` sets every environment to `training_impedance`.
        ``gain_share`` is None where the oracle adds nothing.

    Raises
    ------
    DatasetError
        If a pair or cell line has no truth in a truth that is given.
    ValueError
        If a prediction belongs to none of `environments`.
    """
    unknown = set(predictions["environment"]) - set(environments["environment"])
    if unknown:
        raise ValueError(f"predictions of environments that are not listed: {sorted(unknown)[:5]}")
    if truth is not None:
        check_truth(predictions, truth)
    scored = predictions.loc[predictions["label"] >= 0].reset_index(drop=True)
    label = scored["label"].to_numpy(int)
    potential, impedance, logit = (scored[name].to_numpy(float) for name in ("potential", "impedance", "logit"))
    bayes = None if truth is None else true_logit(scored, truth)

    described: dict[str, EnvironmentSummary] = {}
    oracle_logit = logit.copy()
    for row in environments.to_dict("records"):
        here = (scored["environment"] == row["environment"]).to_numpy()
        ranked = potential[here] - (impedance[here] - row["r_used"])
        oracle = oracle_impedance(ranked, label[here], temperature)
        if oracle is not None:
            oracle_logit[here] = (ranked - oracle) / temperature
        content: dict[str, object] = dict(binary_metrics(label[here], logit[here], potential[here]))
        content |= {key: finite_number(row[key]) for key in ESTIMATES}
        content |= {key: row[key] for key in ("known", "support_size", "warnings")} | {"r_oracle": oracle}
        if truth is not None and bayes is not None:
            simulated = truth.environments.set_index("cell_line")["impedance"]
            content["r_true"] = finite_number(simulated[row["cell_line"]])
            content["aupr_bayes"] = average_precision(label[here], bayes[here])
        described[str(row["environment"])] = EnvironmentSummary.model_validate(content)

    keys = Numbers.model_fields.keys() - {"collapsed"}
    means = {key: _mean(getattr(entry, key) for entry in described.values()) for key in keys}
    macro = MacroSummary.model_validate({"environments": len(described), **means})
    pooled = binary_metrics(label, logit, potential).model_copy(update={"collapsed": None})
    mean_logit = (potential - training_impedance) / temperature
    mean_loss = log_loss(label, mean_logit) if math.isfinite(training_impedance) else None
    mean = MeanImpedance(
        impedance=finite_number(training_impedance),
        log_loss=mean_loss,
        ece=None if mean_loss is None else expected_calibration_error(label, expit(mean_logit)),
    )
    best = _oracle(list(described.values()), pooled, label, oracle_logit)
    return Summary(
        temperature=float(temperature),
        environments=described,
        macro=macro,
        pooled=pooled,
        oracle=best,
        mean_impedance=mean,
        truth=None if bayes is None else _truth(list(described.values()), macro, best, mean, label, bayes),
    )


def metrics_table(summary: Summary) -> pd.DataFrame:
    """Lay a summary out as the rows of ``metrics.tsv``: each environment, then ``macro`` and ``pooled``.

    Returns
    -------
    DataFrame
        ``level`` (environment, macro or pooled), ``environment`` ("" where none), and the keys of an
        environment; empty where a level has no such number.
    """
    content = summary.model_dump()
    rows = [{"level": "environment", "environment": name} | entry for name, entry in content["environments"].items()]
    rows += [{"level": level} | content[level] | {"environment": ""} for level in ("macro", "pooled")]
    table = pd.DataFrame([{key: value for key, value in row.items() if key != "environments"} for row in rows])
    return table.astype({"n": "Int64", "positives": "Int64"})


def _oracle(
    entries: Sequence[EnvironmentSummary],
    pooled: Metrics,
    label: NDArray[np.int_],
    oracle_logit: NDArray[np.float64],
) -> OracleSummary:
    aupr, potential, used = average_precision(label, oracle_logit), pooled.aupr_potential, pooled.aupr
    gain = None
    if aupr is not None and potential is not None and used is not None and aupr - potential > MIN_GAIN:
        gain = (used - potential) / (aupr - potential)
    return OracleSummary(
        aupr=aupr,
        log_loss=log_loss(label, oracle_logit),
        gain_share=gain,
        interval_coverage=_mean(
            float(entry.r_student_low <= entry.r_oracle <= entry.r_student_high)
            for entry in entries
            if entry.r_student_low is not None and entry.r_student_high is not None and entry.r_oracle is not None
        ),
        spearman_impedance=_spearman(entries, "r_oracle"),
    )


def _truth(
    entries: Sequence[EnvironmentSummary],
    macro: MacroSummary,
    oracle: OracleSummary,
    mean: MeanImpedance,
    label: NDArray[np.int_],
    bayes: NDArray[np.float64],
) -> TruthSummary:
    best = _mean(entry.aupr_bayes for entry in entries)
    return TruthSummary(
        spearman_impedance=_spearman(entries, "r_true"),
        aupr_pooled_oracle_impedance=oracle.aupr,
        oracle_gain_share=oracle.gain_share,
        interval_coverage=oracle.interval_coverage,
        aupr_bayes_pooled=average_precision(label, bayes),
        aupr_bayes_macro=best,
        macro_aupr_over_bayes=None if not best or macro.aupr is None else macro.aupr / best,
        log_loss_bayes=log_loss(label, bayes),
        log_loss_mean_impedance=mean.log_loss,
    )


def check_truth(pairs: pd.DataFrame, truth: Truth) -> None:
    """Make sure that a truth knows every one of some pairs, and their cell lines.

    Parameters
    ----------
    pairs : DataFrame, one row a pair
        With the columns ``enhancer_id`` and ``promoter_id`` too, pairs of other elements must have other names.

    Raises
    ------
    DatasetError
        If it lacks one, or several pairs share their names.
    """
    missing = sorted(set(pairs["cell_line"]) - set(truth.environments["cell_line"]))
    if missing:
        raise DatasetError(f"the truth has no impedance for {len(missing)} cell lines, first {missing[0]!r}")
    wanted = pd.MultiIndex.from_frame(pairs[PAIR_KEY])
    absent = ~wanted.isin(pd.MultiIndex.from_frame(truth.pairs[PAIR_KEY]))
    if absent.any():
        first = " ".join(map(str, wanted[int(absent.argmax())]))
        raise DatasetError(f"the truth lacks {int(absent.sum())} of {len(wanted)} pairs, first {first}")
    ids = [name for name in ("enhancer_id", "promoter_id") if name in pairs]
    distinct = pairs[[*PAIR_KEY, *ids]].drop_duplicates()
    shared = distinct.duplicated(PAIR_KEY)
    if shared.any():
        first = " ".join(distinct.loc[shared, PAIR_KEY].iloc[0].astype(str))
        raise DatasetError(f"the truth goes by names, and several pairs are called {first}; needs names of their own")


def true_logit(scored: pd.DataFrame, truth: Truth) -> NDArray[np.float64]:
    """Return the log-odds that drew the label of each pair of `scored`, shape (n,)."""
    joined = scored[PAIR_KEY].merge(truth.pairs, on=PAIR_KEY, how="left", validate="many_to_one")
    return joined["logit"].to_numpy(np.float64)


def _columns(frame: pd.DataFrame, path: Path, names: list[str]) -> pd.DataFrame:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DatasetError(f"{path}: column {missing[0]!r} is missing; needed are {', '.join(names)}")
    return frame[names].copy()


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _spearman(entries: Sequence[EnvironmentSummary], reference: str) -> float | None:
    """Rank correlation of R_S with a reference over environments; None below three, or where one does not vary."""
    both = [(entry.r_student, getattr(entry, reference)) for entry in entries]
    both = [pair for pair in both if None not in pair]
    if len(both) < 3 or min(len(set(side)) for side in zip(*both, strict=True)) < 2:
        return None
    return finite_number(spearmanr(*zip(*both, strict=True)).statistic)
