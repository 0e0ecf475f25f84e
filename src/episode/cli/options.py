"""Options that several commands share, and their meaning."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from episode.errors import EpisodeError
from episode.files import finite

if TYPE_CHECKING:
    from episode.checkpoint import Run
    from episode.config import Config
    from episode.data.dataset import Dataset
    from episode.encode.store import ElementStore

__all__ = [
    "add_common",
    "add_selection",
    "add_settings",
    "integers",
    "names",
    "open_run",
    "print_json",
    "read_settings",
    "select",
    "set_threads",
    "warn",
]


def add_common(parser: argparse.ArgumentParser, *, threads: bool = True) -> None:
    """--seed, --json and, where asked for, --threads."""
    parser.add_argument("--seed", type=int, default=0, help="decides everything random (default: 0)")
    if threads:
        parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: as many as there are cores)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """--split, --cell-lines, --chromosomes and --cache of commands that read a dataset."""
    parser.add_argument("--split", choices=("train", "val", "test"), help="only rows of this split")
    parser.add_argument("--cell-lines", type=names, metavar="A,B", help="only these cell lines")
    parser.add_argument("--chromosomes", type=names, metavar="A,B", help="only pairs on these chromosomes")
    parser.add_argument("--cache", type=Path, help="where encoded elements are kept (default: DATASET/store)")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """--config and --set, which `read_settings` reads."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML or JSON file of settings")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="one setting; may be repeated"
    )


def read_settings(args: argparse.Namespace) -> Config:
    """Read the configuration that --config and --set ask for."""
    from episode.config import Config, load_config, override

    return override(load_config(args.config) if args.config else Config(), args.set)


def names(text: str) -> list[str]:
    """Split a comma-separated list."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing; needed a list such as A,B")
    return found


def integers(text: str) -> list[int]:
    """Split a comma-separated list of whole numbers."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 0,1,2") from None


def select(dataset: Dataset, args: argparse.Namespace) -> Dataset:
    """Apply the selection options."""
    from episode.data.splits import select_rows

    mask = select_rows(dataset, split=args.split, cell_lines=args.cell_lines, chromosomes=args.chromosomes)
    if not mask.any():
        raise EpisodeError("no pair of the dataset meets --split, --cell-lines and --chromosomes together")
    return dataset.select(mask)


def open_run(args: argparse.Namespace) -> tuple[Run, Dataset, ElementStore]:
    """Open RUN, the selected pairs of DATASET and their encoded elements; warn of what does not fit."""
    from episode.checkpoint import load_run
    from episode.data.storage import load_dataset
    from episode.encode.store import build_store
    from episode.evaluate.evaluation import check_windows
    from episode.predict.pairs import distance_warning, genome_warning

    model = load_run(args.run_folder)
    dataset = select(load_dataset(args.dataset), args)
    check_windows(model, dataset)
    missing = int(dataset.pairs["distance"].isna().sum())
    texts = genome_warning(model, dataset.genome_hash), distance_warning(model, missing, len(dataset.pairs))
    for text in filter(None, texts):
        warn(text)
    cache = args.cache or args.dataset / "store"
    store = build_store(dataset, model.bank, model.facts.config.stem, cache, progress=sys.stderr.isatty())
    return model, dataset, store


def set_threads(threads: int) -> None:
    """Set the number of CPU threads of this process, if the user asked for one."""
    if threads < 0:
        raise EpisodeError(f"--threads {threads}: needed 0 (as many as there are cores) or more")
    if threads:
        import torch

        torch.set_num_threads(threads)


def print_json(content: Any) -> None:
    """Print one JSON document; what is not a finite number becomes null."""
    print(json.dumps(finite(content), indent=2, allow_nan=False))


def warn(text: str) -> None:
    """Show a warning without ending."""
    print(f"warning: {text}", file=sys.stderr)
