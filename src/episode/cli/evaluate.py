"""``episode evaluate``: how well a run predicts the labelled pairs of a dataset, from unlabelled support."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from episode.cli.options import add_common, add_selection, check_out, open_run, print_json, set_threads, warn

if TYPE_CHECKING:
    from episode.evaluate.results import EvaluationResults

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_options", "run"]

HELP = "score a run on labelled pairs"
DESCRIPTION = "Predict the pairs of a dataset without reading their labels, then score the predictions."
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

    set_threads(args.threads)
    check_out(args)
    truth = None if args.truth is None else load_truth(args.truth)
    model, dataset, store = open_run(args)
    result = evaluate(model, dataset, store, seed=args.seed, truth=truth, known_only=args.known_only)
    with atomic_folder(args.out) as folder:
        write_evaluation(result, folder, run_folder=args.run_folder)
    for estimate in result.predictions.estimates:
        for text in estimate.warnings:
            warn(f"{estimate.environment}: {text}")
    if args.split is None and (dataset.pairs["split"] == "train").any():
        warn('rows of split "train" are among these pairs: if the run was trained on them, numbers are too optimistic')
    if args.json:
        print_json(result.results.model_dump(mode="json", by_alias=True))
    else:
        _print(result.results)
        print(f"evaluation: {args.out}")
    return 0


def _print(results: EvaluationResults) -> None:
    columns = ("n", "positives", "aupr_potential", "auroc", "log_loss", "ece", "f1", "r_student", "r_used")
    print(f"{'environment':24s}" + "".join(f"{name:>15s}" for name in columns))
    parts = [*results.environments.items(), ("macro", results.macro), ("pooled", results.pooled)]
    for name, entry in parts:
        print(f"{name:24s}" + "".join(f"{_cell(getattr(entry, column, None)):>15s}" for column in columns))


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
