"""``episode explain``: which motif, where, on which element, moves U_I of a pair."""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from episode.cli.options import (
    Real,
    Whole,
    add_common,
    add_selection,
    check_out,
    open_run,
    print_json,
    set_threads,
    warn,
)

if TYPE_CHECKING:
    import pandas as pd

    from episode.explain.explanation import Explanation

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_options", "run"]

HELP = "show which motif sites move U_I of a pair"
DESCRIPTION = (
    "Knock motif sites of a pair out one by one and two by two, integrate gradients, and write "
    "tables, BED and figures of what moves U_I. U_I knows no cell line, so a pair of several is one."
)
EXAMPLES = """\
examples:
  episode explain run dataset --out explained
      the 20 pairs of highest U_I: tables, BED, tracks, logos
  episode explain run dataset --split test --pairs 100 --choose random --figures 0 --out explained
      100 pairs drawn by the seed, tables only
  episode explain run dataset --only mine.tsv --bases whole --out explained
      pairs of your own, every base of both elements substituted
"""
PAIRS = 1_000_000
"""Pairs that are explained at most."""
WHOLE_BASES = 20_000
"""Bases of one pair from which on a warning says that substituting all takes long."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder that 'episode train' wrote")
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder that 'episode data build' wrote")
    parser.add_argument("--out", type=Path, required=True, help="new folder to write")
    parser.add_argument("--pairs", type=Whole(1, PAIRS), default=20, metavar="N", help="pairs to explain (default: 20)")
    parser.add_argument(
        "--choose",
        choices=("potential", "random"),
        default="potential",
        help="the pairs of highest U_I, or some drawn by the seed (default: potential)",
    )
    parser.add_argument(
        "--only",
        type=Path,
        metavar="FILE",
        help="table with the columns enhancer and promoter (names as in the dataset): explain these instead",
    )
    parser.add_argument(
        "--site-p",
        type=Real(0, 1, closed=False),
        default=1e-4,
        metavar="P",
        help="sites are tried that random DNA scores as high with this probability (default: 1e-4)",
    )
    parser.add_argument(
        "--bases",
        choices=("sites", "whole"),
        default="sites",
        help="substitute bases around the strongest sites, or of whole elements too (default: sites)",
    )
    parser.add_argument(
        "--figures", type=Whole(0, PAIRS), metavar="N", help="draw the first N pairs only (default: all)"
    )
    add_selection(parser)
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Explain and write; return the exit code."""
    from tqdm import tqdm

    import episode
    from episode.explain.explanation import Explainer, Options
    from episode.explain.figures import write_figures
    from episode.explain.gradient import require_captum
    from episode.explain.pair_selection import choose_pairs, read_pair_list
    from episode.explain.tables import write_tables
    from episode.files import atomic_folder, write_json
    from episode.predict.alarms import alarm_texts

    set_threads(args.threads)
    check_out(args)
    require_captum()
    model, dataset, store = open_run(args)
    if args.only is None:
        chosen = choose_pairs(model, dataset, store, args.pairs, by=args.choose, seed=args.seed)
    else:
        chosen = read_pair_list(args.only, dataset)
    options = Options(site_p=args.site_p, whole=args.bases == "whole")
    longest = max(sum(placed.length for placed in pair.elements.values()) for pair in chosen)
    if options.whole and longest > WHOLE_BASES:
        warn(f"a pair has {longest:,} bases, and three substitutions of each are tried; this takes long")
    explainer = Explainer(model, dataset, store, options, seed=args.seed)
    explanations = [explainer.explain(pair) for pair in tqdm(chosen, desc="explain", disable=not sys.stderr.isatty())]
    summary = {
        "format_version": 1,
        "out": str(args.out),
        "episode_version": episode.__version__,
        "run": str(args.run_folder),
        "dataset": str(args.dataset),
        "seed": args.seed,
        "alarms": [alarm.model_dump() for alarm in model.alarms],
        "choice": "table" if args.only else args.choose,
        "options": asdict(options),
        "pairs": len(explanations),
        "sites": sum(len(e.sites) for e in explanations),
        "candidates": sum(sum(e.candidates.values()) for e in explanations),
        "candidates_left_out": sum(e.left_out for e in explanations),
        "greatest_gradient_gap": max(abs(e.gradient.gap) for e in explanations),
    }
    if model.student is not None:
        summary |= {"members": len(model.members), "views": dict(Counter(str(e.view) for e in explanations))}
    with atomic_folder(args.out) as folder:
        tables = write_tables(explanations, explainer, folder)
        drawn = explanations if args.figures is None else explanations[: args.figures]
        if drawn:
            write_figures(drawn, tables["motifs"], len(explanations), explainer.motifs, folder / "figures")
        write_json(folder / "explain.json", summary)
    for text in alarm_texts(model.alarms):
        warn(text)
    _warn(args, explanations)
    if args.json:
        print_json(summary)
    else:
        _print(tables, args.out)
    return 0


def _warn(args: argparse.Namespace, explanations: list[Explanation]) -> None:
    from episode.explain.gradient import TOLERANCE

    if args.only is None and len(explanations) < args.pairs:
        warn(
            f"--pairs {args.pairs}: there are only {len(explanations)} distinct pairs to choose from; all are explained"
        )
    left = sum(e.left_out for e in explanations)
    if left:
        warn(f"{left:,} candidate sites were left out, the furthest above their thresholds kept; see pairs.tsv")
    loose = sum(abs(e.gradient.gap) > TOLERANCE for e in explanations)
    if loose:
        warn(f"in {loose} pairs the gradients miss U_I by more than {TOLERANCE}; see gradient_gap in pairs.tsv")


def _print(tables: dict[str, pd.DataFrame], out: Path) -> None:
    motifs = tables["motifs"]
    differs = "mean_own_effect_sd" in motifs
    print(f"{'element':10s}{'motif':28s}{'sites':>6s}{'effect':>9s}{'SD' * differs:>{7 * differs}s}{'gradient':>9s}")
    for row in motifs.head(10).to_dict("records"):
        name = f"{row['motif_id']} {row['motif']}"
        gradient = "-" if math.isnan(row["mean_gradient"]) else f"{row['mean_gradient']:+.3f}"
        sd = f"{row['mean_own_effect_sd']:7.3f}" if differs else ""
        print(f"{row['element']:10s}{name:28s}{row['sites']:6d}{row['mean_own_effect']:+9.3f}{sd}{gradient:>9s}")
    print(f"{len(tables['pairs']):,} pairs, {len(tables['sites']):,} sites")
    print(f"explanation: {out}")
