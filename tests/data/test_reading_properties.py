"""A table reads the same whatever surrounds its rows, and a row reads the same whatever its neighbours are."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from episode.data.readers import read_pairs

NOTES = st.text(alphabet="abzXYZ019 \"#;.,:-|'é", max_size=6).map(str.strip)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["K562", "GM-12", "a b"]),
        st.sampled_from(["0", "1", ""]),
        st.integers(0, 10**8),
        st.integers(1, 5000),
        st.integers(0, 10**8),
        NOTES,
    ),
    min_size=2,
    max_size=6,
    unique_by=lambda row: row[2],
)
COMMENTS = st.lists(st.sampled_from(["", "# by x", "#", "#a\tb", "## a, b"]), max_size=3)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
COLUMNS = ["cell_line", "label", "enhancer_chrom", "enhancer_start", "enhancer_end"]
COLUMNS += ["promoter_chrom", "promoter_start", "promoter_end", "note"]
FORMATS = ("tsv", "csv", "quoted", "parquet", "bedpe", "plain bedpe", "bengi")
Row = tuple[str, str, int, int, int, str]


def cells(row: Row) -> list[str]:
    cell_line, label, start, length, promoter, note = row
    places = ["chr1", start, start + length, "chr1", promoter, promoter + 10]
    return [cell_line, label, *map(str, places), note]


def write(folder: Path, kind: str, rows: list[Row], comments: list[str], end: str, packed: bool) -> Path:
    """Write rows, with comments above, below the header and, where they can only be comments, between the rows."""
    table = [cells(row) for row in rows]
    if kind == "parquet":
        path = folder / "pairs.parquet"
        pd.DataFrame(table, columns=COLUMNS).to_parquet(path)
        return path
    if kind in ("tsv", "csv", "quoted"):
        quoting: Literal[0, 1] = csv.QUOTE_ALL if kind == "quoted" else csv.QUOTE_MINIMAL
        lines = []
        for line in [COLUMNS, *table]:
            stream = io.StringIO()
            csv.writer(stream, delimiter="\t" if kind == "tsv" else ",", quoting=quoting, lineterminator="").writerow(
                line
            )
            lines.append(stream.getvalue())
        lines = [*comments, lines[0], *comments, *[part for line in lines[1:] for part in (line, *comments)]]
        name = "pairs.txt"
    elif kind == "bengi":
        made = [[row[1], "5", *row[2:5], row[8], *row[5:8], "p"] for row in table]
        lines = [*comments, *[part for row in made for part in ("\t".join(row), *comments)]]
        name = "a.tsv"
    else:
        made = [[*row[2:8], row[8] or ".", "0", ".", ".", row[1] or ".", row[0]] for row in table]
        head = ["#chrom1", "start1", "end1", "chrom2", "start2", "end2", "note", "score", "strand1", "strand2"]
        header = ["\t".join([*head, "label", "cell_line"])] if kind == "bedpe" else []
        lines = [*comments, *header, *comments, *[part for row in made for part in ("\t".join(row), *comments)]]
        name = "pairs.bedpe"
    content = (end.join(lines) + end).encode("utf-8-sig" if packed else "utf-8")
    path = folder / name
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return path


def read(path: Path, kind: str) -> pd.DataFrame:
    frame = read_pairs(path, cell_line="K562" if kind == "bengi" else None).frame
    note = {"bengi": "enhancer_annotation", "plain bedpe": "name"}.get(kind, "note")
    return frame[[name for name in COLUMNS if name != "note"]].assign(note=frame[note])


def wanted(rows: list[Row], kind: str) -> list[list[object]]:
    content: list[list[object]] = []
    for cell_line, label, start, length, promoter, note in rows:
        places = ["chr1", start, start + length, "chr1", promoter, promoter + 10]
        note = (note or ".") if "bedpe" in kind else note
        content.append(["K562" if kind == "bengi" else cell_line, int(label or -1), *places, note])
    return content


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ROWS, COMMENTS, ENDS, st.booleans())
def test_rows_are_read_as_written(
    tmp_path: Path, kind: str, rows: list[Row], comments: list[str], end: str, packed: bool
) -> None:
    path = write(tmp_path, kind, rows, comments, end, packed)
    assert read(path, kind).to_numpy().tolist() == wanted(rows, kind)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ROWS, st.data())
def test_a_row_does_not_depend_on_its_neighbours(
    tmp_path: Path, kind: str, rows: list[Row], data: st.DataObject
) -> None:
    kept = data.draw(st.permutations(rows))[: data.draw(st.integers(1, len(rows)))]
    path = write(tmp_path, kind, kept, [], "\n", False)
    assert read(path, kind).to_numpy().tolist() == wanted(kept, kind)
