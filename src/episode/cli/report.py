"""``episode report``: draw the figures and the page of an evaluation or a comparison."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from episode.cli.options import add_seed

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_options", "run"]

HELP = "draw the figures and the page of an evaluation or a comparison"
DESCRIPTION = (
    "Draw one self-contained HTML page and its figures (PNG, SVG) from the JSON files of a folder that "
    "'episode evaluate' or 'episode compare' wrote."
)
EXAMPLES = """\
examples:
  episode report evaluation
      draw evaluation/index.html and evaluation/figures/ again from metrics.json and figures.json
  episode report compare-l
      the same of a comparison, from results.json and figures.json
  episode report evaluation --out page --title "HMEC, IMR90 and NHEK, unlabelled"
      the same into another folder, under a heading of your own
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="holds figures.json and metrics.json or results.json"
    )
    parser.add_argument("--out", type=Path, help="folder for index.html and figures/ (default: FOLDER)")
    parser.add_argument("--title", help="heading of the page")
    add_seed(parser, "accepted by every command; a report has nothing random")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")


def run(args: argparse.Namespace) -> int:
    """Draw; return the exit code."""
    from episode.cli.options import warn
    from episode.report.page import write_report

    written = write_report(args.folder, title=args.title, out=args.out, warn=warn)
    if args.json:
        sys.stdout.write(json.dumps({"page": str(written[0]), "files": [str(path) for path in written]}) + "\n")
    else:
        sys.stdout.write(
            f"{written[0]}: the page; {len(written) - 1} figure files in {written[0].parent / 'figures'}\n"
        )
    return 0
