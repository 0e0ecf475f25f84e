"""``episode encode``: fill a cache of encoded elements ahead of the commands that read it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from episode.cli.options import COUNT, add_common, add_settings, cores, print_json, read_settings, warn

if TYPE_CHECKING:
    from episode.encode.store import ElementStore

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_options", "run"]

HELP = "encode the elements of a dataset ahead of training"
DESCRIPTION = (
    "Encode every element of a dataset once and keep it, for train, evaluate, compare and explain "
    "to read. What the cache holds already is not encoded again, for whatever dataset it was; an interrupted "
    "encoding resumes where it stopped."
)
EXAMPLES = """\
examples:
  episode encode dataset
      every element as 'episode train dataset' reads it with the default settings, into dataset/store
  episode encode dataset --run run --cache /scratch/elements
      as a trained model reads it, into a cache that several datasets share
  episode encode dataset --set stem.precision=float32 --workers 16
      with a setting changed, by 16 threads
  episode encode dataset --verify
      read the whole cache against its checksums first; what is damaged is encoded again
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder that 'episode data build' wrote")
    parser.add_argument(
        "--run", type=Path, dest="run_folder", metavar="RUN", help="encode as this trained model reads elements"
    )
    add_settings(parser)
    parser.add_argument("--cache", type=Path, help="where encoded elements are kept (default: DATASET/store)")
    parser.add_argument(
        "--workers",
        type=COUNT,
        default=0,
        metavar="N",
        help="threads that encode (default and most: as many as there are cores)",
    )
    parser.add_argument("--verify", action="store_true", help="check all of the cache first, byte by byte")
    add_common(parser, threads=False)


def run(args: argparse.Namespace) -> int:
    """Encode; return the exit code."""
    from episode.data.storage import load_dataset
    from episode.encode.motifs import load_bank
    from episode.encode.store import build_store, verify_stores
    from episode.errors import EpisodeError

    if args.run_folder is not None and (args.config or args.set):
        raise EpisodeError("--run brings its own settings; give either --run or --config and --set")
    dataset = load_dataset(args.dataset)
    if args.run_folder is None:
        stem = read_settings(args).stem
        bank = load_bank(stem)
    else:
        from episode.checkpoint import load_run
        from episode.evaluate.evaluation import check_windows

        model = load_run(args.run_folder)
        check_windows(model, dataset)
        stem, bank = model.facts.config.stem, model.bank
    cache = args.cache or args.dataset / "store"
    sound, damaged = verify_stores(bank, stem, cache) if args.verify else (0, [])
    for text in damaged:
        warn(f"{text}; encoded again")
    store = build_store(
        dataset, bank, stem, cache, progress=sys.stderr.isatty(), workers=cores("--workers", args.workers)
    )
    facts = _facts(store)
    if args.json:
        gate = None if store.gate is None else _facts(store.gate)
        verified = {"verified": {"sound": sound, "damaged": damaged}} if args.verify else {}
        print_json({"cache": str(cache), **facts, "gate": gate, **verified})
        return 0
    print(f"elements: {len(store):,} ({facts['sequences']:,} distinct sequences)")
    print(f"rows: {facts['rows']:,} of {'x'.join(map(str, store.row_shape))} {store.dtype.name}")
    if args.verify:
        print(f"verified: {sound} segments valid, {len(damaged)} damaged")
    print(f"cache: {cache}")
    return 0


def _facts(store: ElementStore) -> dict[str, object]:
    """Count elements, distinct sequences, and rows of those."""
    import numpy as np

    present = store.bins > 0
    _, first = np.unique(store.start[present], return_index=True)
    rows = int(store.bins[present][first].sum())
    facts = {"elements": len(store), "sequences": len(first), "rows": rows, "row": store.row_shape}
    return facts | {"dtype": store.dtype.name, "hash": store.hash}
