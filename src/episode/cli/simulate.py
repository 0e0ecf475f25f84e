"""``episode simulate``: write a simulated world with known truth."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from episode.cli.options import Real, add_seed

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
  episode simulate --out shift --preset domain-kl-shift --format domain-kl --scale 0.1
      a tenth of 90,937 pairs of 5 cell lines at prevalence 0.2 and 8 x 30,336 pairs of unseen ones at 0.5
  episode simulate --out control --preset domain-kl-shift --scale 0.1 --unseen-prevalence 0.2
      the same with the training prevalence everywhere
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--out", type=Path, required=True, help="new folder to write")
    parser.add_argument(
        "--preset",
        choices=("tiny", "demo", "domain-kl", "tiny-shift", "domain-kl-shift"),
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
    parser.add_argument(
        "--scale",
        type=Real(0, 1, closed=False, reached=True),
        default=1.0,
        help="fraction of the preset's loci and pairs, from 0.01 to 1; all cell lines stay (default: 1)",
    )
    parser.add_argument(
        "--unseen-prevalence",
        type=Real(0, 1, closed=False),
        metavar="P",
        help="select the pairs of unseen cell lines to this prevalence (default: 0.5 in the presets with -shift; "
        "in the others labels stay as they fall)",
    )
    parser.add_argument(
        "--shared-loci",
        type=Real(0, 1, reached=True),
        metavar="F",
        help="fraction, from 0 to 1, of the unseen cell lines' loci that are loci of the training ones too "
        "(default: 0.5 in the presets with -shift, 0 in the others)",
    )
    add_seed(parser, "the same seed gives the same bytes (default: 0)")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Simulate and write; return the exit code."""
    from episode.files import refuse_existing
    from episode.simulate import PRESETS, simulate, write_domain_kl, write_tidy

    refuse_existing(args.out)
    names = ("unseen_prevalence", "shared_loci")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    config = replace(PRESETS[args.preset], **given)
    world = simulate(config if args.scale == 1 else config.scaled(args.scale), args.world, args.seed)
    (write_tidy if args.format == "tidy" else write_domain_kl)(world, args.out)
    roles = world.environments["role"].value_counts()
    summary = {
        "out": str(args.out),
        "preset": args.preset,
        "world": args.world,
        "format": args.format,
        "seed": args.seed,
        "scale": args.scale,
        "unseen_prevalence": config.unseen_prevalence,
        "shared_loci": config.shared_loci,
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
