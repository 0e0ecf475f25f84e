"""A few short elements and a bank of three matrices, shared by the tests of the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from episode.config import StemConfig
from episode.encode.motifs import MotifBank
from episode.encode.store import ElementStore, build_store

LENGTHS = (70, 16, 1, 33, 0, 64)
CONFIG = StemConfig(bin=16)
BASES = StemConfig(kind="kmer", bin=16)


@dataclass(frozen=True)
class Elements:
    elements: pd.DataFrame
    codes: np.ndarray


def make_bank(seed: int = 0) -> MotifBank:
    rng = np.random.default_rng(seed)
    matrices = tuple(rng.dirichlet(np.full(4, 0.3), size=length) for length in (4, 5, 9))
    return MotifBank(("A.1", "B.1", "C.1"), ("a", "b", "c"), matrices)


def make_dataset(seed: int = 0, lengths: tuple[int, ...] = LENGTHS, part: slice = slice(None)) -> Elements:
    codes = np.random.default_rng(seed).integers(0, 5, sum(lengths)).astype(np.uint8)
    offset = np.cumsum((0, *lengths))[:-1]
    return Elements(pd.DataFrame({"length": lengths, "offset": offset})[part].reset_index(drop=True), codes)


def sequence(dataset: Elements, element: int) -> np.ndarray:
    row = dataset.elements.loc[element]
    return dataset.codes[row["offset"] : row["offset"] + row["length"]]


def build(cache: Path | None = None, config: StemConfig = CONFIG, **options: object) -> ElementStore:
    """The store of the usual elements."""
    return build_store(make_dataset(), make_bank(), config, cache, **options)  # type: ignore[arg-type]
