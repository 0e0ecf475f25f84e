"""Tables as lines: what is written is what the csv module reads, to the last digit; nothing can forge a line."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from episode.errors import EpisodeError
from episode.lines import escaped, first_line, line_bytes, lines_of, write_tsv

TEXT = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp")) | st.sampled_from("\"',= "), max_size=9)
"""Text that may be a name or be carried through: quotation marks, commas and blanks included."""


def parsed(content: bytes, *, quoted: bool = True) -> list[list[str]]:
    """Rows of fields, by another reader than pandas or Arrow."""
    lines = content.decode().split("\n")
    assert lines.pop() == ""
    if quoted:
        return list(csv.reader((line + "\n" for line in lines), dialect="excel-tab"))
    return list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6), st.booleans())
def test_text_comes_back(rows: list[tuple[str, str]], quoted: bool) -> None:
    table = pa.table({"a": [row[0] for row in rows], "b": [row[1] for row in rows], "c": ["x"] * len(rows)})
    assert parsed(bytes(line_bytes(lines_of(table, quoted=quoted))), quoted=quoted) == [[*row, "x"] for row in rows]


@given(st.lists(st.floats(), min_size=1), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_numbers_come_back_to_the_last_digit(floats: list[float], whole: list[int]) -> None:
    fields = parsed(bytes(line_bytes(lines_of(pa.table({"x": floats, "y": ["."] * len(floats)})))))
    for (text, _), value in zip(fields, floats, strict=True):
        assert (text == "") if math.isnan(value) else (float(text) == value)
    fields = parsed(bytes(line_bytes(lines_of(pa.table({"n": whole, "y": ["."] * len(whole)})))))
    assert [int(text) for text, _ in fields] == whole


def test_a_frame_as_the_commands_write_it(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "name": ['say "hi"', '"', "plain name", "=1+1"],
            "position": [33_433_233, 2**40, 0, -1],
            "distance": [33_433_233.5, 1_200_005.0, 0.1 + 0.2, math.nan],
            "known": [True, False, True, False],
            "share": pd.Series([None, 1, None, 2], dtype=object),
            "gc": np.array([0.1, 0.5, 1.0, math.nan], dtype=np.float32),
        }
    )
    write_tsv(frame, tmp_path / "table.tsv")
    assert (tmp_path / "table.tsv").read_text().split("\n") == [
        "name\tposition\tdistance\tknown\tshare\tgc",
        '"say ""hi"""\t33433233\t33433233.5\tTrue\t\t0.1',
        '""""\t1099511627776\t1200005\tFalse\t1\t0.5',
        "plain name\t0\t0.30000000000000004\tTrue\t\t1",
        "=1+1\t-1\t\tFalse\t2\t",
        "",
    ]
    write_tsv(frame[["name"]].head(1), tmp_path / "table.bed", header=False, quoted=False)
    assert (tmp_path / "table.bed").read_text() == 'say "hi"\n'
    write_tsv(frame.head(0), tmp_path / "empty.tsv")
    assert (tmp_path / "empty.tsv").read_text() == "name\tposition\tdistance\tknown\tshare\tgc\n"


@pytest.mark.parametrize("text", ["a\tb", "a\nchr1\t0\t9", "a\rb", "\x00", "a\x85b", "a\u2028b", "a\u202eb"])
@pytest.mark.parametrize("quoted", [True, False])
def test_what_could_end_a_line_or_a_field_is_refused(text: str, quoted: bool) -> None:
    for table in (pa.table({"name": ["fine", text]}), pa.table({"name": pa.array([text], pa.large_string())})):
        with pytest.raises(EpisodeError, match=r"column 'name': .* holds a character that cannot be in a line"):
            lines_of(table, quoted=quoted)
    with pytest.raises(EpisodeError, match=r"the header: .* holds a character that cannot be in a line"):
        first_line(["fine", text], quoted=quoted)


def test_what_a_bad_file_held_is_shown_escaped() -> None:
    found = escaped(pd.DataFrame({"row": [2, 3], "value": ["a\tb\nc\u2028", "fine\\t é"]}))
    assert found["value"].tolist() == ["a\\tb\\nc\\u2028", "fine\\t é"] and found["row"].tolist() == [2, 3]
