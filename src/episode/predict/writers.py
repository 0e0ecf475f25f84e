"""Writing predictions: Parquet, TSV, BEDPE and UCSC interact, each block by block and by atomic rename.

Coordinates are 0-based half-open in all of them, as BED has it. Parquet and TSV hold every pair, in the order given;
BEDPE and interact hold the pairs that have a place. Knows nothing about how the numbers were made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from episode.data.pairs import CANONICAL_DTYPES, SIDES
from episode.errors import EpisodeError
from episode.files import atomic_file, fsync
from episode.lines import first_line, line_bytes, lines_of
from episode.predict.pairs import COLUMNS
from episode.predict.sorting import SortedLines
from episode.text import text_problem

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FORMATS",
    "Write",
    "join_parquet",
    "open_parquet",
    "open_text",
    "prediction_table",
    "track_line",
    "whole_parquet",
    "write_parquet",
]

INTERNAL = ["source", "enhancer_id", "promoter_id", "locus"]
"""The library's own numbering, which no result has."""
TYPES = {
    **CANONICAL_DTYPES,
    "environment": "str",
    "mirrored": "bool",
    "has_coordinates": "bool",
    **dict.fromkeys(COLUMNS, "float64"),
}
"""Types of the columns of a prediction; all others are text."""
POSITIONS = [f"{side}_{end}" for side in SIDES for end in ("start", "end")]
FORMATS = ("parquet", "tsv", "bedpe", "interact")
"""Names of formats, which are the endings of their files too."""
NO_LINE = r"^(#|track|browser)|\s"
"""Found in a chromosome with which no line of BEDPE or interact can begin: a comment, a setting, or two words."""
BLANK = r"\p{Zs}"
NAME = 255
"""Most characters of a name in an interact file."""

Write = Callable[["pa.Table"], None]
"""Takes the next pairs, see `prediction_table`."""


def prediction_table(pairs: pd.DataFrame) -> pa.Table:
    """Turn pairs (see `episode.predict.pairs.Predictions`) into what files hold: without the library's own numbering.

    Types are those of `TYPES`, whatever the pairs are; a distance that is not known is null.
    """
    import pyarrow as pa

    kinds: dict[str, Any] = {"str": pa.large_string(), "bool": pa.bool_(), "float64": pa.float64()}
    kinds |= {name: getattr(pa, name)() for name in ("int8", "int64")}
    public = pairs.drop(columns=[name for name in INTERNAL if name in pairs])
    schema = pa.schema({name: kinds[TYPES.get(name, "str")] for name in public.columns})
    return pa.Table.from_pandas(public, preserve_index=False).cast(schema).replace_schema_metadata(None)


@contextmanager
def open_parquet(path: Path, *, parents: bool = True) -> Iterator[Write]:
    """All columns of a prediction; a row group for each block of pairs.

    The same blocks give the same bytes. They are on the disk before the file has its name. Without `parents` the folder
    must be there, see `episode.files.atomic_file`.
    """
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        temporary = stack.enter_context(atomic_file(path, parents=parents))
        stack.callback(fsync, temporary)
        writer: pq.ParquetWriter | None = None

        def write(table: pa.Table) -> None:
            nonlocal writer
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(temporary, table.schema, compression="zstd"))
            writer.write_table(table)

        yield write


def whole_parquet(path: Path) -> bool:
    """Whether a file that `open_parquet` wrote has its end."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.read_metadata(path)
    except pa.ArrowException:
        return False
    except OSError as error:
        if error.errno is not None:  # the disk or the network
            raise
        return False
    return True


def join_parquet(parts: Iterable[Path], path: Path) -> None:
    """Join files that `open_parquet` wrote, a row group for each of their own."""
    import pyarrow.parquet as pq

    with open_parquet(path) as write:
        for part in parts:
            with pq.ParquetFile(part) as opened:
                for group in range(opened.num_row_groups):
                    write(opened.read_row_group(group))


@contextmanager
def open_text(format: str, path: Path, *, description: str = "") -> Iterator[Write]:
    """Write a text format of `FORMATS`.

    Parameters
    ----------
    description : str
        What an interact file says of itself.

    Raises
    ------
    EpisodeError
        If text of the pairs cannot be in such a file: it could end a field or a line.
    """
    fields = {"tsv": tsv_fields, "bedpe": bedpe_fields, "interact": interact_fields}[format]
    sort = format == "interact"
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic_file(path))
        stream = stack.enter_context(temporary.open("wb"))
        lines: SortedLines | None = None
        if sort:
            aside = Path(f"{temporary}.sort.part")
            stack.callback(aside.unlink, missing_ok=True)
            lines = SortedLines(aside)
        names: list[str] = []

        def write(table: pa.Table) -> None:
            chosen = fields(table)
            if not names:
                names.extend(chosen.column_names)
                stream.write(track_line(description) if sort else b"")
                stream.write(first_line(names, quoted=format == "tsv"))
            found = lines_of(chosen, quoted=format == "tsv")
            if lines is None:
                stream.write(line_bytes(found))
            else:
                lines.add(chosen.column("#chrom").to_pandas(), chosen.column("chromStart").to_numpy(), found)

        yield write
        for found in () if lines is None else lines.merged():
            stream.write(line_bytes(found))


def track_line(description: str) -> bytes:
    """Return the first line of an interact file; marks that could end the quoted text are replaced."""
    problem = text_problem(description, length=None)
    if problem:
        raise EpisodeError(f"the description of the interact track {problem}")
    plain = description.replace('"', "'").replace("\\", "/")
    settings = "interactDirectional=true useScore=on visibility=full"
    return f'track type=interact name="EPIsode" description="{plain}" {settings}\n'.encode()


def tsv_fields(table: pa.Table) -> pa.Table:
    """All columns; labels and positions that are not known are empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for number, name in enumerate(table.column_names):
        if name in ("label", *POSITIONS):
            column = table.column(name)
            known = pc.if_else(pc.greater_equal(column, 0), column, pa.scalar(None, column.type))
            table = table.set_column(number, name, known)
    return table


def bedpe_fields(table: pa.Table) -> pa.Table:
    """BEDPE: enhancer, promoter, name, score (the probability), strands unknown, then environment and energies.

    Pairs without coordinates have no place in it and are left out.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = _placed(table)
    columns = {}
    for number, side in enumerate(SIDES, start=1):
        for part in ("chrom", "start", "end"):
            columns[f"{'#' * (number == 1 and part == 'chrom')}{part}{number}"] = table[f"{side}_{part}"]
    columns["name"] = pc.binary_join_element_wise(table["enhancer_name"], table["promoter_name"], _constant("_", table))
    columns["score"] = table["probability"]
    columns |= dict.fromkeys(("strand1", "strand2"), _constant(".", table))
    columns |= {name: table[name] for name in ("environment", "potential", "impedance", "logit")}
    return pa.table(columns)


def interact_fields(table: pa.Table) -> pa.Table:
    """UCSC interact track: score is 1000 x probability, value is the logit; source enhancer, target promoter.

    Pairs without coordinates have no place in it and are left out. No field holds a blank, as the browser separates
    fields by any; names are cut after `NAME` characters.

    References
    ----------
    UCSC Genome Browser, interact and bigInteract track format.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = _placed(table)
    columns = {
        "#chrom": table["enhancer_chrom"],
        "chromStart": pc.min_element_wise(table["enhancer_start"], table["promoter_start"]),
        "chromEnd": pc.max_element_wise(table["enhancer_end"], table["promoter_end"]),
        "name": _constant(".", table),
        "score": pc.round(pc.multiply(table["probability"], 1000.0)).cast(pa.int64()),
        "value": table["logit"],
        "exp": _word(table["environment"]),
        "color": _constant("0", table),
    }
    for role, side in (("source", "enhancer"), ("target", "promoter")):
        columns |= {f"{role}{part.capitalize()}": table[f"{side}_{part}"] for part in ("chrom", "start", "end")}
        columns |= {f"{role}Name": _word(table[f"{side}_name"]), f"{role}Strand": _constant(".", table)}
    return pa.table(columns)


def _placed(table: pa.Table) -> pa.Table:
    """Pairs with coordinates."""
    import pyarrow.compute as pc

    table = table.filter(table["has_coordinates"])
    for name in pc.unique(table["enhancer_chrom"]).to_pylist():
        if re.search(NO_LINE, name):
            raise EpisodeError(f"chromosome {name!r}: no line of a BEDPE or interact file can begin with it")
    return table


def _constant(value: str, table: pa.Table) -> pa.Array:
    import pyarrow as pa

    return pa.repeat(pa.scalar(value, pa.large_string()), len(table))


def _word(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as one word."""
    import pyarrow.compute as pc

    return pc.utf8_slice_codeunits(pc.replace_substring_regex(column, BLANK, "_"), 0, NAME)


def write_parquet(pairs: pd.DataFrame, path: Path) -> None:
    """Write pairs in memory as Parquet, see `open_parquet`."""
    with open_parquet(path) as write:
        write(prediction_table(pairs))
