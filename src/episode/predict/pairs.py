"""Predictions for every pair of every environment of a dataset: the formula, once.

The result does not depend on batch size, row order or threads beyond rounding. Writes nothing; knows no file formats.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from episode.checkpoint import Run
from episode.data.dataset import Dataset
from episode.encode.store import ElementStore
from episode.episodes.batch import pair_keys, pair_rows, score_rows
from episode.predict.environment import (
    EnvironmentEstimate,
    departure,
    estimate_environment,
    exposure_of,
    refine_with_labels,
)

__all__ = ["Predictions", "distance_warning", "genome_warning", "predict_dataset"]

COLUMNS = (
    "potential",
    "impedance",
    "logit",
    "probability",
    "probability_low",
    "probability_high",
)
"""What prediction adds to the columns of a pair."""


@dataclass(frozen=True)
class Predictions:
    """What prediction gives.

    Parameters
    ----------
    pairs : DataFrame
        The pairs of the dataset in their order, with the columns `COLUMNS`: U_I and R_E in one unit, the logit
        ``(U_I - R_E) / T``, its sigmoid, and the 90 % interval that the spread of R_E alone gives it. With a spectrum
        R_E is that of the pair.
    environments : DataFrame
        One row an environment: the fields of `EnvironmentEstimate`, with cell_line, assay and n. With a spectrum the
        channels are columns student_1, student_2, ..., teacher_1, ..., used_1, ...; with one they are left out.
    estimates : tuple of EnvironmentEstimate
        The same, as they were made.
    exposure : ndarray, shape (n, K)
        Of every pair to the channels.
    """

    pairs: pd.DataFrame
    environments: pd.DataFrame
    estimates: tuple[EnvironmentEstimate, ...]
    exposure: np.ndarray


def predict_dataset(
    run: Run,
    dataset: Dataset,
    store: ElementStore,
    *,
    seed: int = 0,
    batch: int = 4096,
    labelled: tuple[Dataset, ElementStore] | None = None,
) -> Predictions:
    """Predict every pair of a dataset; labels in it are not read.

    Parameters
    ----------
    run : Run
    dataset : Dataset
    store : ElementStore
        Of the dataset's elements, made with the run's bank and stem configuration.
    seed : int
        Decides the support set of an environment that has more pairs than the largest support.
    batch : int
        Pairs scored at a time.
    labelled : (Dataset, ElementStore), optional
        Labelled pairs that refine the impedance of the environments they belong to.
    """
    pairs = dataset.pairs
    rows = pair_rows(dataset, run.facts.shortcuts)
    keys = pair_keys(dataset)
    temperature = float(run.system.temperature())
    potential = np.zeros(len(pairs))
    exposure = np.ones((len(pairs), run.system.exposure.channels))
    departed = np.zeros(len(pairs))
    impedance = np.zeros((3, len(pairs)))
    estimates: list[EnvironmentEstimate] = []
    environment = pairs["environment"].to_numpy()
    for name in sorted(set(environment)):
        index = np.flatnonzero(environment == name)
        mine = rows.take(index)
        estimate = estimate_environment(run, store, mine, [keys[i] for i in index], str(name), seed=seed)
        if labelled is not None:
            known = np.flatnonzero((labelled[0].pairs["environment"] == name).to_numpy())
            few = pair_rows(labelled[0], run.facts.shortcuts).take(known)
            estimate = refine_with_labels(run, estimate, labelled[1], few)
        estimates.append(estimate)
        order = np.lexsort((mine.promoter, mine.enhancer))
        output = score_rows(run.system.backbone, store, mine.take(order), block=batch)
        scored = (output.potential + run.system.temperature.offset).double().cpu().numpy()
        potential[index[order]] = scored
        exposure[index[order]] = exposure_of(run, output)
        departed[index] = departure(estimate, exposure[index])
        impedance[:, index] = np.array([[estimate.r_used], [estimate.r_used_low], [estimate.r_used_high]])
    impedance += departed
    logit = (potential - impedance[0]) / temperature
    result = pairs.drop(columns=[name for name in COLUMNS if name in pairs]).copy()
    result["potential"], result["impedance"], result["logit"] = potential, impedance[0], logit
    result["probability"] = expit(logit)
    result["probability_low"] = expit((potential - impedance[2]) / temperature)
    result["probability_high"] = expit((potential - impedance[1]) / temperature)
    return Predictions(result, _environment_frame(pairs, estimates), tuple(estimates), exposure)


def genome_warning(run: Run, dataset: Dataset) -> str | None:
    """Say so where a dataset was read from another genome file than the run was trained on."""
    trained, given = run.facts.genome_sha256, dataset.genome_hash
    if trained is None or given is None or trained == given:
        return None
    return (
        f"the model was trained on another genome file (SHA-256 {trained[:12]}..., these pairs {given[:12]}...): "
        "if it is another build, coordinates mean other bases"
    )


def distance_warning(run: Run, dataset: Dataset) -> str | None:
    """Say so where U_I has a term of the distance and some pairs have no distance."""
    missing = int(dataset.pairs["distance"].isna().sum())
    if run.system.backbone.decay is None or not missing:
        return None
    return (
        f"U_I of this model has a distance term (potential.distance); it is absent in {missing:,} of "
        f"{len(dataset.pairs):,} pairs, whose distance is not known: they are scored by sequence alone, as if at the "
        "mean distance of training"
    )


def _environment_frame(pairs: pd.DataFrame, estimates: list[EnvironmentEstimate]) -> pd.DataFrame:
    first = pairs.drop_duplicates("environment").set_index("environment")
    count = pairs["environment"].value_counts()
    records = []
    for estimate in estimates:
        name = estimate.environment
        record = {
            "environment": name,
            "cell_line": first.loc[name, "cell_line"],
            "assay": first.loc[name, "assay"],
            "n": int(count[name]),
        }
        fields = asdict(estimate) | {"warnings": "; ".join(estimate.warnings)}
        for name in ("student", "teacher", "used"):
            channels = fields.pop(name)
            if len(channels) > 1:
                fields |= {f"{name}_{k}": value for k, value in enumerate(channels, start=1)}
        records.append(record | fields)
    return pd.DataFrame.from_records(records)
