"""``episode compare``: EPIsode and its baselines under one protocol, in one table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from episode.cli.options import COUNT, add_common, add_setting, cores, integers, names, print_json, read_settings, warn

if TYPE_CHECKING:
    from episode.compare.protocol import Protocol
    from episode.compare.results import ComparisonResults
    from episode.metrics.intervals import Estimate

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_options", "run"]

HELP = "compare with baselines under a protocol"
DESCRIPTION = (
    "Train and test EPIsode and its baselines on the folds of a protocol, judge all by the same "
    "numbers with intervals, and write results.json and figures.json. Finished jobs are not done again."
)
EXAMPLES = """\
examples:
  episode compare L pairs.tsv.gz --genome hg19.fa.gz --out compare-l
      the shipped protocol L on the Hi-C loops, all methods
  episode compare domain-kl my-domain-kl-folder --out compare-kl
      train on its split train, choose on val, report on test
  episode compare shared-loci bengi/*.tsv.gz --genome hg19.fa.gz --out compare-k562 --test-cell-lines K562
      K562 by models of all other cell lines, loci shared, classes balanced
  episode compare mine.toml dataset --methods ctcf_gbm,episode --out compare-mine
      a protocol of your own on a dataset folder, some methods only
  episode compare L pairs.tsv.gz --genome hg19.fa.gz --out compare-l --methods ablation --seeds 0,1,2
      more methods and seeds: finished jobs are kept
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "protocol",
        metavar="PROTOCOL",
        help="L, B, T, shared-loci, shared-loci-loops, domain-kl, simulated, or a TOML or JSON file",
    )
    parser.add_argument(
        "input", nargs="+", metavar="INPUT", help="a dataset folder, or pair tables as for 'data build'"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write, or to continue")
    parser.add_argument("--genome", metavar="FILE", help="FASTA or 2bit, where INPUT are tables without sequences")
    parser.add_argument(
        "--methods",
        "--rows",
        type=names,
        default=[],
        metavar="A,B",
        help="methods or groups to run now (default: all but the groups ablation, matched and with_distance)",
    )
    parser.add_argument("--seeds", type=integers, metavar="0,1,...", help="several seeds (default: that of --seed)")
    parser.add_argument(
        "--workers", type=COUNT, default=0, help="processes of one thread (default and most: one a core)"
    )
    parser.add_argument("--allow-leakage", action="store_true", help="continue with a split that leaks, and mark it")
    parser.add_argument(
        "--collapse", action="store_true", help="one row for each enhancer and gene, as the protocol says"
    )
    parser.add_argument(
        "--balance",
        action=argparse.BooleanOptionalAction,
        help="as many negatives as positives in the training and in the test rows of each fold (default: by protocol)",
    )
    parser.add_argument(
        "--test-cell-lines",
        type=names,
        metavar="A,B",
        help="test these cell lines only, where the protocol tests each by itself",
    )
    parser.add_argument("--truth", type=Path, metavar="DIR", help="truth folder of a simulated world")
    add_setting(parser, "one setting of EPIsode; may be repeated, each key once")
    add_common(parser, threads=False)


def run(args: argparse.Namespace) -> int:
    """Compare; return the exit code."""
    from episode.compare.jobs import Work, alone
    from episode.compare.methods.registry import choose_runners
    from episode.compare.protocol import load_protocol
    from episode.compare.run import compare
    from episode.config import load_preset
    from episode.errors import EpisodeError
    from episode.evaluate.summary import load_truth
    from episode.predict.alarms import alarm_texts
    from episode.threads import usable_cores

    protocol = _with_options(load_protocol(args.protocol), args)
    runners = choose_runners(args.methods)
    truth = None if args.truth is None else load_truth(args.truth)
    config = load_preset(protocol.preset or None, protocol.settings, where=f"protocol {protocol.name}, settings")
    config = read_settings(args, config)
    if config.potential.distance:
        raise EpisodeError(
            "potential.distance: episode.potential is a sequence-only method in every comparison; to show U_I with "
            "the distance beside it, add episode_distance to --methods"
        )

    def report(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    _check_folder(args.out)
    with alone(args.out):
        dataset, store = _dataset(args, protocol)
        results = compare(
            Work(args.out, dataset, store, protocol, config, args.collapse, args.seed),
            runners,
            seeds=args.seeds or [args.seed],
            workers=cores("--workers", args.workers) or usable_cores(),
            allow_leakage=args.allow_leakage,
            truth=truth,
            report=report,
        )
    for text in alarm_texts(results.alarms, "training"):
        warn(text)
    if args.json:
        print_json(results.model_dump(mode="json", by_alias=True))
    else:
        _print(results, args.out)
    return 0


def _with_options(protocol: Protocol, args: argparse.Namespace) -> Protocol:
    """Put the options that change what is held out in place of the protocol's own keys."""
    from episode.errors import EpisodeError

    changes: dict[str, Any] = {}
    if args.balance is not None:
        changes["balance"] = args.balance
    if args.test_cell_lines is not None:
        if protocol.holdout.by != "cell-lines":
            raise EpisodeError(
                f'--test-cell-lines: protocol {protocol.name} has holdout.by = "{protocol.holdout.by}"; needed '
                '"cell-lines", as in shared-loci'
            )
        changes["test_cell_lines"] = args.test_cell_lines
    return protocol.changed(holdout=protocol.holdout.changed(**changes)) if changes else protocol


def _dataset(args: argparse.Namespace, protocol: Protocol) -> tuple[Path, Path]:
    """Find or build the dataset; returns its folder and that of its store."""
    import os

    from episode.config import WindowConfig
    from episode.data.build import ReadOptions, build_dataset
    from episode.data.genome import open_genome
    from episode.data.storage import load_dataset, write_dataset
    from episode.errors import EpisodeError
    from episode.files import file_sha256

    first = Path(args.input[0])
    if len(args.input) == 1 and (first / "manifest.json").is_file():
        return first, (first if os.access(first, os.W_OK) else args.out) / "store"
    built, data = args.out / "dataset", protocol.data
    if not built.exists():
        dataset = build_dataset(
            args.input,
            None if args.genome is None else open_genome(args.genome),
            WindowConfig(enhancer=data.enhancer_window, promoter=data.promoter_window),
            ReadOptions(
                format=data.format or None,
                outside_genome=cast(Any, data.outside_genome),
                max_unknown=data.max_unknown,
            ),
        )
        write_dataset(dataset, built)
        return built, args.out / "store"
    known = {source.sha256 for source in load_dataset(built).manifest.sources}
    for path in map(Path, args.input):
        if not path.exists():
            raise EpisodeError(f"{path}: no such file or folder")
        if path.is_file() and file_sha256(path) not in known:
            raise EpisodeError(f"{path}: is not what {built} was built from; give a new folder for it")
    return built, args.out / "store"


def _check_folder(out: Path) -> None:
    """Refuse a folder that holds something else before anything is written to it."""
    from episode.errors import EpisodeError
    from episode.files import refuse_unwritable

    refuse_unwritable(out)
    mine = ("dataset", "store", "identity.json", ".lock")
    if out.exists() and not (out / "identity.json").exists():
        other = [entry.name for entry in out.iterdir() if entry.name not in mine and not entry.name.endswith(".part")]
        if other:
            raise EpisodeError(
                f"{out}: is not empty and holds no comparison ({other[0]}); give a new folder or remove it first"
            )


def _print(results: ComparisonResults, out: Path) -> None:
    """Print the table of the most important numbers."""
    audit = results.audit
    print(f"protocol {results.protocol.name}: {results.protocol.title}")
    seen = ", ".join(f"{key} {fraction:.1%}" for key, fraction in audit.worst().items())
    leaks = "  ** THIS SPLIT LEAKS **" if audit.locus_leak else ""
    print(f"test rows that training has seen, in the worst fold: {seen}{leaks}")
    print(f"{'method':28s}{'macro AUROC':>24s}{'macro AUPR':>24s}{'pooled log-loss':>24s}")
    for name, entry in sorted(results.methods.items(), key=lambda item: -(item[1].macro.auroc.value or 0)):
        cells = [entry.macro.auroc, entry.macro.aupr, entry.pooled.log_loss]
        print(f"{name:28s}" + "".join(f"{_cell(cell):>24s}" for cell in cells))
    print(f"numbers: {out / 'results.json'}; a page: episode report {out}")


def _cell(cell: Estimate) -> str:
    if cell.value is None:
        return "-"
    return f"{cell.value:.3f} [{cell.low:.3f}, {cell.high:.3f}]" if cell.bounded else f"{cell.value:.3f}"
