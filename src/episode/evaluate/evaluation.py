"""Evaluating a run on a dataset: predict without its labels, then compare with them, then write the folder.

FOLDER/
  metrics.json         see `episode.evaluate.results`
  metrics.tsv          one row an environment, then macro and pooled
  figures.json         see `episode.evaluate.figures`: what a report draws
  predictions.parquet  every pair with U_I, R_E, logit, probability and label
  environments.tsv     one row an environment: the estimate of its impedance
  training.jsonl       the run's training log; of a cross-fitted run that of its first member
"""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from episode import __version__
from episode.checkpoint import Run
from episode.data.dataset import Dataset
from episode.encode.store import ElementStore
from episode.errors import EpisodeError
from episode.evaluate.curves import evaluation_figures
from episode.evaluate.figures import RunAlarm
from episode.evaluate.results import (
    EvaluationIntervals,
    EvaluationProvenance,
    EvaluationResults,
    ScopeEstimates,
    StudentSummary,
    Summary,
)
from episode.evaluate.summary import Truth, metrics_table, summarise
from episode.files import atomic_file
from episode.lines import write_tsv
from episode.metrics.bootstrap import block_ids
from episode.metrics.intervals import MethodScores, summarise_methods
from episode.predict.pairs import Predictions, predict_dataset
from episode.predict.writers import write_parquet
from episode.schema import write_model
from episode.seeds import generator
from episode.train.log import log_file, read_log

__all__ = ["Evaluation", "check_windows", "evaluate", "run_alarms", "training_lines", "write_evaluation"]

FUSED, MEAN = "episode.fused", "mean_impedance"
BLOCK_BP = 5_000_000
DRAWS = 1000


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a dataset, and the numbers that its labels make of them."""

    predictions: Predictions
    results: EvaluationResults


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
    dataset : Dataset
        Must have been built with the windows of the run.
    truth : Truth, optional
        Of a simulated world.
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
    own = ["; ".join(estimate.warnings) for estimate in predictions.estimates]  # alarms have a place of their own
    summary = summarise(
        predictions.pairs,
        predictions.environments.assign(warnings=own),
        temperature=run.temperature,
        truth=truth,
        training_impedance=run.facts.calibration.training_impedance,
    )
    return Evaluation(
        predictions,
        EvaluationResults(
            **dict(summary),
            intervals=_intervals(dataset, predictions, summary, seed),
            provenance=_provenance(run, dataset, seed),
            student=_student(run, predictions),
            training_alarms=run_alarms(run),
        ),
    )


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
    lines = training_lines(run_folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(evaluation.predictions.pairs, folder / "predictions.parquet")
    for name, table in (
        ("environments.tsv", evaluation.predictions.environments),
        ("metrics.tsv", metrics_table(evaluation.results)),
    ):
        with atomic_file(folder / name) as temporary:
            write_tsv(table, temporary)
    with atomic_file(folder / "training.jsonl") as temporary:
        shutil.copyfile(log_file(run_folder), temporary)
    write_model(folder / "figures.json", evaluation_figures(evaluation.predictions.pairs, evaluation.results, lines))
    write_model(folder / "metrics.json", evaluation.results)


def training_lines(run_folder: Path) -> list[dict[str, object]]:
    """Read the log of a run, as `episode.evaluate.curves.training_series` takes it."""
    return [line.model_dump(exclude_unset=True) for line in read_log(log_file(run_folder))]


def run_alarms(run: Run) -> list[RunAlarm]:
    """Return the alarms of a run as results hold them."""
    return [RunAlarm(name=alarm.name, text=alarm.text) for alarm in run.alarms]


def _intervals(dataset: Dataset, predictions: Predictions, summary: Summary, seed: int) -> EvaluationIntervals | None:
    """Return 95 % intervals by resampling blocks of the genome; None where no pair is labelled."""
    pairs = predictions.pairs
    label = pairs["label"].to_numpy(np.int8)
    if not (label >= 0).any():
        return None
    potential, logit = (pairs[name].to_numpy(np.float64)[None] for name in ("potential", "logit"))
    nothing = np.full(logit.shape, np.nan)
    table = {FUSED: MethodScores(logit, logit, nothing)}
    mean = summary.mean_impedance.impedance
    if mean is not None:
        table[MEAN] = MethodScores(potential, (potential - mean) / summary.temperature, nothing)
    found = summarise_methods(
        label,
        pairs["environment"].to_numpy(str),
        block_ids(dataset.pairs, BLOCK_BP),
        table,
        subsets={},
        claims=[(FUSED, MEAN)] if MEAN in table else [],
        draws=DRAWS,
        rng=generator(seed, "blocks"),
    )
    used, flat = found.methods[FUSED], found.methods.get(MEAN)
    return EvaluationIntervals(
        **dict(found.intervals),
        block_bp=BLOCK_BP,
        macro=used.macro,
        pooled=used.pooled,
        environments={name: entry.methods[FUSED] for name, entry in found.environments.items()},
        mean_impedance=None if flat is None else ScopeEstimates(macro=flat.macro, pooled=flat.pooled),
        gain=found.differences.get(f"{FUSED}-{MEAN}"),
    )


def _student(run: Run, predictions: Predictions) -> StudentSummary:
    scales = {} if run.student is None else run.student.fitted.scales
    return StudentSummary(
        kind="network" if run.student is None else "closed_form",
        members=len(run.members),
        views={entry.environment: entry.view for entry in predictions.estimates if entry.view is not None},
        nothing_transfers=sorted(view for view, scale in scales.items() if scale.nothing_transfers),
    )


def _provenance(run: Run, dataset: Dataset, seed: int) -> EvaluationProvenance:
    facts = run.facts
    return EvaluationProvenance(
        episode=__version__,
        python=platform.python_version(),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        training_seed=facts.seed,
        training_versions=facts.provenance.model_dump(include={"episode", "torch", "numpy"}),
        training_environments=len(facts.environments),
        training_sources=facts.provenance.sources,
        calibration_slope_left=facts.calibration.residual_slope,
        genome_sha256=dataset.genome_hash,
        sources=list(dataset.manifest.sources),
        config=facts.config.model_dump(mode="json"),
    )
