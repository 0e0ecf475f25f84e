"""Options that several commands share, and their meaning."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from episode.errors import EpisodeError
from episode.files import finite, refuse_existing, refuse_shared
from episode.limits import ELEMENT_BASES, SEED
from episode.threads import usable_cores

if TYPE_CHECKING:
    from episode.checkpoint import Run
    from episode.config import Config
    from episode.data.dataset import Dataset
    from episode.encode.store import ElementStore

__all__ = [
    "BASES",
    "COUNT",
    "FRACTION",
    "Real",
    "Whole",
    "add_columns",
    "add_common",
    "add_seed",
    "add_selection",
    "add_setting",
    "add_settings",
    "cap_environment",
    "check_out",
    "cores",
    "integers",
    "names",
    "open_run",
    "print_json",
    "read_settings",
    "select",
    "set_threads",
    "warn",
]


@dataclass(frozen=True)
class Whole:
    """Type of an option: a whole number between two bounds, both allowed."""

    low: int
    high: int

    def __call__(self, text: str) -> int:
        """Read the option."""
        needed = f"needed a whole number from {self.low:,} to {self.high:,}"
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{needed}, got {_short(text)}") from None
        if not self.low <= value <= self.high:
            raise argparse.ArgumentTypeError(f"{needed}, got {_short(text)}")
        return value


@dataclass(frozen=True)
class Real:
    """Type of an option: a number from `low`, allowed where `closed`, to `high`, allowed where `reached`."""

    low: float
    high: float
    closed: bool = True
    reached: bool = False

    def __call__(self, text: str) -> float:
        """Read the option."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        above = value >= self.low if self.closed else value > self.low
        below = value <= self.high if self.reached else value < self.high
        if not (above and below):
            bounds = "at least" if self.closed else "more than", "at most" if self.reached else "less than"
            raise argparse.ArgumentTypeError(
                f"needed a number of {bounds[0]} {self.low:g} and {bounds[1]} {self.high:g}, got {_short(text)}"
            )
        return value


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


BASES = Whole(0, ELEMENT_BASES)
"""Type of a number of base pairs."""
FRACTION = Real(0, 1)
"""Type of a fraction that is not the whole."""
WHOLE_SEED = Whole(-SEED, SEED)
"""Type of a seed."""
COUNT = Whole(0, 1_000_000_000)
"""Type of a number of threads, workers or processes; more than can be used is cut to that, see `cores`."""


def add_seed(parser: argparse.ArgumentParser, help: str = "decides everything random (default: 0)") -> None:
    """--seed."""
    parser.add_argument("--seed", type=WHOLE_SEED, default=0, help=help)


def add_common(parser: argparse.ArgumentParser, *, threads: bool = True) -> None:
    """--seed, --json and, where asked for, --threads."""
    add_seed(parser)
    if threads:
        parser.add_argument(
            "--threads", type=COUNT, default=0, help="CPU threads (default and most: as many as there are cores)"
        )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """--split, --cell-lines, --chromosomes and --cache of commands that read a dataset."""
    parser.add_argument("--split", choices=("train", "val", "test"), help="only rows of this split")
    parser.add_argument("--cell-lines", type=names, metavar="A,B", help="only these cell lines")
    parser.add_argument("--chromosomes", type=names, metavar="A,B", help="only pairs on these chromosomes")
    parser.add_argument("--cache", type=Path, help="where encoded elements are kept (default: DATASET/store)")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """--preset, --config and --set, which `read_settings` reads."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--preset", metavar="NAME", help="settings for data of a kind: small, loops or domain-kl")
    chosen.add_argument("--config", type=Path, metavar="FILE", help="TOML or JSON file of settings")
    add_setting(parser, "one setting; may be repeated, each key once")


def add_setting(parser: argparse.ArgumentParser, help: str) -> None:
    """--set, which `episode.config.override` reads."""
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help=help)


def read_settings(args: argparse.Namespace, given: Config | None = None) -> Config:
    """Read the configuration that --preset or --config (or `given` in their place) and --set ask for.

    Raises
    ------
    EpisodeError
        If a key is set to two values, or a name or value is wrong.
    """
    from episode.config import load_config, load_preset, override

    values: dict[str, str] = {}
    for setting in args.set:
        name, _, value = setting.partition("=")
        if values.setdefault(name, value) != value:
            raise EpisodeError(f"--set {name} is given twice, {values[name]} and {value}; give it once")
    if given is None:
        given = load_config(args.config) if args.config else load_preset(args.preset, where="--preset")
    return override(given, args.set)


def names(text: str) -> list[str]:
    """Split a comma-separated list."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing; needed a list such as A,B")
    return found


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Add --column."""
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        type=_renaming,
        metavar="NAME=OTHER",
        help="the tables call column NAME by the name OTHER; may be repeated",
    )


def _renaming(text: str) -> tuple[str, str]:
    name, equals, other = text.partition("=")
    if not (name and equals and other):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=OTHER")
    return name, other


def integers(text: str) -> list[int]:
    """Split a comma-separated list of seeds, each once."""
    found = [WHOLE_SEED(part) for part in text.split(",")]
    if len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r} names a seed twice; needed a list such as 0,1,2")
    return found


def select(dataset: Dataset, args: argparse.Namespace) -> Dataset:
    """Apply the selection options."""
    from episode.data.splits import select_rows

    mask = select_rows(dataset, split=args.split, cell_lines=args.cell_lines, chromosomes=args.chromosomes)
    if not mask.any():
        raise EpisodeError("no pair of the dataset meets --split, --cell-lines and --chromosomes together")
    return dataset.select(mask)


def check_out(args: argparse.Namespace) -> None:
    """Refuse, before any work, an --out that is in use or is what the command reads."""
    refuse_shared(args.out, args.cache or args.dataset / "store", args.run_folder, args.dataset)
    refuse_existing(args.out)


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


def cores(option: str, asked: int) -> int:
    """Cut a number of threads or processes to the cores that this process may use, with a warning; 0 stays 0."""
    most = usable_cores()
    if asked > most:
        warn(f"{option} {asked:,}: this process may use {most} cores; taking {most}")
    return min(asked, most)


THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables by which libraries choose their number of threads when they are loaded."""


def cap_environment() -> None:
    """Cut what the environment asks for in threads to the cores, before a library that would start them is loaded."""
    for name in THREADS:
        asked = os.environ.get(name, "").split(",")[0].strip()
        if asked.isascii() and asked.isdigit() and int(asked[:18]) > usable_cores():
            os.environ[name] = str(cores(name, int(asked[:18])))


def set_threads(threads: int) -> None:
    """Set the number of CPU threads of this process, if the user asked for one."""
    if threads:
        import torch

        torch.set_num_threads(cores("--threads", threads))


def print_json(content: Any) -> None:
    """Print one JSON document; what is not a finite number becomes null."""
    print(json.dumps(finite(content), indent=2, allow_nan=False))


def warn(text: str) -> None:
    """Show a warning without ending."""
    print(f"warning: {text}", file=sys.stderr)
