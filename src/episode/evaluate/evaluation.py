"""Evaluating a run on a dataset: predict without its labels, then compare with them, then write the folder.

FOLDER/
  metrics.json         see `episode.evaluate.summary`
  metrics.tsv          one row an environment, then macro and pooled
  predictions.parquet  every pair with U_I, R_E, logit, probability and label
  environments.tsv     one row an environment: the estimate of its impedance
  training.jsonl       the run's training log, for the training curves of a report
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from episode import __version__
from episode.checkpoint import Run
from episode.data.dataset import Dataset
from episode.encode.store import ElementStore
from episode.errors import EpisodeError
from episode.evaluate.summary import Truth, metrics_table, summarise
from episode.files import atomic_file, read_json, write_json
from episode.predict.formats import write_parquet
from episode.predict.pairs import Predictions, predict_dataset

__all__ = ["Evaluation", "check_windows", "evaluate", "write_evaluation"]


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a dataset and the numbers that its labels make of them (content of metrics.json)."""

    predictions: Predictions
    summary: dict[str, Any]


def evaluate(
    run: Run,
    dataset: Dataset,
    store: ElementStore,
    *,
    seed: int = 0,
    truth: Truth | None = None,
    known_only: bool = False,
) -> Evaluation:
    """Predict a dataset from unlabelled support and score the predictions.

    Parameters
    ----------
    run : Run
    dataset : Dataset
        Must have been built with the windows of the run.
    store : ElementStore
    seed : int
    truth : Truth, optional
        What a simulator planted.
    known_only : bool
        Keep only environments that the Teacher knows.
    """
    check_windows(run, dataset)
    if known_only:
        kept = np.isin(dataset.pairs["environment"].to_numpy(), list(run.facts.environments))
        if not kept.any():
            raise EpisodeError("none of these environments is known to the Teacher")
        dataset = dataset.select(kept)
    predictions = predict_dataset(run, dataset, store, seed=seed)
    summary = summarise(
        predictions.pairs,
        predictions.environments,
        temperature=float(run.system.temperature()),
        truth=truth,
        training_impedance=run.facts.calibration["training_impedance"],
    )
    summary["provenance"] = {
        "episode": __version__,
        "seed": seed,
        "training seed": run.facts.seed,
        "training environments": len(run.facts.environments),
        "calibration slope left": run.facts.calibration["residual_slope"],
        "genome SHA-256": dataset.genome_hash,
    }
    return Evaluation(predictions, summary)


def check_windows(run: Run, dataset: Dataset) -> None:
    """Refuse a dataset whose windows are not those that the run was trained on."""
    trained = {"enhancer": run.facts.windows.enhancer, "promoter": run.facts.windows.promoter}
    given = {name: dataset.manifest["windows"][name] for name in trained}
    if trained != given:
        raise EpisodeError(
            f"the dataset was built with windows {given} bp, the run was trained on {trained} bp; build it again with "
            f"--enhancer-window {trained['enhancer']} --promoter-window {trained['promoter']}"
        )


def write_evaluation(evaluation: Evaluation, folder: Path, *, run_folder: Path) -> None:
    """Write the folder described above; existing files of those names are replaced, each by atomic rename."""
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(evaluation.predictions.pairs, folder / "predictions.parquet")
    for name, table in (
        ("environments.tsv", evaluation.predictions.environments),
        ("metrics.tsv", metrics_table(evaluation.summary)),
    ):
        with atomic_file(folder / name) as temporary:
            table.to_csv(temporary, sep="\t", index=False, float_format="%.6g")
    with atomic_file(folder / "training.jsonl") as temporary:
        shutil.copyfile(run_folder / "metrics.jsonl", temporary)
    alarms = run_folder / "alarms.json"
    content = evaluation.summary | {"training_alarms": read_json(alarms) if alarms.exists() else []}
    write_json(folder / "metrics.json", content)
