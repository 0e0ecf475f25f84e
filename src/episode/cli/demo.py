"""``episode demo``: end to end on a simulated world, with its truth."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from episode.demo import DemoResult

from episode.cli.options import add_common, integers, print_json, set_threads

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_options", "run"]

HELP = "run everything on a simulated world"
DESCRIPTION = "Simulate cell lines with known truth, train, predict unseen cell lines, evaluate and report."
EXAMPLES = """\
examples:
  episode demo --out demo-out
      simulate, train, predict 16 unseen cell lines, evaluate, draw a page
  episode demo --out demo-seeds-out --seeds 0,1,2,3,4
      the same with five seeds, and a table of what they show
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--out", type=Path, required=True, help="new folder to write")
    parser.add_argument("--world", choices=("label", "concept", "both"), default="both", help="what R_E does")
    parser.add_argument("--seeds", type=integers, metavar="0,1,...", help="several seeds, a folder each")
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Run the demo; return the exit code."""
    from episode.demo import run_demo, summarise_seeds
    from episode.files import refuse_existing

    set_threads(args.threads)
    refuse_existing(args.out)

    def report(text: str) -> None:
        print(text, file=sys.stderr if args.json else sys.stdout, flush=True)

    if args.seeds is None:
        result = run_demo(args.out, seed=args.seed, world=args.world, report=report)
        if args.json:
            print_json(result.figures())
        else:
            _print(result)
        return 0
    results = [run_demo(args.out / f"seed{seed}", seed=seed, world=args.world, report=report) for seed in args.seeds]
    summary = summarise_seeds(results, args.out)
    if args.json:
        print_json(summary)
        return 0
    print(f"{'over ' + str(len(results)) + ' seeds':28s}{'mean':>10s}{'min':>10s}{'max':>10s}")
    for name, entry in summary.items():
        print(f"{name:28s}{entry['mean']:10.3f}{entry['min']:10.3f}{entry['max']:10.3f}")
    print(f"every seed: {args.out / 'seeds.tsv'}")
    return 0


def _print(result: DemoResult) -> None:
    """Print what the demo showed, in its last lines."""
    from episode.predict.alarms import alarm_texts

    figures, pooled, truth = result.figures(), result.unseen.pooled, result.truth
    count = len(result.unseen.environments)
    print()
    print(f"{count} unseen cell lines, {pooled.n:,} pairs, no label of theirs used:")
    print(
        f"  ranking inside a cell line: AUPR {result.unseen.macro.aupr:.3f}, "
        f"{figures['macro_aupr_over_bayes']:.0%} of what the true model reaches ({truth.aupr_bayes_macro:.3f})"
    )
    how = " in closed form" if result.unseen.closed_form else ""
    print(f"  impedance read from the support set{how}: Spearman {figures['spearman_impedance']:.2f} with the truth")
    print(
        f"  pooled AUPR: {pooled.aupr_potential:.3f} by U_I alone, {pooled.aupr:.3f} with R_S, "
        f"{truth.aupr_pooled_oracle_impedance:.3f} with the oracle impedance "
        f"({figures['oracle_gain_share']:.0%} of its gain)"
    )
    print(
        f"  log-loss: {figures['log_loss']:.3f} nats, {figures['log_loss_mean_impedance']:.3f} with the mean impedance "
        "of training"
    )
    print(f"  90 % interval of R_E covers the oracle in {figures['interval_coverage']:.0%} of the cell lines")
    print(f"  collapsed cell lines: {figures['collapsed']}")
    for text in alarm_texts(result.unseen.training_alarms or []):
        print(f"  {text}")
    print(
        f"held-out loci of known cell lines: pooled AUPR {figures['known_aupr_potential']:.3f} by U_I alone, "
        f"{figures['known_aupr_fused']:.3f} with the fused R_E"
    )
    print(f"page: {result.folder / 'index.html'}")
    print(f"numbers: {result.folder / 'metrics.json'}")
