"""``episode predict``: pairs of a cell line, known or not, to interaction probabilities."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from episode.cli.options import add_common, names, print_json, set_threads, warn

if TYPE_CHECKING:
    from episode.checkpoint import Run
    from episode.data.dataset import Dataset
    from episode.data.genome import Genome

__all__ = ["register", "run"]

EXAMPLES = """\
examples:
  episode predict run pairs.tsv --genome hg19.fa.bgz --cell-line HepG2 --out hepg2
      a cell line that nobody has labelled: its pairs are their own support set
  episode predict run pairs.tsv --genome hg19.fa.bgz --cell-line HepG2 --support-labels few.tsv --out hepg2
      the same with a few labelled pairs of that cell line, which move its impedance
  episode predict run pairs.parquet --genome hg19.2bit --cell-line K562 --assay HiC --write tsv,bedpe --out k562
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "predict",
        help="predict the pairs of a cell line, labelled or not",
        description="Estimate one impedance for each environment from its unlabelled pairs, then score every pair.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder that 'episode train' wrote")
    parser.add_argument("pairs", nargs="+", metavar="PAIRS", help="pair tables in any format of 'episode data build'")
    parser.add_argument("--out", type=Path, required=True, help="new folder to write")
    parser.add_argument("--genome", metavar="FILE", help="FASTA (plain or BGZF) or 2bit")
    parser.add_argument(
        "--cell-line", metavar="NAME", help="cell line of the pairs; of a table that has the column, only its rows"
    )
    parser.add_argument("--assay", metavar="NAME", help="assay of the pairs, likewise")
    parser.add_argument("--format", choices=("tidy", "domain-kl", "bengi", "bedpe"), help="format of the tables")
    parser.add_argument(
        "--support-labels", metavar="FILE", help="pair table with labels of the same cell line, to refine R_E"
    )
    parser.add_argument(
        "--write",
        type=names,
        default=["parquet", "tsv", "bedpe", "interact"],
        metavar="A,B",
        help="parquet, tsv, bedpe, interact (default: all)",
    )
    parser.add_argument("--batch-size", type=int, default=4096, help="pairs scored at a time (default: 4096)")
    parser.add_argument("--on-invalid", choices=("error", "drop"), default="error", help="as in 'episode data build'")
    parser.add_argument(
        "--outside-genome", choices=("error", "report"), default="error", help="as in 'episode data build'"
    )
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Predict and write; return the exit code."""
    from episode.checkpoint import load_run
    from episode.data.genome import open_genome
    from episode.encode.store import build_store
    from episode.errors import EpisodeError
    from episode.files import atomic_folder, refuse_existing
    from episode.predict.formats import FORMATS, write_predictions
    from episode.predict.pairs import distance_warning, genome_warning, predict_dataset

    unknown = [name for name in args.write if name not in FORMATS]
    if unknown:
        raise EpisodeError(f"--write {','.join(unknown)}: needed a list of {', '.join(FORMATS)}")
    if args.batch_size < 1:
        raise EpisodeError(f"--batch-size {args.batch_size}: needed at least 1")
    set_threads(args.threads)
    refuse_existing(args.out)
    model = load_run(args.run_folder)
    genome = None if args.genome is None else open_genome(args.genome)
    dataset = _read(args, model, genome, args.pairs)
    store = build_store(dataset, model.bank, model.facts.config.stem)
    labelled = None
    if args.support_labels is not None:
        few = _read(args, model, genome, [args.support_labels])
        _check_labels(few, dataset, args.support_labels)
        labelled = (few, build_store(few, model.bank, model.facts.config.stem))
    warning, undistanced = genome_warning(model, dataset), distance_warning(model, dataset)
    for text in (warning, undistanced):
        if text:
            warn(text)
    result = predict_dataset(model, dataset, store, seed=args.seed, batch=args.batch_size, labelled=labelled)
    with atomic_folder(args.out) as folder:
        write_predictions(result.pairs, folder, args.write)
        result.environments.to_csv(folder / "environments.tsv", sep="\t", index=False, float_format="%.6g")
        if len(dataset.dropped):
            dataset.dropped.to_csv(folder / "dropped.tsv", sep="\t", index=False)
    for estimate in result.estimates:
        for text in estimate.warnings:
            warn(f"{estimate.environment}: {text}")
    unplaced = int((~result.pairs["has_coordinates"]).sum())
    if unplaced and {"bedpe", "interact"} & set(args.write):
        warn(f"{unplaced} pairs have no coordinates and are not in the BEDPE and interact files")
    if args.json:
        content = {
            "out": str(args.out),
            "pairs": len(result.pairs),
            "dropped": len(dataset.dropped),
            "genome_warning": warning,
            "distance_warning": undistanced,
            "environments": json.loads(result.environments.to_json(orient="records")),
        }
        print_json(content)
        return 0
    for estimate in result.estimates:
        known = "known" if estimate.known else "not seen in training"
        few_labels = f", {estimate.labels} labels" if estimate.labels else ""
        print(
            f"{estimate.environment} ({known}): R_E {estimate.r_used:.2f} "
            f"(90 % interval {estimate.r_used_low:.2f} to {estimate.r_used_high:.2f}; "
            f"support {estimate.support_size:,} pairs{few_labels})"
        )
    print(f"{len(result.pairs):,} pairs scored")
    merged = dataset.manifest["counts"]["merged_duplicates"]
    if merged:
        print(f"{merged:,} rows repeated an earlier one and were merged into it")
    if len(dataset.dropped):
        print(f"{len(dataset.dropped):,} rows were left out; each with its reason in {args.out / 'dropped.tsv'}")
    print(f"predictions: {args.out}")
    return 0


def _read(args: argparse.Namespace, model: Run, genome: Genome | None, paths: list[str]) -> Dataset:
    """Read pair tables as the run's windows want them, keeping the cell line and assay asked for."""
    from episode.data.build import build_dataset
    from episode.data.splits import select_rows
    from episode.errors import EpisodeError

    dataset = build_dataset(
        paths,
        genome,
        model.facts.windows,
        format=args.format,
        cell_line=args.cell_line,
        assay=args.assay,
        on_invalid=args.on_invalid,
        outside_genome=args.outside_genome,
    )
    if args.cell_line is not None:
        wanted = args.cell_line if args.assay is None else f"{args.cell_line}:{args.assay}"
        try:
            dataset = dataset.select(select_rows(dataset, cell_lines=[wanted]))
        except EpisodeError as error:
            raise EpisodeError(f"{', '.join(map(str, paths))}: {error}") from None
    return dataset


def _check_labels(few: Dataset, dataset: Dataset, path: str) -> None:
    """Refuse a label file that can refine nothing."""
    from episode.errors import InputError, Problem

    wanted = sorted(set(dataset.pairs["environment"]))
    labelled = few.pairs["environment"].isin(wanted) & (few.pairs["label"] >= 0)
    if not labelled.any():
        need = f"has no pair of {', '.join(wanted)} with a label 0 or 1; needed labelled pairs of what is predicted"
        raise InputError([Problem(str(path), need)])
