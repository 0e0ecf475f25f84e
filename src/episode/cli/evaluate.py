"""``episode evaluate``: how well a run predicts the labelled pairs of a dataset, from unlabelled support."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from episode.cli.options import add_common, add_selection, check_out, open_run, print_json, set_threads, warn

if TYPE_CHECKING:
    from episode.evaluate.results import EvaluationResults
    from episode.metrics.metrics import Numbers

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_options", "run"]

HELP = "score a run on labelled pairs"
DESCRIPTION = (
    "Predict the pairs of a dataset without reading their labels, then score the predictions. Without a label there is "
    "nothing to score: the predictions, R_S and the warnings are written all the same, and a warning says so."
)
EXAMPLES = """\
examples:
  episode evaluate run dataset --split test --out evaluation
      metrics.json, metrics.tsv and predictions.parquet of the test rows
  episode evaluate run dataset --cell-lines HMEC,IMR90,NHEK --chromosomes chrX --out evaluation
      cell lines and chromosomes that training did not read
  episode evaluate run dataset --split test --truth world/truth --out evaluation
      a simulated world, with its truth
  episode report evaluation
      figures and a page of it
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder that 'episode train' wrote")
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder that 'episode data build' wrote")
    parser.add_argument("--out", type=Path, required=True, help="new folder to write")
    parser.add_argument("--truth", type=Path, help="truth folder of a simulated world")
    parser.add_argument("--known-only", action="store_true", help="only environments that the Teacher knows")
    add_selection(parser)
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate and write; return the exit code."""
    from episode.evaluate.evaluation import evaluate, write_evaluation
    from episode.evaluate.summary import load_truth
    from episode.files import atomic_folder
    from episode.predict.alarms import alarm_texts

    set_threads(args.threads)
    check_out(args)
    truth = None if args.truth is None else load_truth(args.truth)
    model, dataset, store = open_run(args)
    result = evaluate(model, dataset, store, seed=args.seed, truth=truth, known_only=args.known_only)
    with atomic_folder(args.out) as folder:
        write_evaluation(result, folder, run_folder=args.run_folder)
    for text in alarm_texts(model.alarms):
        warn(text)
    for estimate in result.predictions.estimates:
        for text in estimate.warnings:
            warn(f"{estimate.environment}: {text}")
    if args.split is None and (dataset.pairs["split"] == "train").any():
        warn('rows of split "train" are among these pairs: if the run was trained on them, numbers are too optimistic')
    for text in _unscored(result.results):
        warn(text)
    if args.json:
        print_json(result.results.model_dump(mode="json", by_alias=True))
    else:
        _print(result.results)
        if result.results.closed_form:
            print(_student(result.results))
        print(f"evaluation: {args.out}")
    return 0


def _student(results: EvaluationResults) -> str:
    """Say of which members and views the numbers are."""
    from episode.inference.closed_form import VIEWS

    assert results.student is not None  # asked for a closed-form Student alone
    if results.members == 1:
        return "closed-form Student"
    views = [f"{count} at {view} loci" for view in VIEWS if (count := results.student.count(view))]
    return f"closed-form Student, {results.members} members; environments: {', '.join(views)}"


def _unscored(results: EvaluationResults) -> Iterator[str]:
    """Say what labels are missing for, and what can still be read."""
    pooled = results.pooled
    if not results.labelled:
        yield (
            "no pair is labelled, so nothing was scored; what can still be read is R_S of each environment, its "
            "interval and its warnings"
        )
    elif pooled.positives in (0, pooled.n):
        kind = "positive" if pooled.positives else "negative"
        yield f"all {pooled.n:,} labelled pairs are {kind}, so there is no ranking to score; it takes both classes"
    else:
        single = [name for name, entry in results.environments.items() if entry.auroc is None]
        if single:
            yield f"no ranking numbers, because one class or all labels are missing: {', '.join(single)}"
    if results.labelled and len(results.environments) == 1:
        yield "one environment only, so nothing is claimed of others"


def _print(results: EvaluationResults) -> None:
    """Print the most important numbers, those that are defined."""
    columns = ["n", "positives", "aupr_potential", "auroc", "log_loss", "ece", "f1", "r_student", "r_used"]
    parts: list[tuple[str, Numbers]] = [*results.environments.items()]
    if results.labelled:
        parts += [("macro", results.macro), ("pooled", results.pooled)]
    else:
        columns = ["support_size", "r_student", "r_student_low", "r_student_high", "r_used"]
    columns = [name for name in columns if any(getattr(entry, name, None) is not None for _, entry in parts)]
    print(f"{'environment':24s}" + "".join(f"{name:>15s}" for name in columns))
    for name, entry in parts:
        print(f"{name:24s}" + "".join(f"{_cell(getattr(entry, column, None)):>15s}" for column in columns))


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
