"""``episode simulate``: write a simulated world with known truth."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from episode.cli.options import add_seed

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_options", "run"]

HELP = "write a simulated world with known truth"
DESCRIPTION = (
    "Write simulated pair tables and DNA whose potentials, impedances and labels follow "
    "the model, with the truth in a folder of its own."
)
EXAMPLES = """\
examples:
  episode simulate --out world
      32 training and 16 unseen cell lines as pairs.tsv and genome.fa, the truth in world/truth
  episode simulate --out small --preset tiny --world concept --seed 3
      8 + 4 small cell lines in which only the composition of the candidates shows the impedance
  episode simulate --out tissues --preset domain-kl --format domain-kl
      8 + 8 cell lines of 30,000 pairs as {train,val,test}/ folders of pairs_hg19.csv, e_seq.csv and p_seq.csv
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--out", type=Path, required=True, help="new folder to write")
    parser.add_argument(
        "--preset",
        choices=("tiny", "demo", "domain-kl"),
        default="demo",
        help="size of the world (default: demo)",
    )
    parser.add_argument(
        "--world",
        choices=("label", "concept", "both", "rerank"),
        default="both",
        help="what the impedance changes: the prevalence among the candidates (label), the probability "
        "of the same pair (concept), half and half (both), or the ranking of the pairs as well (rerank); default: both",
    )
    parser.add_argument(
        "--format", choices=("tidy", "domain-kl"), default="tidy", help="files to write (default: tidy)"
    )
    add_seed(parser, "the same seed gives the same bytes (default: 0)")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Simulate and write; return the exit code."""
    from episode.files import refuse_existing
    from episode.simulate import PRESETS, simulate, write_domain_kl, write_tidy

    refuse_existing(args.out)
    world = simulate(PRESETS[args.preset], args.world, args.seed)
    (write_tidy if args.format == "tidy" else write_domain_kl)(world, args.out)
    roles = world.environments["role"].value_counts()
    summary = {
        "out": str(args.out),
        "preset": args.preset,
        "world": args.world,
        "format": args.format,
        "seed": args.seed,
        "training_cell_lines": int(roles["train"]),
        "unseen_cell_lines": int(roles["unseen"]),
        "pairs": len(world.pairs),
        "positives": int(world.pairs["label"].sum()),
        "elements": len(world.universe.elements),
    }
    if args.json:
        print(json.dumps(summary))
    else:
        print(
            "{out}: {training_cell_lines} training and {unseen_cell_lines} unseen cell lines, {pairs:,} pairs "
            "({positives:,} positive) over {elements:,} elements; truth in {out}/truth".format(**summary)
        )
    return 0
