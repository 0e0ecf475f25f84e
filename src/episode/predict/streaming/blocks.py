"""From the tables to staged rows: blocks of validated pairs, each a small file, with the elements that it names.

    rows/0000/012.parquet     pairs that meet the rules, as they will be written, and the elements of each by number
    elements/0000/012.parquet those elements: interval, or name and sequence
    dropped/0000/012.tsv      rows that were left out, without a header
    facts/0000/012.json       problems and names found
    facts/0000/012.parquet    fingerprints of the sequences that the block is first to bring, of rows left out too

A block is staged once it has its rows; what was staged before an interruption stays. Memory is that of one block, and
of one digest for each sequence that the tables bring. Does not know genomes or models.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from episode.data.build import ReadOptions
from episode.data.dataset import pair_orientation
from episode.data.given_sequences import fingerprint
from episode.data.pairs import SIDES, environment_names, group_names
from episode.data.readers.content import check_place, fail
from episode.data.readers.text import TextTable, open_parquet, text_of_arrow
from episode.data.readers.tidy import name_columns, rename
from episode.data.validation import validate
from episode.errors import SHOWN, EpisodeError, Problem
from episode.files import atomic_file
from episode.lines import escaped, write_tsv
from episode.schema import Model, read_model, write_model

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = [
    "Facts",
    "Part",
    "Staging",
    "load_numbers",
    "parquet_files",
    "plan_parts",
    "refuse_inside",
    "save_numbers",
    "stage_dataset",
    "write_lines",
]

PARQUET = (".parquet", ".pq")
ROWS = 1 << 16
"""Most rows of a block."""
BYTES = 1 << 26
"""Most bytes of a block, as the file counts them uncompressed."""
SEQUENCE_ROWS = 1 << 13
"""Most rows of a block with sequences in it, which a file may hold once and a table in memory many times."""


class Part(NamedTuple):
    """A block of rows of one file, scored as a whole.

    Parameters
    ----------
    number : int
        From 0, over all files.
    file : int
        Which of the prediction's tables.
    group : int
        Row group of a Parquet file; 0 of other formats.
    start : int
        First row, counted from the beginning of the file.
    rows : int
        Number of rows, those that break a rule included.
    """

    number: int
    file: int
    group: int
    start: int
    rows: int

    @property
    def name(self) -> str:
        """Name of its files, without an ending: no folder holds more than a thousand."""
        return f"{self.number // 1000:04d}/{self.number % 1000:03d}"


class Facts(Model):
    """What was found in a block."""

    problems: tuple[Problem, ...]
    """Rows that break a rule, by rule."""
    broken: int
    """Number of such problems."""
    dropped: int
    """Number of rows left out."""
    kept: int
    """Rows staged."""
    cell_lines: tuple[str, ...]
    """See `episode.data.pairs.group_names`: of all rows that meet the rules, whether asked for or not."""


def parquet_files(paths: Sequence[str | Path], format: str | None) -> list[str] | None:
    """Return the Parquet files among what the user gave, folders opened; None if anything else is there too.

    Raises
    ------
    InputError
        If a folder holds no table, or a file lies in a partition folder.
    """
    if format not in (None, "tidy"):
        return None
    found: list[str] = []
    for path in map(Path, paths):
        inside = _files_inside(path) if path.is_dir() else [path]
        if not inside or not all(file.name.endswith(PARQUET) for file in inside):
            return None
        found += map(str, inside)
    return found


def _files_inside(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder, hidden ones left out; none of a domain-kl folder."""
    if any(folder.rglob("pairs_hg*.csv*")):
        return []
    files = []
    for file in sorted(path for ending in PARQUET for path in folder.rglob(f"*{ending}") if path.is_file()):
        parts = file.relative_to(folder).parts
        if any(part.startswith((".", "_")) for part in parts):
            continue
        partition = next((part for part in parts[:-1] if "=" in part), None)
        if partition is not None:
            column = partition.split("=")[0]
            raise fail(file, f"lies in the partition folder {partition!r}; needs {column!r} as a column of the file")
        files.append(file)
    if not files:
        need = "holds no table; needs *.parquet or *.pq, or pairs_hg19.csv or pairs_hg38.csv of domain-kl, at any depth"
        raise fail(folder, need)
    return files


def refuse_inside(tables: Sequence[str | Path], out: Path) -> None:
    """Refuse an output folder inside a folder of tables: what is written would be read.

    Raises
    ------
    EpisodeError
        If it is.
    """
    for table in map(Path, tables):
        if table.is_dir() and out.resolve().is_relative_to(table.resolve()):
            raise EpisodeError(f"{out}: lies in {table}, a folder of tables; give another --out")


def open_table(path: str) -> pq.ParquetFile:
    """Open a Parquet file.

    Raises
    ------
    InputError
        If it is not there, is not Parquet, has no rows, or its header cannot name columns.
    """
    import pyarrow as pa

    check_place(path)
    try:
        opened = open_parquet(path, path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    if opened.metadata.num_rows == 0:
        raise fail(path, "has columns but no rows; needs at least one pair")
    return opened


def plan_parts(files: Sequence[str], columns: Mapping[str, str] | None = None) -> tuple[Part, ...]:
    """Cut Parquet files into parts; no part spans two row groups. `columns`: see `episode.data.readers.read_pairs`.

    Raises
    ------
    InputError
        If a file cannot be read, or some bring sequences that others do not.
    """
    parts: list[Part] = []
    sequences: dict[str, set[str]] = {}
    for number, file in enumerate(files):
        with open_table(file) as opened:
            names = _sequence_columns(file, opened, columns or {})
            sequences[file] = names
            start = 0
            for group in range(opened.metadata.num_row_groups):
                facts = opened.metadata.row_group(group)
                size = min(ROWS, max(1, BYTES * facts.num_rows // max(1, facts.total_byte_size)))
                size = min(size, SEQUENCE_ROWS) if names else size
                for first in range(0, facts.num_rows, size):
                    rows = min(size, facts.num_rows - first)
                    parts.append(Part(len(parts), number, group, start + first, rows))
                start += facts.num_rows
    other, expected = files[0], sequences[files[0]]
    for file, names in sequences.items():
        if names != expected:
            need = f"has {_listed(names)} where {other} has {_listed(expected)}; needs the same in all tables"
            raise fail(file, need)
    return tuple(parts)


def _sequence_columns(file: str, opened: pq.ParquetFile, columns: Mapping[str, str]) -> set[str]:
    """Return the columns that hold the DNA of elements, by the library's names."""
    header = TextTable(file, pd.DataFrame(columns=opened.schema_arrow.names), np.zeros(0, dtype=np.int64), "")
    return {f"{side}_sequence" for side in SIDES} & set(rename(header, columns).text.frame)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "no column of sequences"


@dataclass
class Staging:
    """Stages the rows of Parquet files, block by block.

    Parameters
    ----------
    options : ReadOptions
        Unless `on_invalid` is "drop", rows that break a rule are only counted, as they will be an error.
    only : str, optional
        Keep the rows of this cell line, environment or, after a colon, assay.
    genome : bool
        There is a genome to read intervals from.
    """

    folder: Path
    files: Sequence[str]
    options: ReadOptions
    only: str | None
    genome: bool
    known: dict[str, dict[str, bytes]] = field(default_factory=lambda: {side: {} for side in SIDES})
    """Of each side, the fingerprint of each name's sequence in the current file."""
    earlier: dict[str, dict[str, bytes]] = field(default_factory=lambda: {side: {} for side in SIDES})
    """The same of the files before it."""

    def run(self, parts: Sequence[Part]) -> Iterator[tuple[Part, Facts]]:
        """Stage the parts that are not staged yet; yield each part, staged now or before."""
        for file, mine in groupby(parts, lambda part: part.file):
            with open_table(self.files[file]) as opened:
                for group, blocks in groupby(mine, lambda part: part.group):
                    yield from self._group(opened, group, list(blocks))
            for side, fingerprints in self.known.items():
                self.earlier[side] |= fingerprints
                fingerprints.clear()

    def _group(self, opened: pq.ParquetFile, group: int, parts: Sequence[Part]) -> Iterator[tuple[Part, Facts]]:
        done = [(self.folder / "rows" / f"{part.name}.parquet").exists() for part in parts]
        file = self.files[parts[0].file]
        blocks = None if all(done) else _blocks(file, opened, group, [part.rows for part in parts])
        for part, staged in zip(parts, done, strict=True):
            table = None if blocks is None else next(blocks)
            if staged:
                self._recall(part)
            elif table is not None:
                self._stage(part, table)
            yield part, read_model(self.folder / "facts" / f"{part.name}.json", Facts, error=EpisodeError)

    def _recall(self, part: Part) -> None:
        """Take notice of the sequences of a part that is staged already."""
        path = self.folder / "facts" / f"{part.name}.parquet"
        if path.exists():
            for side, name, value in pd.read_parquet(path).itertuples(index=False):
                self.known[side][name] = value

    def _stage(self, part: Part, table: pa.Table) -> None:
        file = self.files[part.file]
        text = text_of_arrow(table, file, "", part.start + 1)
        options = self.options
        raw = name_columns(text, columns=options.columns, cell_line=options.cell_line, assay=options.assay)
        valid = validate(raw, self.known, labels=False, promoter_flank=options.promoter_flank)
        frame, findings, given = valid.frame, valid.findings, valid.sequences
        inline = {side: f"{side}_sequence" in raw.text.frame for side in SIDES}
        if any(inline.values()):
            self._note_sequences(part, given)
        drop = self.options.on_invalid == "drop"
        frame["source"] = np.int32(part.file)
        frame["environment"] = environment_names(frame)
        groups = group_names(frame)
        names = sorted({name for column in groups for name in groups[column].unique()})
        if self.only is not None:
            frame = frame[(groups == self.only).any(axis="columns")].reset_index(drop=True)
        if not self.genome and len(frame) and (drop or not findings.total):
            _need_genome(file, frame, inline)
        elements = []
        for side in SIDES:
            codes, distinct = _distinct(frame, side, given[side] if inline[side] else None)
            frame[f"{side}_id"] = codes
            elements.append(distinct)
        facts = Facts(
            problems=tuple(findings.problems()[:SHOWN]),
            broken=findings.total,
            dropped=int(findings.broken().sum()),
            kept=len(frame),
            cell_lines=tuple(map(str, names)),
        )
        if findings.total and drop:
            write_lines(findings.dropped(), self.folder / "dropped" / f"{part.name}.tsv")
        write_model(self.folder / "facts" / f"{part.name}.json", facts)
        write_block(pd.concat(elements, ignore_index=True), self.folder / "elements" / f"{part.name}.parquet")
        frame["mirrored"], frame["has_coordinates"] = pair_orientation(frame)
        write_block(frame, self.folder / "rows" / f"{part.name}.parquet")

    def _note_sequences(self, part: Part, given: dict[str, dict[str, str]]) -> None:
        """Take notice of a block's sequences, for the blocks and files after it, and keep that for a restart."""
        new = []
        for side, sequences in given.items():
            for name, sequence in sequences.items():
                if name in self.known[side]:
                    continue
                value = fingerprint(sequence)
                if self.earlier[side].get(name, value) != value:
                    need = f"gives {side} {name!r} another sequence than an earlier table does"
                    raise fail(self.files[part.file], need)
                self.known[side][name] = value
                new.append((side, name, value))
        path = self.folder / "facts" / f"{part.name}.parquet"
        write_block(pd.DataFrame(new, columns=["side", "name", "fingerprint"]), path)


def _blocks(path: str, opened: pq.ParquetFile, group: int, sizes: Sequence[int]) -> Iterator[pa.Table]:
    """Read a row group in blocks of these numbers of rows."""
    import pyarrow as pa

    try:
        batches = opened.iter_batches(max(sizes), row_groups=[group])
        held = pa.Table.from_batches([], schema=opened.schema_arrow)
        for size in sizes:
            while held.num_rows < size:
                held = pa.concat_tables([held, pa.Table.from_batches([next(batches)])])
            yield held.slice(0, size)
            held = held.slice(size)
    except (pa.ArrowException, OSError, StopIteration) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: Exception) -> Exception:
    """Return what is wrong with a Parquet file, unless it is the disk or the network that failed."""
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, os.strerror(error.errno), path)
    reason = str(error).split("\n", maxsplit=1)[0] or "it ends early"
    return fail(path, f"is not a readable Parquet file ({reason})")


def _need_genome(file: str, frame: pd.DataFrame, inline: dict[str, bool]) -> None:
    """Refuse intervals where there is no genome."""
    for side in SIDES:
        if not inline[side]:
            name, row = frame[f"{side}_name"].iloc[0], frame["row"].iloc[0]
            raise EpisodeError(f"{file}:{row}: the sequence of {side} {name!r} needs a genome; give --genome FASTA")


def _distinct(frame: pd.DataFrame, side: str, given: dict[str, str] | None) -> tuple[np.ndarray, pd.DataFrame]:
    """Number the distinct elements of a block; by name where sequences are given, else by interval."""
    parts = ["chrom", "start", "end"]
    key = [f"{side}_name"] if given is not None else [f"{side}_{part}" for part in parts]
    codes = frame.groupby(key, sort=True).ngroup().to_numpy().astype(np.int32)
    first = frame[[f"{side}_{part}" for part in ("name", *parts)]].assign(code=codes).drop_duplicates("code")
    first = first.sort_values("code").drop(columns="code").set_axis(["name", *parts], axis="columns")
    if given is None:
        elements = first.assign(name="", sequence="")
    else:
        elements = first.assign(sequence=[given[name] for name in first["name"]])
    elements.insert(0, "side", side)
    return codes, elements.astype({"side": "str", "name": "str", "chrom": "str", "sequence": "str"})


def write_block(frame: pd.DataFrame, path: Path) -> None:
    """Write a staged table by atomic rename."""
    with atomic_file(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_lines(frame: pd.DataFrame, path: Path) -> None:
    """Write rows that were left out as TSV without a header."""
    with atomic_file(path) as temporary:
        write_tsv(escaped(frame), temporary, header=False)


def stage_dataset(folder: Path, pairs: pd.DataFrame) -> tuple[Part, ...]:
    """Stage the pairs of a dataset in memory, whose elements are numbered and read already."""
    frame = pairs.drop(columns="locus")
    parts = [
        Part(number, 0, 0, start, min(ROWS, len(frame) - start))
        for number, start in enumerate(range(0, len(frame), ROWS))
    ]
    for part in parts:
        block = frame.iloc[part.start : part.start + part.rows].reset_index(drop=True)
        number = {}
        for side in SIDES:
            number[side], local = np.unique(block[f"{side}_id"], return_inverse=True)
            block[f"{side}_id"] = local.astype(np.int32)
        save_numbers(folder, part, number["enhancer"], number["promoter"])
        write_block(block, folder / "rows" / f"{part.name}.parquet")
    return tuple(parts)


def save_numbers(folder: Path, part: Part, enhancer: np.ndarray, promoter: np.ndarray) -> None:
    """Write what the numbers of a block's elements are among all elements."""
    path = folder / "numbers" / f"{part.name}.npz"
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, enhancer=enhancer.astype(np.int32), promoter=promoter.astype(np.int32))


def load_numbers(folder: Path, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Read what `save_numbers` wrote."""
    with np.load(folder / "numbers" / f"{part.name}.npz") as content:
        return content["enhancer"], content["promoter"]
