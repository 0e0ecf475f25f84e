"""Writing predictions: Parquet, TSV, BEDPE and UCSC interact, each block by block and by atomic rename.

Coordinates are 0-based half-open in all of them, as BED has it. Knows nothing about how the numbers were made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from episode.data.pairs import SIDES
from episode.files import atomic_file, fsync
from episode.predict.alarms import alarm_names

if TYPE_CHECKING:
    import pyarrow as pa

    from episode.predict.alarms import Raised

__all__ = [
    "FORMATS",
    "Write",
    "join_parquet",
    "open_format",
    "open_parquet",
    "public",
    "whole_parquet",
    "write_parquet",
]

INTERNAL = ["source", "enhancer_id", "promoter_id", "locus"]
TRACK = (
    'track type=interact name="EPIsode" description="{}predicted enhancer-promoter interactions" '
    "interactDirectional=true useScore=on visibility=full\n"
)

Write = Callable[[pd.DataFrame], None]
"""Takes the next pairs, with the columns of `episode.predict.pairs.Predictions.pairs`."""


@contextmanager
def open_parquet(path: Path, *, parents: bool = True) -> Iterator[Write]:
    """All columns of a prediction but the library's own numbering; a row group for each block of pairs.

    The same blocks give the same bytes. They are on the disk before the file has its name. Without `parents` the folder
    must be there, see `episode.files.atomic_file`.
    """
    import pyarrow as pa

    with _row_groups(path, parents=parents) as write:
        yield lambda pairs: write(
            pa.Table.from_pandas(public(pairs), preserve_index=False).replace_schema_metadata(None)
        )


@contextmanager
def _row_groups(path: Path, *, parents: bool = True) -> Iterator[Callable[[pa.Table], None]]:
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

    with _row_groups(path) as write:
        for part in parts:
            with pq.ParquetFile(part) as opened:
                for group in range(opened.num_row_groups):
                    write(opened.read_row_group(group))


def tsv_lines(pairs: pd.DataFrame) -> pd.DataFrame:
    """The same as tab-separated text with a header; unknown labels and coordinates are empty."""
    table = public(pairs)
    for name in table.columns:
        if name == "label" or name.endswith(("_start", "_end")):
            table[name] = table[name].astype("object").where(table[name] >= 0, "")
    return table


def bedpe_lines(pairs: pd.DataFrame) -> pd.DataFrame:
    """BEDPE: enhancer, promoter, name, score (the probability), strands unknown, then environment and energies.

    Pairs without coordinates have no place in it and are left out.
    """
    table = pairs[pairs["has_coordinates"].to_numpy()]
    lines = table[[f"{side}_{part}" for side in SIDES for part in ("chrom", "start", "end")]].copy()
    lines["name"] = table["enhancer_name"] + "_" + table["promoter_name"]
    lines["score"] = table["probability"].map("{:.6g}".format)
    lines["strand1"] = lines["strand2"] = "."
    lines["environment"] = table["environment"]
    for name in ("potential", "impedance", "logit"):
        lines[name] = table[name].map("{:.6g}".format)
    lines.columns = pd.Index(["#chrom1", "start1", "end1", "chrom2", "start2", "end2", *lines.columns[6:]])
    return lines


def interact_lines(pairs: pd.DataFrame) -> pd.DataFrame:
    """UCSC interact track: score is 1000 x probability, value is the logit; source enhancer, target promoter.

    Pairs without coordinates have no place in it and are left out.

    References
    ----------
    UCSC Genome Browser, interact and bigInteract track format.
    """
    table = pairs[pairs["has_coordinates"].to_numpy()]
    lines = pd.DataFrame(
        {
            "#chrom": table["enhancer_chrom"],
            "chromStart": np.minimum(table["enhancer_start"], table["promoter_start"]),
            "chromEnd": np.maximum(table["enhancer_end"], table["promoter_end"]),
            "name": ".",
            "score": (1000 * table["probability"]).round().astype(int),
            "value": table["logit"].map("{:.6g}".format),
            "exp": table["environment"].str.replace(r"\s", "_", regex=True),
            "color": "0",
        }
    )
    for role, side in (("source", "enhancer"), ("target", "promoter")):
        for part in ("chrom", "start", "end"):
            lines[f"{role}{part.capitalize()}"] = table[f"{side}_{part}"]
        lines[f"{role}Name"] = table[f"{side}_name"].str.replace(r"\s", "_", regex=True)
        lines[f"{role}Strand"] = "."
    return lines


@contextmanager
def _open_text(path: Path, lines: Callable[[pd.DataFrame], pd.DataFrame], first: str = "") -> Iterator[Write]:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.write(first)
        header = True

        def write(pairs: pd.DataFrame) -> None:
            nonlocal header
            lines(pairs).to_csv(stream, sep="\t", index=False, header=header, float_format="%.6g")
            header = False

        yield write


FORMATS: dict[str, Callable[[Path], AbstractContextManager[Write]]] = {
    "parquet": open_parquet,
    "tsv": partial(_open_text, lines=tsv_lines),
    "bedpe": partial(_open_text, lines=bedpe_lines),
    "interact": partial(_open_text, lines=interact_lines, first=TRACK.format("")),
}
"""Format name, which is the ending of its files too -> writer of a file, block by block."""


def open_format(format: str, path: Path, alarms: Iterable[Raised]) -> AbstractContextManager[Write]:
    """Open a writer of one of `FORMATS`; a browser track names the alarms of the run first, where nothing is cut."""
    names = alarm_names(alarms)
    if format == "interact" and names:
        return _open_text(path, interact_lines, TRACK.format(f"ALARMS: {', '.join(names)}; "))
    return FORMATS[format](path)


def write_parquet(pairs: pd.DataFrame, path: Path) -> None:
    """Write pairs in memory as Parquet, see `open_parquet`."""
    with open_parquet(path) as write:
        write(pairs)


def public(pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs without the library's own numbering, a copy."""
    return pairs.drop(columns=[name for name in INTERNAL if name in pairs]).copy()
