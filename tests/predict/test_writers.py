"""Every file of a prediction, read back by a parser that is not ours."""

from __future__ import annotations

import csv
import math
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from episode.errors import EpisodeError
from episode.predict import sorting
from episode.predict.writers import FORMATS, TYPES, open_text, prediction_table, track_line, write_parquet
from test_lines import TEXT, parsed

NUMBER = st.floats(allow_nan=False, allow_infinity=False)
CHROM = st.sampled_from(["chr1", "chr10", "chr2", "chrX", "HLA-A*01:01", "1"])
ROW = st.fixed_dictionaries(
    {
        "cell_line": TEXT.filter(bool),
        "enhancer_name": TEXT.filter(bool),
        "promoter_name": TEXT.filter(bool),
        "chrom": CHROM,
        "starts": st.tuples(st.integers(0, 2**31), st.integers(0, 2**31)),
        "lengths": st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)),
        "placed": st.booleans(),
        "label": st.sampled_from([-1, 0, 1]),
        "potential": NUMBER,
        "impedance": NUMBER,
        "logit": NUMBER,
        "probability": st.floats(0, 1),
        "note": TEXT,
    }
)


def made(rows: list[dict]) -> pd.DataFrame:
    """Pairs as prediction has them, the library's own numbering and a column of the user's included."""
    records = []
    for number, row in enumerate(rows):
        record = {"cell_line": row["cell_line"], "assay": "", "label": row["label"]}
        for side, start, length in zip(("enhancer", "promoter"), row["starts"], row["lengths"], strict=True):
            place = (row["chrom"], start, start + length) if row["placed"] else ("", -1, -1)
            parts = zip(("chrom", "start", "end"), place, strict=True)
            record |= {f"{side}_name": row[f"{side}_name"], **{f"{side}_{part}": value for part, value in parts}}
        record |= {"distance": abs(row["starts"][0] - row["starts"][1]) / 2 if row["placed"] else math.nan}
        record |= {
            "split": "",
            "source": 0,
            "row": number + 2,
            "peak_start": row["note"],
            "environment": row["cell_line"],
        }
        record |= {"enhancer_id": 0, "promoter_id": 1, "locus": 0, "mirrored": False, "has_coordinates": row["placed"]}
        record |= {name: row[name] for name in ("potential", "impedance", "logit", "probability")}
        records.append(record | {"probability_low": 0.0, "probability_high": 1.0})
    return pd.DataFrame(records).astype({"label": "int8", "source": "int32"})


def written(format: str, pairs: pd.DataFrame, blocks: int = 1, description: str = "a test") -> bytes:
    """A text format, written in some blocks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"predictions.{format}"
        with open_text(format, path, description=description) as write:
            for part in np.array_split(np.arange(len(pairs)), blocks):
                write(prediction_table(pairs.iloc[part]))
        assert [found.name for found in Path(folder).iterdir()] == [path.name]
        return path.read_bytes()


def pair(**changed: object) -> pd.DataFrame:
    """One pair."""
    row = {"cell_line": "K562", "enhancer_name": "E1", "promoter_name": "GENE1", "chrom": "chr1", "placed": True}
    row |= {"starts": (100, 5000), "lengths": (10, 20), "label": 1, "note": "", "probability": 0.25}
    return made([row | {"potential": 1.5, "impedance": 2.0, "logit": -0.5} | changed])


# -- TSV --------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.lists(ROW, min_size=1, max_size=5), st.integers(1, 3))
def test_tsv_holds_every_row_and_every_digit(rows: list[dict], blocks: int) -> None:
    pairs = made(rows)
    table = prediction_table(pairs)
    header, *lines = parsed(written("tsv", pairs, blocks))
    assert header == table.column_names and len(lines) == len(pairs)
    kinds: dict[str, Callable[[str], object]] = {"bool": {"True": True, "False": False}.__getitem__}
    kinds |= {"int8": int, "int64": int, "float64": float, "str": str}
    for line, wanted in zip(lines, table.to_pylist(), strict=True):
        for name, text in zip(header, line, strict=True):
            value = wanted[name]
            if text == "":
                assert value in ("", -1, None)
            else:
                assert kinds[TYPES.get(name, "str")](text) == value


# -- Parquet ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.lists(ROW, min_size=1, max_size=5))
def test_parquet_holds_every_row_in_the_types_that_are_stated(rows: list[dict]) -> None:
    pairs = made(rows)
    with tempfile.TemporaryDirectory() as folder:
        write_parquet(pairs, Path(folder) / "x.parquet")
        found = pq.read_table(Path(folder) / "x.parquet")
        frame = pd.read_parquet(Path(folder) / "x.parquet")
    wanted = pairs.drop(columns=["source", "enhancer_id", "promoter_id", "locus"])
    assert found.column_names == list(wanted.columns)
    for name in wanted:  # what is not known is null
        assert found[name].to_pylist() == [None if value != value else value for value in wanted[name].tolist()]
    pd.testing.assert_frame_equal(frame, wanted, check_dtype=False)


PAGE = (Path(__file__).parents[2] / "docs" / "prediction.md").read_text()


def test_the_page_states_columns_and_types() -> None:
    stated = {
        name: kind
        for names, kind in re.findall(r"^\| (`[^|]+) \| (text|int8|int64|float64|bool) \|", PAGE, re.MULTILINE)
        for name in re.findall(r"`([a-z_]+)`", names)
    }
    arrow = {"text": "large_string", "float64": "double"}
    schema = prediction_table(pair()).schema
    assert {name: arrow.get(kind, kind) for name, kind in stated.items()} | {"peak_start": "large_string"} == {
        field.name: str(field.type) for field in schema
    }


def test_types_do_not_follow_the_values() -> None:
    """A block of nothing, or of whole numbers only, has the types of any other."""
    schema = prediction_table(pair()).schema
    whole = pair(potential=1, impedance=2, logit=-1, probability=1)
    assert prediction_table(whole.astype({"distance": "int64", "row": "int32"})).schema == schema
    assert prediction_table(pair().astype({"peak_start": object}).head(0)).schema == schema


# -- BEDPE ------------------------------------------------------------------------------------------------------------

BEDPE = [
    *("#chrom1", "start1", "end1", "chrom2", "start2", "end2", "name", "score", "strand1", "strand2"),
    *("environment", "potential", "impedance", "logit"),
]


@settings(deadline=None, max_examples=25)
@given(st.lists(ROW, min_size=1, max_size=5), st.integers(1, 3))
def test_bedpe_holds_the_pairs_with_coordinates_and_no_quoting(rows: list[dict], blocks: int) -> None:
    pairs = made(rows)
    header, *lines = parsed(written("bedpe", pairs, blocks), quoted=False)
    assert header == BEDPE
    placed = pairs[pairs["has_coordinates"]]
    assert len(lines) == len(placed)
    for line, row in zip(lines, placed.to_dict("records"), strict=True):
        assert line[:6] == [str(row[f"{s}_{p}"]) for s in ("enhancer", "promoter") for p in ("chrom", "start", "end")]
        assert line[6] == f"{row['enhancer_name']}_{row['promoter_name']}"
        assert line[8:11] == [".", ".", row["environment"]]
        numbers = [row[name] for name in ("probability", "potential", "impedance", "logit")]
        assert [float(text) for text in (line[7], *line[11:])] == numbers


# -- interact ---------------------------------------------------------------------------------------------------------

FIELDS = [
    *("chrom", "chromStart", "chromEnd", "name", "score", "value", "exp", "color"),
    *("sourceChrom", "sourceStart", "sourceEnd", "sourceName", "sourceStrand"),
    *("targetChrom", "targetStart", "targetEnd", "targetName", "targetStrand"),
]


def tracks(content: bytes) -> tuple[str, list[dict[str, str]]]:
    """The track line and the rows of an interact file, by the rules of the browser: any blank separates fields."""
    track, header, *lines = content.decode().split("\n")
    assert lines.pop() == "" and header == "#" + "\t".join(FIELDS)
    return track, [dict(zip(FIELDS, re.split(r"[ \t\f\v\r]+", line), strict=True)) for line in lines]


def check_fields(row: dict[str, str]) -> None:
    """What the browser asks of each field."""
    assert all(row.values())
    for name in ("chromStart", "chromEnd", "sourceStart", "sourceEnd", "targetStart", "targetEnd", "score"):
        assert re.fullmatch("[0-9]+", row[name])
    assert int(row["chromStart"]) < int(row["chromEnd"]) < 2**32 and 0 <= int(row["score"]) <= 1000
    assert re.fullmatch(r"0|#[0-9A-Fa-f]{6}|\d+,\d+,\d+", row["color"])
    for role in ("source", "target"):
        start, end = int(row[f"{role}Start"]), int(row[f"{role}End"])
        assert int(row["chromStart"]) <= start < end <= int(row["chromEnd"]) and row[f"{role}Chrom"] == row["chrom"]
        assert row[f"{role}Strand"] in "+-." and len(row[f"{role}Name"]) <= 255
    assert len(row["name"]) <= 255 and not math.isnan(float(row["value"]))


@settings(deadline=None, max_examples=25)
@given(st.lists(ROW, min_size=1, max_size=8), st.integers(1, 3))
def test_interact_meets_the_rules_of_the_browser(rows: list[dict], blocks: int) -> None:
    pairs = made(rows)
    _, found = tracks(written("interact", pairs, blocks))
    placed = pairs[pairs["has_coordinates"]]
    key = [(row["chrom"].encode(), int(row["chromStart"])) for row in found]
    assert key == sorted(key) and len(found) == len(placed)
    values, scores = sorted(float(row["value"]) for row in found), sorted(int(row["score"]) for row in found)
    assert values == sorted(placed["logit"]) and scores == sorted(round(1000 * p) for p in placed["probability"])
    for row in found:
        check_fields(row)


def test_a_pair_as_the_browser_reads_it() -> None:
    name = 'my "best"  gene ' + "x" * 300
    _, (row,) = tracks(written("interact", pair(promoter_name=name, cell_line="HepG2 day\u30002", starts=(5000, 100))))
    check_fields(row)
    wanted = {"chrom": "chr1", "chromStart": "100", "chromEnd": "5010", "score": "250", "value": "-0.5"}
    wanted |= {"exp": "HepG2_day_2", "sourceStart": "5000", "targetStart": "100", "sourceName": "E1"}
    assert row == row | wanted and row["targetName"] == ('my_"best"__gene_' + "x" * 300)[:255]


def settings_of(line: str) -> dict[str, str]:
    """Settings of a track line: NAME=VALUE, a value in quotes where it holds blanks."""
    assert re.fullmatch(r'track( [A-Za-z]+=("[^"]*"|[^" ]+))+', line)
    return {name: value.strip('"') for name, value in re.findall(r' ([A-Za-z]+)=("[^"]*"|[^" ]+)', line)}


@given(TEXT)
def test_a_description_cannot_end_the_quotes(text: str) -> None:
    found = settings_of(track_line(f'of "{text}" \\').decode().removesuffix("\n"))
    plain = text.replace('"', "'").replace("\\", "/")
    assert found["type"] == "interact" and found["description"].strip("'") == f"of '{plain}' /".strip("'")
    with pytest.raises(EpisodeError, match="the description of the interact track holds U"):
        track_line(f"{text}\n")


def test_sorting_in_stretches_equals_sorting_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ties stay in the order given; stretches of a few lines, of many blocks."""
    rng = np.random.default_rng(0)
    count = 500
    pairs = pd.concat([pair()] * count, ignore_index=True)
    starts = rng.integers(0, 60, count)
    pairs["enhancer_start"], pairs["enhancer_end"] = starts, starts + 10
    pairs["enhancer_chrom"] = pairs["promoter_chrom"] = rng.choice(["chr1", "chr10", "chr2", "chrM", "2"], count)
    pairs["enhancer_name"] = [f"E{i}" for i in range(count)]
    once = written("interact", pairs, 1)
    order = pairs.assign(start=starts).sort_values(["enhancer_chrom", "start"], kind="stable")["enhancer_name"]
    assert [row["sourceName"] for row in tracks(once)[1]] == order.tolist()
    monkeypatch.setattr(sorting, "LINES", 32)
    monkeypatch.setattr(sorting, "SAMPLE", 4)
    assert written("interact", pairs, 17) == once


# -- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "parquet"])
@pytest.mark.parametrize("column", ["enhancer_name", "promoter_name", "cell_line"])
@pytest.mark.parametrize("text", ["a\tb", "a\nchr1\t1\t2\tchr1\t3\t4", "a\r", "a\u2028b"])
def test_a_name_cannot_forge_a_record(format: str, column: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    with (
        pytest.raises(EpisodeError, match="holds a character that cannot be in a line"),
        open_text(format, path, description="a test") as write,
    ):
        write(prediction_table(pair(**{column: text})))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["bedpe", "interact"])
@pytest.mark.parametrize("chrom", ["#chr1", "track", "browser1", "chr 1", "chr1\u2003"])
def test_a_chromosome_that_is_no_line(format: str, chrom: str) -> None:
    """The line would be a comment, a setting, or be cut at the blank."""
    with pytest.raises(EpisodeError, match="no line of a BEDPE or interact file can begin with it"):
        written(format, pair(chrom=chrom))
    assert written("tsv", pair(chrom=chrom))


def test_pairs_without_a_place_leave_headers_only() -> None:
    assert len(written("bedpe", pair(placed=False)).splitlines()) == 1
    assert len(written("interact", pair(placed=False)).splitlines()) == 2


def test_no_name_of_ours_is_a_formula() -> None:
    """A cell that begins so is one in a spreadsheet; those of the users' files are theirs."""
    header, line = parsed(written("tsv", pair(enhancer_name="=1+1")))
    assert not [name for name in header if name[0] in "=+-@"]
    assert [text for text in line if text and text[0] in "=+-@"] == ["=1+1", "-0.5"]


def test_csv_without_quoting_reads_marks_as_they_are() -> None:
    content = written("bedpe", pair(enhancer_name='"E1', promoter_name='5"UTR')).decode().splitlines()
    assert next(csv.DictReader(content, delimiter="\t", quoting=csv.QUOTE_NONE))["name"] == '"E1_5"UTR'


# -- programs of the field, where they are installed: pip install bioframe pyranges ------------------------------------


@pytest.fixture
def bedpe(tmp_path: Path) -> Path:
    pairs = pd.concat([pair(), pair(chrom="chrX", enhancer_name='an "E"', starts=(70, 9))], ignore_index=True)
    path = tmp_path / "predictions.bedpe"
    path.write_bytes(written("bedpe", pairs))
    return path


WANTED = [["chr1", 100, 110, "chr1", 5000, 5020], ["chrX", 70, 80, "chrX", 9, 29]]


def test_bioframe(bedpe: Path) -> None:
    bioframe = pytest.importorskip("bioframe")
    for table in (
        bioframe.read_table(str(bedpe), schema="bedpe", header=0, usecols=range(10)),
        bioframe.read_table(str(bedpe), schema="bedpe", comment="#", usecols=range(10)),
    ):
        assert table[["chrom1", "start1", "end1", "chrom2", "start2", "end2"]].to_numpy().tolist() == WANTED
        assert table["name"].tolist() == ["E1_GENE1", 'an "E"_GENE1'] and table["score"].tolist() == [0.25, 0.25]
        assert bioframe.is_bedframe(table, cols=("chrom2", "start2", "end2"))


def test_pyranges(bedpe: Path) -> None:
    """It has no reader of BEDPE: an anchor of each pair is a range."""
    pyranges = pytest.importorskip("pyranges")
    table = pd.read_csv(bedpe, sep="\t", quoting=csv.QUOTE_NONE)
    for number, first in ((1, "#chrom1"), (2, "chrom2")):
        columns = {first: "Chromosome", f"start{number}": "Start", f"end{number}": "End"}
        ranges = pyranges.PyRanges(table.rename(columns=columns)).df
        wanted = [row[3 * (number - 1) : 3 * number] for row in WANTED]
        assert ranges[["Chromosome", "Start", "End"]].astype({"Chromosome": str}).to_numpy().tolist() == wanted
