"""Rows keep their meaning: whatever stands beside them, in whatever format, and as exactly as they were given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from episode.cli.main import main
from episode.config import WindowConfig
from episode.data.build import ReadOptions, build_dataset
from episode.data.genome import open_genome
from episode.data.readers import read_pairs
from episode.data.readers.text import RawTable, TextTable
from episode.data.validation import validate
from episode.dna import decode
from episode.errors import EpisodeError, InputError

PLACES = [f"{side}_{part}" for side in ("enhancer", "promoter") for part in ("chrom", "start", "end")]
COLUMNS = ["cell_line", "label", *PLACES]
GOOD = ["K562", "1", "chr1", "100", "200", "chr1", "500", "700"]
WINDOWS = WindowConfig(enhancer=40, promoter=120)


def table(rows: list[list[str]], columns: list[str] | None = None) -> RawTable:
    frame = pd.DataFrame(rows, columns=columns or COLUMNS, dtype="str")
    return RawTable(TextTable("p.tsv", frame, np.arange(2, 2 + len(rows)), ""))


def write(path: str, *rows: str, header: str = "\t".join(COLUMNS)) -> None:
    Path(path).write_text("\n".join([header, *rows]) + "\n")


def changed(**values: str) -> str:
    return "\t".join(values.get(name, good) for name, good in zip(COLUMNS, GOOD, strict=True))


def refusal(path: str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read_pairs(path, **options)  # type: ignore[arg-type]
    return str(caught.value)


# -- a row and its neighbours ------------------------------------------------------------------------------------------

CELLS = st.sampled_from(
    ["K562", "", "nan", "NA", "a:b", "a\tb", "\xa0K", "0", "1", "2", "x", "chr1", "-1", "1e3", "7.0", "2.5", "99"]
)
ROWS = st.lists(st.lists(CELLS, min_size=10, max_size=10), min_size=1, max_size=4)
WIDE = [*COLUMNS, "distance", "note"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, st.booleans(), st.sampled_from([0, 25]))
def test_a_table_is_judged_as_each_of_its_rows_alone(rows: list[list[str]], labels: bool, flank: int) -> None:
    good = [*GOOD, "", ""]
    rows = [[a if i % 2 else b for i, (a, b) in enumerate(zip(row, good, strict=True))] for row in rows] + rows + [good]
    whole = validate(table(rows, WIDE), labels=labels, promoter_flank=flank)
    alone = [validate(table([row], WIDE), labels=labels, promoter_flank=flank) for row in rows]
    kept = pd.concat([part.frame.assign(row=2 + at) for at, part in enumerate(alone)], ignore_index=True)
    pd.testing.assert_frame_equal(whole.frame, kept, check_dtype=True)
    reasons = {
        row: (part.findings.dropped()["column"][0], part.findings.dropped()["reason"][0])
        for row, part in enumerate(alone, start=2)
        if part.findings.total
    }
    dropped = whole.findings.dropped()
    assert dict(zip(dropped["row"], zip(dropped["column"], dropped["reason"], strict=True), strict=True)) == reasons
    assert whole.findings.total == sum(part.findings.total for part in alone)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(*[st.integers(0, 1 << 40)] * 4, st.sampled_from(["", "0", "1"])), min_size=1, max_size=20))
def test_what_is_read_is_what_was_given(tmp_path: Path, rows: list[tuple[int, int, int, int, str]]) -> None:
    """To the last digit, in order, repeats included; text and Parquet alike."""
    places = [["chr1", min(a, b), max(a, b) + 1, "chr1", min(c, d), max(c, d) + 1] for a, b, c, d, _ in rows]
    frame = pd.DataFrame(places, columns=PLACES).assign(cell_line="K562", label=[row[4] for row in rows], note="=1+1")
    frame = frame[frame[["enhancer_end", "promoter_end"]].max(axis="columns") <= 1 << 40].reset_index(drop=True)
    if frame.empty:
        return
    frame.to_csv(tmp_path / "p.tsv", sep="\t", index=False)
    frame.to_parquet(tmp_path / "p.parquet")
    frame.astype(dict.fromkeys([c for c in PLACES if "chrom" not in c], "float64")).to_parquet(tmp_path / "f.parquet")
    for name in ("p.tsv", "p.parquet", "f.parquet"):
        found = read_pairs(tmp_path / name, labels=False).frame
        pd.testing.assert_frame_equal(found[[*PLACES, "note"]], frame[[*PLACES, "note"]], check_dtype=False)
        assert found["label"].tolist() == [int(label or -1) for label in frame["label"]]


def test_a_blank_elsewhere_does_not_change_a_name(here: Path) -> None:
    """Blanks that are no spaces are part of a name, and refused, whether or not another cell holds a space."""
    for note in ("x", "x y"):
        write("p.tsv", "\xa0" + changed() + "\tx", changed() + f"\t{note}", header="\t".join([*COLUMNS, "note"]))
        need = "begins or ends with U+00A0 (no-break space); needs a name without it"
        assert refusal("p.tsv") == f"p.tsv:2: cell_line '\\xa0K562' {need}"


# -- letters that are not bases ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", list("NXx-*7UuRrLn."))
def test_every_letter_but_acgt_is_unknown(here: Path, chromosomes: dict[str, str], letter: str) -> None:
    chr1 = chromosomes["chr1"]
    Path("other.fa").write_text(f">chr1\n{chr1[:100]}{letter * 98}{chr1[198:]}\n")
    write("p.tsv", changed(), changed(enhancer_start="300", enhancer_end="400"))
    genome = open_genome("other.fa")
    with pytest.raises(InputError, match=r"has 98 bases other than A, C, G and T in 100 bp of other\.fa"):
        build_dataset(["p.tsv"], genome, WINDOWS)
    left = build_dataset(["p.tsv"], genome, WINDOWS, ReadOptions(outside_genome="report"))
    assert left.manifest.counts.outside_genome == {"partly unknown bases in the genome": 1}
    whole = WindowConfig(enhancer=0, promoter=0)
    kept = build_dataset(["p.tsv"], genome, whole, ReadOptions(max_unknown=0.98))
    assert kept.elements["n_fraction"].tolist() == pytest.approx([0.98, 0, 0])
    assert (
        build_dataset(["p.tsv"], genome, whole, ReadOptions(max_unknown=0.979, outside_genome="report")).pairs.shape[0]
        == 1
    )


@pytest.mark.parametrize("letter", list("NRnm"))
def test_given_sequences_obey_the_rule_of_the_genome(here: Path, letter: str) -> None:
    header = "cell_line\tlabel\tenhancer_sequence\tpromoter_sequence"
    write("p.tsv", f"K562\t1\t{letter * 98}AC\tACGT", "K562\t0\tACGTACGT\tACGT", header=header)
    need = "has 98 bases other than A, C, G and T in its sequence; needs known bases, or a larger --max-unknown"
    with pytest.raises(InputError, match=need):
        build_dataset(["p.tsv"], None, WINDOWS)
    left = build_dataset(["p.tsv"], None, WINDOWS, ReadOptions(outside_genome="report"))
    assert left.manifest.counts.outside_genome == {"unknown bases in the given sequence": 1}
    assert left.pairs["row"].tolist() == [3] and left.dropped["row"].tolist() == [2]
    both = build_dataset(["p.tsv"], None, WindowConfig(enhancer=0, promoter=0), ReadOptions(max_unknown=0.98))
    assert sorted(both.elements["n_fraction"]) == pytest.approx([0, 0, 0.98])
    # The middle 40 bases, which are all that is read, hold no known one.
    with pytest.raises(InputError, match=need):
        build_dataset(["p.tsv"], None, WINDOWS, ReadOptions(max_unknown=0.98))


def test_letters_whose_capitals_are_dna_are_none(here: Path) -> None:
    header = "cell_line\tlabel\tenhancer_sequence\tpromoter_sequence"
    write("p.tsv", "K562\t1\tACG\u017fACGT\tACGT", header=header)
    assert "holds '\u017f' at base 4" in refusal("p.tsv")


def test_an_element_longer_than_any_is_not_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("episode.data.sequences.ELEMENT_BASES", 150)
    write("p.tsv", changed())
    with pytest.raises(InputError, match="promoter_end '700' is more than 1,000,000 bp past promoter_start"):
        build_dataset(["p.tsv"], open_genome("genome.fa"), WINDOWS)


# -- whose sequence ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["E1", "chr1:100-200"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_name_has_the_dna_of_its_own_table(here: Path, chromosomes: dict[str, str], name: str, turned: bool) -> None:
    promoter = "chr1\t500\t700"
    header = "cell_line\tlabel\tenhancer_name\t{}\tpromoter_chrom\tpromoter_start\tpromoter_end"
    write("a.tsv", f"K562\t1\t{name}\t{'A' * 40}\t{promoter}", header=header.format("enhancer_sequence"))
    places = "\t".join(PLACES[:3])
    write("b.tsv", f"K562\t0\t{name}\tchr1\t100\t200\t{promoter}", header=header.format(places))
    tables = ["b.tsv", "a.tsv"] if turned else ["a.tsv", "b.tsv"]
    found = build_dataset(tables, open_genome("genome.fa"), WINDOWS)
    dna = {
        line: decode(found.sequence(number))
        for line, number in zip(found.pairs["label"], found.pairs["enhancer_id"], strict=True)
    }
    assert dna == {1: "A" * 40, 0: chromosomes["chr1"][130:170].upper()}
    assert found.elements["chrom"].tolist() == ["chr1", "", "chr1"]


def test_two_names_of_one_interval(here: Path) -> None:
    """One element under the smaller name; rows keep theirs, unless they repeat one another."""
    header = "\t".join([*COLUMNS, "promoter_name"])
    write(
        "p.tsv", changed() + "\tG2", changed(label="0", enhancer_start="90") + "\tG1", changed() + "\tG3", header=header
    )
    found = build_dataset(["p.tsv"], open_genome("genome.fa"), WINDOWS)
    assert found.pairs["promoter_name"].tolist() == ["G2", "G1"] and found.manifest.counts.merged_duplicates == 1
    assert found.elements["name"].tolist()[-1] == "G1" and found.manifest.counts.promoters == 1
    predicted = build_dataset(["p.tsv"], open_genome("genome.fa"), WINDOWS, labels=False)
    assert predicted.pairs["promoter_name"].tolist() == ["G2", "G1", "G3"]


# -- columns ----------------------------------------------------------------------------------------------------------


def test_one_column_serves_several_names(here: Path) -> None:
    write(
        "p.tsv", "K562\tchr1\t100\t200\t500\t1", "K562\tchr1\t900\t990\t500\t0", header="cell\tchr\tstart\tend\tTSS\ty"
    )
    columns = {
        "cell_line": "cell",
        "enhancer_start": "start",
        "enhancer_end": "end",
        "label": "y",
        "enhancer_name": "y",
    }
    columns |= {"enhancer_chrom": "chr", "promoter_chrom": "chr", "promoter_start": "TSS", "promoter_end": "TSS"}
    found = read_pairs("p.tsv", columns=columns, promoter_flank=50).frame
    assert found["label"].tolist() == [1, 0] and found["enhancer_name"].tolist() == ["1", "0"]
    assert found["enhancer_chrom"].tolist() == found["promoter_chrom"].tolist() == ["chr1", "chr1"]
    assert found[["promoter_start", "promoter_end"]].to_numpy().tolist() == [[450, 550]] * 2


def test_a_column_with_a_meaning_may_serve_another_too(here: Path) -> None:
    write("p.tsv", changed() + "\tmine", header="\t".join([*COLUMNS, "enhancer_name"]))
    found = read_pairs("p.tsv", columns={"enhancer_name": "label", "assay": "cell_line"}).frame.iloc[0]
    assert (found["label"], found["enhancer_name"], found["assay"], found["cell_line"]) == (1, "1", "K562", "K562")
    assert found["enhancer_name_given"] == "mine"


# -- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column", ["cell_line", "assay", "enhancer_name", "promoter_name", "note", "enhancer_chrom", "split"]
)
@pytest.mark.parametrize("letter", ["\x07", "\x1b", "\x85", "\u200b", "\u2028", "\u202e", "\ufeff"])
@pytest.mark.parametrize("ending", ["tsv", "parquet"])
def test_control_characters_are_refused(here: Path, column: str, letter: str, ending: str) -> None:
    frame = pd.DataFrame([GOOD, GOOD], columns=COLUMNS).assign(**{column: ["fine", f"a{letter}b"]})
    if ending == "tsv":
        frame.to_csv("p.tsv", sep="\t", index=False)
    else:
        frame.to_parquet("p.parquet")
    row = 3 if ending == "tsv" else 2
    for labels in (True, False):
        message = refusal(f"p.{ending}", labels=labels)
        assert f"p.{ending}:{row}: {column} {f'a{letter}b'!r} holds U+{ord(letter):04X}" in message


@pytest.mark.parametrize("name", ["NaN", "NA", "n/a", "None", "null", "<NA>", " nan "])
def test_words_for_a_missing_value_are_no_cell_line(here: Path, name: str) -> None:
    write("p.tsv", changed(cell_line=name))
    assert refusal("p.tsv") == f"p.tsv:2: cell_line {name.strip()!r} is not the name of a cell line"


def test_names_are_bounded(here: Path) -> None:
    write("p.tsv", changed(cell_line="K" * 1001) + "\t" + "n" * 5000, header="\t".join([*COLUMNS, "note"]))
    assert refusal("p.tsv").endswith("has 1,001 characters; needs at most 1,000")
    write("p.tsv", changed(cell_line="K" * 1000) + "\t" + "n" * 5000, header="\t".join([*COLUMNS, "note"]))
    assert read_pairs("p.tsv").frame["note"].tolist() == ["n" * 5000]
    for name, need in (("no\x07te", "holds U+0007"), ("n" * 1001, "has 1,001 characters")):
        write("p.tsv", changed() + "\tx", header="\t".join([*COLUMNS, name]))
        message = refusal("p.tsv")
        assert message.startswith("p.tsv:1: the name ") and need in message and len(message) < 300


# -- numbers ----------------------------------------------------------------------------------------------------------

VAGUE = "is in scientific notation, so digits may be lost"
INEXACT = ["5.12346e+07", "1e5", "1E+05", "5e7", "-1e3"]
NO_NUMBER = [
    "1,234,567",
    "+5",
    "0x10",
    "\uff11\uff12",
    "\u0663",
    "1_000",
    "1.5",
    "",
    "nan",
    "inf",
    "9" * 16,
    "1 0",
    "\xa012",
    "1.0e",
    ".",
]


@pytest.mark.parametrize(
    ("text", "need"),
    [
        *((text, VAGUE) for text in INEXACT),
        *((text, "is not a whole number") for text in NO_NUMBER),
        ("1099511627777", "is past any position; needs at most 1099511627776"),
    ],
)
def test_positions_that_may_not_be_exact(here: Path, text: str, need: str) -> None:
    write("p.tsv", changed(enhancer_start=text))
    assert refusal("p.tsv").startswith(f"p.tsv:2: enhancer_start {text!r} {need}")


@pytest.mark.parametrize("text", ["123", "123.0", "123.", "123.000", " 123 ", "000123"])
def test_positions_that_are_exact(here: Path, text: str) -> None:
    write("p.tsv", changed(enhancer_start=text))
    assert read_pairs("p.tsv").frame["enhancer_start"].tolist() == [123]


@pytest.mark.parametrize(
    ("kind", "start", "exact"),
    [
        ("float64", 51_234_567, True),
        ("float64", 1 << 39, True),
        ("float32", 16_777_215, True),
        ("float32", 51_234_568, False),
        ("float16", 2047, True),
        ("float16", 4096, False),
        ("int32", 51_234_567, True),
        ("uint64", 51_234_567, True),
    ],
)
def test_numbers_of_parquet(here: Path, kind: str, start: int, exact: bool) -> None:
    frame = pd.DataFrame([GOOD], columns=COLUMNS).assign(
        enhancer_start=np.array([start], dtype=kind), enhancer_end=1 << 39 | 1
    )
    frame.to_parquet("p.parquet")
    if exact:
        assert read_pairs("p.parquet").frame["enhancer_start"].tolist() == [start]
    else:
        assert VAGUE in refusal("p.parquet")


def test_carried_numbers_of_parquet_keep_their_digits(here: Path) -> None:
    values = [0.1, 1e300, 2.0**60, -3.0, np.nan, 12345678.0]
    frame = pd.DataFrame([GOOD] * 6, columns=COLUMNS).assign(score=values, label="")
    frame.to_parquet("p.parquet")
    found = read_pairs("p.parquet", labels=False).frame["score"]
    assert found.tolist()[3:] == ["-3", "", "12345678"]
    assert [float(text) for text in found[:3]] == values[:3]


@pytest.mark.parametrize("text", ["2", "True", "yes", "1e0", "+1", "\uff11", "-0", "0x1", "1_0"])
def test_labels_are_digits(here: Path, text: str) -> None:
    write("p.tsv", changed(label=text))
    assert refusal("p.tsv") == f"p.tsv:2: label {text!r} is not 0, 1 or empty (unknown)"


# -- points -----------------------------------------------------------------------------------------------------------


def test_points_need_a_flank(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        "p.tsv",
        changed(promoter_end="500"),
        changed(label="0", promoter_start="20", promoter_end="20"),
        changed(label="0"),
    )
    advice = "; --promoter-flank BP takes BP bases on either side of a point"
    assert (
        refusal("p.tsv")
        == f"p.tsv:2: promoter_end '500' is not past promoter_start 500{advice}; the same in 1 more row: 3 ('20')"
    )
    build = ["data", "build", "p.tsv", "--genome", "genome.fa", "--out", "out", "--promoter-flank"]
    assert main([*build, "30"]) == 0
    found = pd.read_parquet("out/pairs.parquet")[["promoter_start", "promoter_end"]]
    assert found.to_numpy().tolist() == [[470, 530], [0, 50], [500, 700]]
    capsys.readouterr()
    for flank in ("-1", "500001"):
        with pytest.raises(EpisodeError, match=f"promoter_flank is {flank}; needs 0 to 500,000 bp"):
            ReadOptions(promoter_flank=int(flank))


def test_an_enhancer_is_no_point(here: Path) -> None:
    write("p.tsv", changed(enhancer_end="100"))
    assert refusal("p.tsv", promoter_flank=9) == "p.tsv:2: enhancer_end '100' is not past enhancer_start 100"


# -- labels that are not read -----------------------------------------------------------------------------------------


def test_labels_and_splits_of_pairs_to_predict_are_carried(here: Path) -> None:
    header = "\t".join([*COLUMNS, "split"])
    write("p.tsv", changed(label="loop") + "\tleft", changed() + "\tleft", changed(label="0.0") + "\t", header=header)
    assert refusal("p.tsv").splitlines()[0] == "p.tsv:2: label 'loop' is not 0, 1 or empty (unknown)"
    found = read_pairs("p.tsv", labels=False)
    assert found.frame["label"].tolist() == [-1, 1, 0] and found.merged == 0
    assert found.frame["label_given"].tolist() == ["loop", "1", "0.0"]
    assert found.frame["split"].tolist() == ["left", "left", ""]


# -- many rows --------------------------------------------------------------------------------------------------------


def spoiled(rows: int, spoil: str) -> tuple[str, int]:
    """Message and number of dropped rows of a table of so many bad rows."""
    at = np.arange(rows)
    frame = pd.DataFrame({"cell_line": "K562", "label": at % 2, "enhancer_chrom": "chr1", "enhancer_start": at // 2})
    frame = frame.assign(enhancer_end=at // 2 + 9, promoter_chrom="chr1", promoter_start=5, promoter_end=9).astype(
        "str"
    )
    if spoil != "conflict":
        frame = frame.assign(label="1", enhancer_start=at.astype(str), enhancer_end=(at + 9).astype(str))
        frame = frame.assign(**{spoil: "chr7" if spoil == "enhancer_chrom" else "x"})
        frame["promoter_chrom"] = frame["enhancer_chrom"]
    frame.loc[len(frame)] = GOOD
    path = Path("many.tsv")
    frame.to_csv(path, sep="\t", index=False)
    found = build_dataset([path], open_genome("genome.fa"), WINDOWS, ReadOptions(on_invalid="drop"))
    with pytest.raises(InputError) as caught:
        build_dataset([path], open_genome("genome.fa"), WINDOWS)
    return str(caught.value), len(found.dropped)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        ("conflict", "2: label '0' conflicts with 1 for the same pair at many.tsv:3"),
        ("enhancer_chrom", "is not in genome.fa"),
        ("enhancer_end", "2: enhancer_end 'x' is not a whole number"),
    ],
)
def test_twenty_thousand_bad_rows(here: Path, spoil: str, line: str) -> None:
    message, dropped = spoiled(20_000, spoil)
    assert dropped == 20_000 and line in message and "the same in 19,999 more rows" in message
    assert len(message) < 1000


# -- the wrong genome -------------------------------------------------------------------------------------------------


def test_most_rows_miss_the_genome(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [changed(promoter_start="5000", promoter_end=str(5100 + number)) for number in range(30)]
    write("p.tsv", changed(), changed(label="0", enhancer_start="7"), *rows)
    build = ["data", "build", "p.tsv", "--genome", "genome.fa", "--out", "out"]
    assert main(build) == 2
    asked = "30 of 32 pairs lie outside genome.fa; is it the right genome, by species and build?"
    assert capsys.readouterr().err.splitlines()[0] == f"error: {asked}"
    assert main([*build, "--outside-genome", "report"]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"warning: {asked}\n"
    assert "30 rows were left out: position past the end of the chromosome" in printed.out


def test_few_rows_miss_the_genome(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("p.tsv", changed(), changed(promoter_end="5100"))
    build = ["data", "build", "p.tsv", "--genome", "genome.fa", "--out", "out", "--outside-genome", "report"]
    assert main(build) == 0 and capsys.readouterr().err == ""
