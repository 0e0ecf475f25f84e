"""Evaluating a run on a dataset: predict without its labels, then compare with them, then write the folder.

FOLDER/
  metrics.json         see `episode.evaluate.summary`; ``intervals`` and ``provenance`` beside it
  metrics.tsv          one row an environment, then macro and pooled
  figures.json         see `episode.evaluate.curves`: what a report draws
  predictions.parquet  every pair with U_I, R_E, logit, probability and label
  environments.tsv     one row an environment: the estimate of its impedance
  training.jsonl       the run's training log
"""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from episode import __version__
from episode.checkpoint import Run
from episode.data.dataset import Dataset
from episode.encode.store import ElementStore
from episode.errors import EpisodeError
from episode.evaluate.curves import evaluation_figures
from episode.evaluate.summary import Truth, metrics_table, summarise
from episode.files import atomic_file, read_json, write_json
from episode.metrics.bootstrap import block_ids
from episode.metrics.intervals import RowScores, summarise_rows
from episode.predict.pairs import Predictions, predict_dataset
from episode.predict.writers import write_parquet
from episode.seeds import generator

__all__ = ["Evaluation", "check_windows", "evaluate", "write_evaluation"]

FUSED, MEAN = "episode.fused", "mean_impedance"
BLOCK_BP = 5_000_000
DRAWS = 1000


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
        training_impedance=run.facts.calibration.training_impedance,
    )
    summary["intervals"] = _intervals(dataset, predictions, summary, seed)
    summary["provenance"] = _provenance(run, dataset, seed)
    return Evaluation(predictions, summary)


def check_windows(run: Run, dataset: Dataset) -> None:
    """Refuse a dataset whose windows are not those that the run was trained on."""
    trained = {"enhancer": run.facts.windows.enhancer, "promoter": run.facts.windows.promoter}
    given = {name: getattr(dataset.manifest.windows, name) for name in trained}
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
    log = run_folder / "metrics.jsonl"
    with atomic_file(folder / "training.jsonl") as temporary:
        shutil.copyfile(log, temporary)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    write_json(folder / "figures.json", evaluation_figures(evaluation.predictions.pairs, evaluation.summary, lines))
    alarms = run_folder / "alarms.json"
    content = evaluation.summary | {"training_alarms": read_json(alarms) if alarms.exists() else []}
    write_json(folder / "metrics.json", content)


def _intervals(dataset: Dataset, predictions: Predictions, summary: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return 95 % intervals by resampling blocks of the genome; empty where no pair is labelled.

    ``macro``, ``pooled`` and ``environments.<name>`` are of the impedance used, ``mean_impedance`` is of U_I with the
    training mean everywhere, ``gain`` their paired difference (the first minus the second, macro and ``pooled``).
    """
    pairs = predictions.pairs
    label = pairs["label"].to_numpy(np.int8)
    if not (label >= 0).any():
        return {}
    potential, logit = (pairs[name].to_numpy(np.float64)[None] for name in ("potential", "logit"))
    nothing = np.full(logit.shape, np.nan)
    table = {FUSED: RowScores(logit, logit, nothing)}
    mean = summary["mean_impedance"]["impedance"]
    if mean is not None:
        table[MEAN] = RowScores(potential, (potential - mean) / summary["temperature"], nothing)
    found = summarise_rows(
        label,
        pairs["environment"].to_numpy(str),
        block_ids(dataset.pairs, BLOCK_BP),
        table,
        subsets={},
        claims=[(FUSED, MEAN)] if MEAN in table else [],
        draws=DRAWS,
        rng=generator(seed, "blocks"),
    )
    rows = found["rows"]
    return {
        **found["intervals"],
        "block_bp": BLOCK_BP,
        **{scope: rows[FUSED][scope] for scope in ("macro", "pooled")},
        "environments": {name: entry["rows"][FUSED] for name, entry in found["environments"].items()},
        MEAN: {scope: rows[MEAN][scope] for scope in ("macro", "pooled")} if MEAN in rows else {},
        "gain": found["differences"].get(f"{FUSED}-{MEAN}", {}),
    }


def _provenance(run: Run, dataset: Dataset, seed: int) -> dict[str, Any]:
    facts = run.facts
    return {
        "episode": __version__,
        "python": platform.python_version(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "training seed": facts.seed,
        "training versions": facts.provenance.model_dump(include={"episode", "torch", "numpy"}),
        "training environments": len(facts.environments),
        "training sources": facts.provenance.sources,
        "calibration slope left": facts.calibration.residual_slope,
        "genome SHA-256": dataset.genome_hash,
        "sources": dataset.manifest.model_dump(mode="json")["sources"],
        "config": facts.config.model_dump(),
    }
