"""``episode predict``: pairs of a cell line, known or not, to interaction probabilities."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from episode.cli.options import (
    BASES,
    COUNT,
    FRACTION,
    Whole,
    add_columns,
    add_common,
    names,
    print_json,
    set_threads,
    warn,
)
from episode.limits import BATCH_PAIRS

if TYPE_CHECKING:
    from tqdm import tqdm

    from episode.predict.streaming.job import Job

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_options", "run"]

HELP = "predict the pairs of a cell line, labelled or not"
DESCRIPTION = (
    "Estimate one impedance for each environment from its unlabelled pairs, then score every pair. R_E depends on the "
    "pairs that are given: predict all candidates of a cell line together and filter afterwards, or name the table of "
    "all candidates with --support."
)
EXAMPLES = """\
examples:
  episode predict run pairs.tsv --genome hg19.fa.bgz --cell-line HepG2 --out hepg2
      a cell line that nobody has labelled: its pairs are their own support set
  episode predict run pairs.tsv --genome hg19.fa.bgz --cell-line HepG2 --support-labels few.tsv --out hepg2
      the same with a few labelled pairs of that cell line, which move its impedance
  episode predict run one_gene.tsv --genome hg19.fa.bgz --cell-line HepG2 --support pairs.tsv --out one_gene
      some pairs of that cell line, with the R_E of all its candidates
  episode predict run pairs.parquet --genome hg19.2bit --cell-line K562 --assay HiC --write parquet,bedpe --out k562
      a large table, block by block in little memory; the same with --resume goes on after an interruption
  episode predict run pairs --genome hg19.2bit --engine ray --ray-address auto --out genome
      a folder of Parquet tables, on all machines of the Ray cluster to which this one belongs
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder that 'episode train' wrote")
    parser.add_argument("pairs", nargs="+", metavar="PAIRS", help="pair tables in any format of 'episode data build'")
    parser.add_argument("--out", type=Path, required=True, help="new folder to write")
    parser.add_argument("--genome", metavar="FILE", help="FASTA (plain or BGZF) or 2bit")
    parser.add_argument(
        "--cell-line", metavar="NAME", help="cell line of the pairs; of a table that has the column, only its rows"
    )
    parser.add_argument("--assay", metavar="NAME", help="assay of the pairs, likewise")
    parser.add_argument("--format", choices=("tidy", "domain-kl", "bengi", "bedpe"), help="format of the tables")
    add_columns(parser)
    parser.add_argument(
        "--support",
        metavar="FILE",
        help="pair table of all candidates of the cell line: R_E is estimated from them, and they are not scored",
    )
    parser.add_argument(
        "--support-labels", metavar="FILE", help="pair table with labels of the same cell line, to refine R_E"
    )
    parser.add_argument(
        "--prevalence",
        type=FRACTION,
        metavar="P",
        help="fraction of the pairs that interact, if you know it: R_E follows it, and not what the pairs show",
    )
    parser.add_argument(
        "--prevalence-sd", type=FRACTION, default=0.0, metavar="S", help="its standard deviation (default: 0)"
    )
    parser.add_argument(
        "--write",
        type=names,
        metavar="A,B",
        help="parquet, tsv, bedpe, interact (default: all; of Parquet tables parquet)",
    )
    parser.add_argument(
        "--batch-size", type=Whole(1, BATCH_PAIRS), default=4096, help="pairs scored at a time (default: 4096)"
    )
    parser.add_argument("--on-invalid", choices=("error", "drop"), default="error", help="as in 'episode data build'")
    parser.add_argument(
        "--outside-genome", choices=("error", "report"), default="error", help="as in 'episode data build'"
    )
    parser.add_argument(
        "--max-unknown", type=FRACTION, default=0.0, metavar="FRACTION", help="as in 'episode data build' (default: 0)"
    )
    parser.add_argument("--promoter-flank", type=BASES, default=0, metavar="BP", help="as in 'episode data build'")
    parser.add_argument("--cache", type=Path, help="where encoded elements are kept (default: not after the end)")
    parser.add_argument("--resume", action="store_true", help="resume an interrupted prediction to OUT")
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="what scores the pairs: this process, or Ray"
    )
    parser.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="a running cluster, HOST:PORT or auto (default: Ray is started here for the time of the command)",
    )
    parser.add_argument(
        "--workers",
        type=Whole(1, COUNT.high),
        metavar="N",
        help="processes of Ray that score, each with --threads, by default 1 (default: as many as there are CPUs for)",
    )
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Predict and write; return the exit code."""
    from episode.checkpoint import require_finished
    from episode.errors import EpisodeError
    from episode.predict.alarms import alarm_texts
    from episode.predict.streaming.blocks import parquet_files
    from episode.predict.streaming.job import Request, open_job, result_folder, resumable, work_folder
    from episode.predict.student import Prevalence
    from episode.predict.writers import FORMATS

    unknown = [name for name in args.write or [] if name not in FORMATS]
    if unknown:
        raise EpisodeError(f"--write {','.join(unknown)}: needed a list of {', '.join(FORMATS)}")
    _check_engine(args)
    set_threads(args.threads)
    require_finished(args.run_folder)
    formats = args.write
    if formats is None:
        formats = FORMATS if parquet_files(args.pairs, args.format) is None else ["parquet"]
    request = Request(
        run_folder=str(args.run_folder.resolve()),
        tables=tuple(map(str, args.pairs)),
        genome=None if args.genome is None else str(Path(args.genome).resolve()),
        format=args.format,
        columns=tuple(args.column),
        cell_line=args.cell_line,
        assay=args.assay,
        on_invalid=args.on_invalid,
        outside_genome=args.outside_genome,
        support=args.support,
        support_labels=args.support_labels,
        formats=tuple(formats),
        seed=args.seed,
        batch=args.batch_size,
        cache=None if args.cache is None else str(args.cache.resolve()),
        max_unknown=args.max_unknown,
        promoter_flank=args.promoter_flank,
        prevalence=args.prevalence,
        prevalence_sd=args.prevalence_sd,
    )
    if args.prevalence is None and args.prevalence_sd:
        raise EpisodeError("--prevalence-sd: needs --prevalence")
    if args.prevalence is not None:
        Prevalence(args.prevalence, args.prevalence_sd)
    out = result_folder(args.out)
    terminal = sys.stderr.isatty()
    with Progress(disable=not terminal) as progress:
        try:
            job = open_job(request, out, resume=args.resume, report=progress if terminal else None)
            plan = job.plan
            with resumable(job.folder):
                _score(job, args, progress)
                job.finish(progress)
        except KeyboardInterrupt:
            if work_folder(out).exists():
                warn(f"what is done so far stays in {work_folder(out)}; --resume continues it")
            raise
    for text in filter(None, (*alarm_texts(plan.alarms), plan.genome_warning, plan.distance_warning)):
        warn(text)
    for estimate in plan.estimates:
        for text in estimate.warnings:
            warn(f"{estimate.environment}: {text}")
    if plan.unplaced and {"bedpe", "interact"} & set(request.formats):
        warn(f"{plan.unplaced} pairs have no coordinates and are not in the BEDPE and interact files")
    if args.json:
        content = {
            "out": str(args.out),
            **plan.model_dump(include={"pairs", "dropped", "unplaced", "genome_warning", "distance_warning", "alarms"}),
            "environments": plan.table.to_dict("records"),
        }
        print_json(content)
        return 0
    for estimate in plan.estimates:
        known = "known" if estimate.known else "not seen in training"
        few_labels = f", {estimate.labels} labels" if estimate.labels else ""
        told = "" if args.prevalence is None else f", told prevalence {args.prevalence:g}"
        print(
            f"{estimate.environment} ({known}): R_E {estimate.r_used:.2f} "
            f"(90 % interval {estimate.r_used_low:.2f} to {estimate.r_used_high:.2f}; "
            f"support {estimate.support_size:,} pairs{few_labels}{told})"
        )
    print(f"{plan.pairs:,} pairs scored")
    if plan.dropped:
        print(f"{plan.dropped:,} rows were left out; each with its reason in {args.out / 'dropped.tsv'}")
    print(f"predictions: {args.out}")
    return 0


def _check_engine(args: argparse.Namespace) -> None:
    """Refuse what the engine cannot do before any work is done."""
    from episode.errors import EpisodeError

    if args.engine == "ray":
        from episode.predict.streaming.ray import require_ray

        require_ray()
        return
    for name in ("ray_address", "workers"):
        if getattr(args, name) is not None:
            raise EpisodeError(f"--{name.replace('_', '-')}: needs --engine ray")


def _score(job: Job, args: argparse.Namespace, progress: Progress) -> None:
    """Score the parts that are missing."""
    missing = job.missing()
    total, left = sum(part.rows for part in job.parts), sum(part.rows for part in missing)

    def report(rows: int) -> None:
        nonlocal left
        left -= rows
        progress("score pairs", total - left, total)

    report(0)
    if args.engine == "ray":
        from episode.predict.streaming.ray import LOCAL, score_parts

        address, workers = args.ray_address or LOCAL, args.workers or 0
        score_parts(job, address=address, workers=workers, threads=args.threads, done=report)
    else:
        for part in missing:
            job.score(part)
            report(part.rows)


class Progress:
    """A bar for each step of the work on standard error, with rate and time left."""

    def __init__(self, *, disable: bool) -> None:
        self._disable = disable
        self._what = ""
        self._bar: tqdm | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show what is done, such as "score pairs"; `total` is 0 where it is not known."""
        from tqdm import tqdm

        if self._disable:
            return
        if self._bar is None or what != self._what:
            self.close()
            unit = " " + what.split()[-1]
            # What an interrupted prediction had done counts for what is left, not for the rate.
            self._bar = tqdm(
                total=total or None, desc=what, initial=done, unit=unit, unit_scale=True, dynamic_ncols=True
            )
            self._what = what
        self._bar.update(done - self._bar.n)
        if done == total:
            self.close()

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
