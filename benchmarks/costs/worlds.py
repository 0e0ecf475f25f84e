"""Inputs of the rows: a genome with elements on it, tables of their pairs in any number, and a small trained run.

Everything follows from a seed. This module does NOT know what is measured on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from costs.context import Context
from episode.data.genome import Genome
from episode.encode.motifs import MotifBank
from episode.files import atomic_file
from episode.seeds import generator

SEED = 11
LENGTHS = (1024, 4096)
"""Bases of an enhancer and of a promoter: the default windows."""
GAP = 512
LINE = 64
CHROMOSOME = "chr1"
CELL_LINES = ("first", "second", "third", "fourth")
ROW_GROUP = 200_000
BLOCK, SITE = 1 << 16, 256
LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)


@dataclass(frozen=True)
class Elements:
    """Enhancers and promoters laid one after another along one chromosome, first all enhancers.

    Parameters
    ----------
    enhancers, promoters : int
        How many.
    """

    enhancers: int
    promoters: int

    def __len__(self) -> int:
        return self.enhancers + self.promoters

    @property
    def bases(self) -> int:
        """Bases of all elements."""
        return self.enhancers * LENGTHS[0] + self.promoters * LENGTHS[1]

    @property
    def chromosome(self) -> int:
        """Length of the chromosome."""
        return self.bases + (len(self) + 1) * GAP

    def starts(self, kind: int, index: np.ndarray) -> np.ndarray:
        """Return the first base of some enhancers (0) or promoters (1)."""
        before = self.enhancers * (LENGTHS[0] + GAP) if kind else 0
        return GAP + before + index * (LENGTHS[kind] + GAP)


def write_genome(path: Path, elements: Elements) -> None:
    """Write the chromosome as FASTA."""
    rng = generator(SEED, "genome")
    lines = -(-elements.chromosome // LINE)
    text = np.full((lines, LINE + 1), ord("\n"), dtype=np.uint8)
    for first in range(0, lines, BLOCK):
        part = text[first : first + BLOCK, :LINE]
        part[:] = LETTERS[rng.integers(4, size=part.shape)]
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        stream.write(f">{CHROMOSOME}\n".encode())
        stream.write(text.data)


def write_pairs(
    path: Path, elements: Elements, pairs: int, *, lines: int = len(CELL_LINES), row_group: int = ROW_GROUP
) -> int:
    """Write a Parquet table of pairs, block by block: the same candidates in each of some cell lines, by enhancer.

    A cell line takes every k-th of all products of an enhancer with a promoter, so that few pairs meet nearly as many
    elements as many pairs do.

    Returns
    -------
    int
        Distinct elements that stand in the table.
    """
    each = pairs // lines
    total = elements.enhancers * elements.promoters
    if each > total:
        raise ValueError(f"{len(elements)} elements have {total} pairs a cell line, not {each}")
    schema = pa.schema(
        [("cell_line", pa.string())]
        + [(f"{side}_{part}", kind) for side in ("enhancer", "promoter") for part, kind in _INTERVAL]
    )
    met = [np.zeros(elements.enhancers, dtype=bool), np.zeros(elements.promoters, dtype=bool)]
    with atomic_file(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for first in range(0, each * lines, row_group):
            row = np.arange(first, min(first + row_group, each * lines))
            place = (row % each) * total // each
            enhancer = place // elements.promoters
            promoter = (place + 617 * enhancer) % elements.promoters
            columns = [pa.DictionaryArray.from_arrays(pa.array(row // each), pa.array(CELL_LINES)).cast(pa.string())]
            for kind, index in enumerate((enhancer, promoter)):
                met[kind][index] = True
                start = elements.starts(kind, index)
                columns += [pa.array([CHROMOSOME]).take(pa.array(np.zeros(len(row), dtype=np.int64)))]
                columns += [pa.array(start), pa.array(start + LENGTHS[kind])]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return int(sum(kind.sum() for kind in met))


_INTERVAL = (("chrom", pa.string()), ("start", pa.int64()), ("end", pa.int64()))


def simulated_genome(lengths: dict[str, int], bank: MotifBank) -> Genome:
    """Return a genome whose bases follow from their position, made when they are read.

    Overlapping intervals share their bases, as they would on a real genome. About every `SITE` bp the best site of some
    motif stands on some strand, so that elements differ in what the model reads.
    """
    best = [bank.log_odds(motif).argmax(axis=1).astype(np.uint8) for motif in range(len(bank))]
    blocks: dict[tuple[str, int], str] = {}

    def block(chrom: str, number: int) -> str:
        if (chrom, number) not in blocks:
            rng = generator(SEED, "bases", chrom, number)
            codes = rng.integers(4, size=BLOCK).astype(np.uint8)
            for place in range(0, BLOCK, SITE):
                site = best[rng.integers(len(best))]
                codes[place : place + len(site)] = site if rng.random() < 0.5 else 3 - site[::-1]
            blocks[chrom, number] = LETTERS[codes].tobytes().decode()
        return blocks[chrom, number]

    def read(chrom: str, start: int, end: int) -> str:
        numbers = range(start // BLOCK, (end - 1) // BLOCK + 1)
        first = numbers[0] * BLOCK
        return "".join(block(chrom, number) for number in numbers)[start - first : end - first]

    return Genome(Path("simulated"), lengths, f"simulated from seed {SEED}", read)


TRAINING = ("training.steps=40", "training.settle_steps=20", "training.validate_every=20", "training.tasks_per_step=2")


def small_dataset(context: Context) -> Path:
    """Return the dataset of the smallest simulated world; made if it is not there."""
    world, dataset = context.work / "tiny", context.work / "tiny_dataset"
    if not world.exists():
        context.run(context.episode("simulate", "--preset", "tiny", "--seed", str(SEED), "--out", world))
    if not dataset.exists():
        tables = (world / "pairs.tsv", "--genome", world / "genome.fa")
        context.run(context.episode("data", "build", *tables, "--out", dataset))
    return dataset


def small_run(context: Context) -> Path:
    """Return a run of the default configuration, trained for a few steps on that dataset; made if it is not there."""
    run = context.work / "tiny_run"
    if not (run / "run.json").exists():
        settings = [word for setting in TRAINING for word in ("--set", setting)]
        context.run(context.limited("train", small_dataset(context), "--out", context.fresh("tiny_run"), *settings))
    return run
