"""``episode data build``: pair tables and DNA into a validated dataset folder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from episode.cli.options import BASES, FRACTION, add_columns, add_seed, warn

if TYPE_CHECKING:
    from episode.data.dataset import Dataset
    from episode.data.leakage import SplitAudit

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_options", "run"]

HELP = "turn pair tables and DNA into a dataset"
DESCRIPTION = "Validate pair tables, read the DNA of every element once, and write a dataset folder."
EXAMPLES = """\
examples:
  episode data build pairs.tsv --genome hg19.fa.bgz --out dataset
      one tidy table, windows of 1,024 bp around enhancers and 4,096 bp around promoters
  episode data build GM12878.HiC-Benchmark.v3.tsv.gz K562.HiC.tsv --genome hg19.2bit --out dataset
      several tables at once; cell line and assay come from the names of BENGI files
  episode data build pairs.csv --column enhancer_chrom=chr_e --cell-line HepG2 --genome hg38.fa --out dataset
      columns under other names, and a cell line for a table that has no such column
  episode data build tissues/ --enhancer-window 0 --promoter-window 0 --out dataset
      a domain-kl folder, which brings its sequences along; whole elements
  episode data build pairs.tsv --genome part.fa --outside-genome report --on-invalid drop --out dataset
      leave out what cannot be used, and list it in dataset/dropped.tsv
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="pair tables, or domain-kl folders")
    parser.add_argument("--out", type=Path, required=True, help="new folder to write")
    parser.add_argument("--genome", metavar="FILE", help="FASTA (plain or BGZF) or 2bit")
    parser.add_argument(
        "--format",
        choices=("tidy", "domain-kl", "bengi", "bedpe"),
        help="format of the tables (default: found by looking at each)",
    )
    add_columns(parser)
    parser.add_argument("--cell-line", metavar="NAME", help="cell line of tables without such a column")
    parser.add_argument("--assay", metavar="NAME", help="assay of tables without such a column")
    parser.add_argument(
        "--enhancer-window",
        type=BASES,
        metavar="BP",
        help="bases read around the midpoint of an enhancer, 0 for the whole element (default: 1024)",
    )
    parser.add_argument(
        "--promoter-window",
        type=BASES,
        metavar="BP",
        help="bases read around the midpoint of a promoter, 0 for the whole element (default: 4096)",
    )
    parser.add_argument(
        "--on-invalid",
        choices=("error", "drop"),
        default="error",
        help="rows that break a rule: stop, or leave them out and list them (default: error)",
    )
    parser.add_argument(
        "--outside-genome",
        choices=("error", "report"),
        default="error",
        help="pairs that the genome lacks: stop, or leave them out, count and list them (default: error)",
    )
    parser.add_argument(
        "--max-unknown",
        type=FRACTION,
        default=0.0,
        metavar="FRACTION",
        help="largest fraction of bases other than A, C, G and T in an element that is used (default: 0)",
    )
    parser.add_argument(
        "--promoter-flank",
        type=BASES,
        default=0,
        metavar="BP",
        help="promoters that are points (start = end, such as a TSS): bases taken on either side (default: refused)",
    )
    add_seed(parser, "without effect: nothing here is random")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Build and write a dataset; return the exit code."""
    from episode.config import WindowConfig
    from episode.data.build import ReadOptions, build_dataset
    from episode.data.genome import open_genome
    from episode.data.outside import mostly_outside
    from episode.data.storage import write_dataset
    from episode.files import refuse_existing

    refuse_existing(args.out)
    given = {"enhancer": args.enhancer_window, "promoter": args.promoter_window}
    windows = WindowConfig(**{side: window for side, window in given.items() if window is not None})
    genome = None if args.genome is None else open_genome(args.genome)
    options = ReadOptions(
        format=args.format,
        columns=dict(args.column),
        cell_line=args.cell_line,
        assay=args.assay,
        on_invalid=args.on_invalid,
        outside_genome=args.outside_genome,
        max_unknown=args.max_unknown,
        promoter_flank=args.promoter_flank,
    )
    dataset = build_dataset(args.tables, genome, windows, options)
    reasons = dataset.manifest.counts.outside_genome
    elsewhere = mostly_outside(reasons, len(dataset.pairs) + sum(reasons.values()), genome)
    if elsewhere is not None:
        warn(elsewhere)
    audit = write_dataset(dataset, args.out)
    print(_as_json(dataset, audit, args.out) if args.json else _as_text(dataset, audit, args.out))
    return 0


def _as_json(dataset: Dataset, audit: SplitAudit, out: Path) -> str:
    summary = json.loads(dataset.summary().to_json(orient="records"))
    manifest = dataset.manifest.model_dump(mode="json")
    content = {"dataset": str(out), **manifest, "summary": summary, "audit": audit.model_dump(mode="json")}
    return json.dumps(content, indent=2, allow_nan=False)


def _as_text(dataset: Dataset, audit: SplitAudit, out: Path) -> str:
    counts = dataset.manifest.counts
    summary = dataset.summary()
    shown = summary[["environment", "n", "positives", "negatives", "unknown", "share_positive"]].copy()
    shown["share_positive"] = [f"{share:.3f}" if share == share else "-" for share in shown["share_positive"]]
    shown = shown.assign(enhancers=summary["enhancers"], promoters=summary["promoters"])
    if counts.outside_genome:
        shown["outside"] = summary["outside_genome"]
    lines = [_table([list(shown.columns), *shown.astype(str).to_numpy().tolist()]), ""]
    lines.append(f"{counts.pairs:,} pairs of {counts.enhancers:,} enhancers and {counts.promoters:,} promoters")
    if counts.merged_duplicates:
        lines.append(f"{counts.merged_duplicates:,} rows repeated an earlier one and were merged into it")
    if counts.dropped_invalid:
        lines.append(f"{counts.dropped_invalid:,} invalid rows were left out")
    for reason, left_out in counts.outside_genome.items():
        lines.append(f"{left_out:,} rows were left out: {reason}")
    lost = sorted(set(counts.outside_genome_by_environment) - set(summary["environment"]))
    if lost:
        lines.append(f"no pair is left of {', '.join(lost)}")
    if len(dataset.dropped):
        lines.append(f"every row left out, with its reason: {out / 'dropped.tsv'}")
    one_class = list(summary.loc[summary["one_class"], "environment"])
    if one_class:
        lines.append(f"one class only, so no ranking can be judged there: {', '.join(one_class)}")
    if audit.leakage:
        lines += ["", "fraction of the pairs of one part that occur in another (leakage):"]
        head = ["of", "in", "pairs", "enhancer", "promoter", "pair", "locus"]
        rows = [
            [found.part_b, found.part_a, f"{found.rows_b:,}"]
            + [f"{shared.share:.1%}" for shared in (found.enhancer, found.promoter, found.pair, found.locus)]
            for found in audit.leakage
        ]
        lines.append(_table([head, *rows], left=2))
    lines += ["", f"dataset: {out}"]
    return "\n".join(lines)


def _table(rows: list[list[str]], left: int = 1) -> str:
    """Align columns of text: the first `left` to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
