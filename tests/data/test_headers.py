"""Where a header is, what is guessed without one, and what a file is that is no table of pairs."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from episode import limits
from episode.cli.main import main
from episode.data.pairs import environment_names
from episode.data.readers import content, read_pairs
from episode.errors import EpisodeError

HEADER = "#chrom1\tstart1\tend1\tchrom2\tstart2\tend2\tname\tscore\tstrand1\tstrand2\tself_promoter\tlabel\n"
ROWS = (
    "chr1\t100\t200\tchr1\t500\t700\ta\t0.9\t.\t.\t0\t1\n",
    "chr1\t300\t400\tchr1\t500\t700\tb\t0.1\t.\t.\t1\t0\n",
)
TIDY = "cell_line\tlabel\tenhancer_chrom\tenhancer_start\tenhancer_end\tpromoter_chrom\tpromoter_start\tpromoter_end\n"
TIDY_ROWS = ("K562\t1\tchr1\t100\t200\tchr1\t500\t700\n", "K562\t0\tchr1\t300\t400\tchr1\t500\t700\n")
BENGI = "1\t400\tchr1\t100\t200\te\tchr1\t500\t700\tp\n"


def put(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def message(path: Path, **options: str) -> str:
    """Return why a table is refused, without its path."""
    with pytest.raises(EpisodeError) as caught:
        read_pairs(path, **options)  # type: ignore[arg-type]
    return str(caught.value).removeprefix(str(path))


def columns(**names: str) -> dict[str, str]:
    return names


BEDPE = {
    "as it is": HEADER + "".join(ROWS),
    "comment above": "## pipeline v2\n" + HEADER + "".join(ROWS),
    "comment below": HEADER + "# juicer_tools version 1.22.01\n" + "".join(ROWS),
    "comments and blank lines": "\n#\n\n" + HEADER + "\n#\n" + "\n# of a row\n".join(ROWS) + "# end\n",
    "no mark": HEADER[1:] + "# below\n" + "".join(ROWS),
    "track line": "track name=loops\nbrowser position chr1:1-9\n" + HEADER + "".join(ROWS),
    "again between": HEADER + ROWS[0] + HEADER + ROWS[1],
    "row commented out": HEADER + "#" + ROWS[1].replace("300", "310") + "".join(ROWS),
}


@pytest.mark.parametrize("text", BEDPE.values(), ids=BEDPE.keys())
def test_header_of_bedpe_is_found(tmp_path: Path, text: str) -> None:
    frame = read_pairs(put(tmp_path, "loops.bedpe", text), cell_line="K562").frame
    assert frame[["cell_line", "label", "enhancer_start", "self_promoter"]].to_numpy().tolist() == [
        ["K562", 1, 100, "0"],
        ["K562", 0, 300, "1"],
    ]


def test_header_of_bedpe_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    short = put(tmp_path, "short.bedpe", "# by x\n" + HEADER.replace("\tlabel", "") + "".join(ROWS))
    assert message(short, cell_line="K") == ":2: names 11 columns where most rows have 12 values; needs as many"
    other = HEADER.replace("self_promoter\tlabel", "label\tself_promoter")
    two = put(tmp_path, "two.bedpe", HEADER + ROWS[0] + other + ROWS[1])
    assert message(two, cell_line="K") == ":3: is a header between the rows; needs one table in a file"


def test_first_row_that_is_cut_does_not_hide_the_header(tmp_path: Path) -> None:
    path = put(tmp_path, "cut.bedpe", HEADER + ROWS[0].replace("\t1\n", "\n") + ROWS[0] + ROWS[1])
    assert message(path, cell_line="K562") == ":2: has 11 tab-separated fields, needs 12"


def test_anchors_go_by_name_where_the_header_names_them(tmp_path: Path) -> None:
    names = "promoter_chrom\tpromoter_start\tpromoter_end\tenh_chrom\tenh_start\tenh_end\tlabel\n"
    row = "chr1\t500\t700\tchr1\t100\t200\t1\n"
    frame = read_pairs(put(tmp_path, "named.bedpe", "#" + names + row), cell_line="K").frame
    assert frame[["enhancer_start", "promoter_start"]].to_numpy().tolist() == [[100, 500]]
    for turned in (
        names.replace("promoter_chrom", "x"),
        "#tss_c\ta\tb\tc\td\te\tlabel\n",
        "#a\tb\tc\tenh\td\te\tlabel\n",
    ):
        told = message(put(tmp_path, "turned.bedpe", turned + row), cell_line="K")
        assert told.startswith(": has a header whose names do not say the enhancer first, the promoter second")


def test_anchors_can_be_turned(tmp_path: Path) -> None:
    path = put(tmp_path, "loops.bedpe", HEADER + "".join(ROWS))
    parts = ("chrom", "start", "end")
    turned = {f"promoter_{part}": f"{part}1" for part in parts} | {f"enhancer_{part}": f"{part}2" for part in parts}
    frame = read_pairs(path, cell_line="K", columns=turned).frame
    assert frame[["enhancer_start", "promoter_start"]].to_numpy().tolist() == [[500, 100], [500, 300]]


@pytest.mark.parametrize(
    "head",
    [
        "chrom1\tstart1\tend1\tchrom2\tstart2\tend2\tcount",
        "#chr1\tx1\tx2\tchr2\ty1\ty2\tobserved",
        "BIN1_CHR\tBIN1_START\tBIN1_END\tBIN2_CHROMOSOME\tBIN2_START\tBIN2_END\tFDR",
    ],
    ids=["cooltools", "HiCCUPS", "Mustache"],
)
def test_lists_of_loop_callers_are_read(tmp_path: Path, head: str) -> None:
    text = head + "\n# juicer_tools version 1.22.01\nchr1\t100\t200\tchr1\t500\t700\t7\n"
    frame = read_pairs(put(tmp_path, "loops.tsv", text), cell_line="K").frame
    assert frame[["enhancer_start", "promoter_end", head.split("\t")[-1]]].to_numpy().tolist() == [[100, 700, "7"]]


def test_quotes_are_letters_in_bedpe_and_bengi(tmp_path: Path) -> None:
    text = "".join(ROWS).replace("\ta\t", '\t"a\t').replace("\tb\t", '\tb"\t')
    frame = read_pairs(put(tmp_path, "loops.bedpe", HEADER + text), cell_line="K").frame
    assert list(frame["name"]) == ['"a', 'b"']
    bengi = read_pairs(put(tmp_path, "a.tsv", BENGI.replace("e", '"e') + BENGI.replace("100", "50")), cell_line="K")
    assert list(bengi.frame["enhancer_annotation"]) == ['"e', "e"]


def test_without_header_little_is_guessed_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = put(tmp_path, "igv.bedpe", "".join(row.replace("\t0\t1\n", "\t1\tA\n") for row in ROWS[:1]))
    frame = read_pairs(path).frame
    assert (list(frame["cell_line"]), list(frame["label"])) == (["A"], [1])
    assert caplog.messages == [f"{path}: has no header: column_11 is read as label, column_12 is read as cell_line"]
    caplog.clear()
    frame = read_pairs(path, cell_line="K562").frame
    assert frame[["cell_line", "label", "column_11", "column_12"]].to_numpy().tolist() == [["K562", -1, "1", "A"]]
    kept = "carried through, not read as label or cell line (--column label=column_11 would)"
    assert caplog.messages == [f"{path}: has no header: column_11, column_12 {kept}"]
    assert list(read_pairs(path, cell_line="K", columns={"label": "column_11"}).frame["label"]) == [1]
    assert caplog.messages[1] == f"{path}: has no header: column_12 {kept}"
    caplog.clear()
    read_pairs(path, cell_line="K", columns={"label": "column_11", "assay": "column_12"})
    assert caplog.messages == []


def test_anchors_read_by_place_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = put(tmp_path, "own.bedpe", "a\tb\tc\td\te\tf\nchr1\t100\t200\tchr1\t500\t700\n")
    assert list(read_pairs(path, cell_line="K").frame["enhancer_start"]) == [100]
    assert caplog.messages == [f"{path}: a, b, c are read as the enhancer, d, e, f as the promoter, by their places"]


def test_format_that_the_rows_do_not_have(tmp_path: Path) -> None:
    loops = put(tmp_path, "loops.bedpe", HEADER + "".join(ROWS))
    for format in ("tidy", "bengi"):
        told = message(loops, format=format, cell_line="K")
        assert told == ": looks like BEDPE; give --format bedpe, or no --format"
    named = put(tmp_path, "a.tsv", "#l\td\tc1\ts1\te1\tn1\tc2\ts2\te2\tn2\n" + BENGI)
    assert message(named, cell_line="K").endswith("or --format bengi to read the columns by place")
    assert len(read_pairs(named, format="bengi", cell_line="K").frame) == 1


@pytest.mark.parametrize(
    ("name", "options", "environment"),
    [
        ("GM12878.HiC-Benchmark.v3.tsv", {}, "GM12878:HiC"),
        ("GM12878.HiC-Benchmark.v3.tsv", {"assay": "X"}, "GM12878:X"),
        ("GM12878.HiC-Benchmark.v3.tsv", {"cell_line": "K562"}, "K562"),
        ("mcf7.train.tsv", {"cell_line": "MCF7"}, "MCF7"),
        ("mouse_EPI.v1.tsv", {"cell_line": "CH12", "assay": "ChIA"}, "CH12:ChIA"),
    ],
)
def test_assay_from_the_file_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, options: dict[str, str], environment: str
) -> None:
    table = read_pairs(put(tmp_path, name, BENGI), **options)  # type: ignore[arg-type]
    assert list(environment_names(table.frame)) == [environment]
    assert len(caplog.messages) == ("cell_line" not in options)
    assert all("taken from the file name" in said for said in caplog.messages)


@pytest.mark.parametrize("name", ["mcf7.train.tsv", "mouse_EPI.v1.tsv", "K562.hg19.txt", "K562.TEST-Benchmark.v2.tsv"])
def test_split_or_version_is_no_assay(tmp_path: Path, name: str) -> None:
    assert message(put(tmp_path, name, BENGI)).startswith(": does not say its cell line")


TIDY_WAYS = {
    "comments": "# made by x\n#\n" + TIDY + "".join(TIDY_ROWS),
    "marked header": "# made by\tx\n#" + TIDY + "# units: bp\n" + "".join(TIDY_ROWS),
    "between": TIDY + "# a word\n".join(TIDY_ROWS) + "# end\n",
    "case": TIDY.replace("label", "Label").replace("cell_line", "CELL_LINE") + "".join(TIDY_ROWS),
    "sep=": "sep=,\n" + (TIDY + "".join(TIDY_ROWS)).replace("\t", ","),
    "empty cells below": (TIDY + "".join(TIDY_ROWS)).replace("\t", ",") + ",,,,,,,\n",
    "quotes": (TIDY + "".join(TIDY_ROWS)).replace("K562\t", '"K562"\t').replace("cell_line", '"cell_line"'),
}


@pytest.mark.parametrize("text", TIDY_WAYS.values(), ids=TIDY_WAYS.keys())
def test_header_of_a_tidy_table_is_found(tmp_path: Path, text: str) -> None:
    frame = read_pairs(put(tmp_path, "pairs.tsv", text)).frame
    assert frame[["cell_line", "label", "enhancer_start"]].to_numpy().tolist() == [["K562", 1, 100], ["K562", 0, 300]]


REFUSED = {
    "commented row": (
        TIDY + "#" + "".join(TIDY_ROWS),
        ":2: starts with '#': remove the line if it is a comment, put the value in quotes if it is one",
    ),
    "marked header of other width": (
        "#" + TIDY.replace("label\t", "") + "".join(TIDY_ROWS),
        ":1: names 7 columns where most rows have 8 values; needs as many",
    ),
    "names that differ by case": (
        TIDY.replace("label", "Label\tLABEL") + "".join(TIDY_ROWS).replace("\tchr1\t1", "\t\tchr1\t1"),
        ": has columns 'Label' and 'LABEL', each of which may be label; give --column label=NAME",
    ),
    "control character": (
        TIDY.replace("label", "la\x1bbel") + "".join(TIDY_ROWS),
        ":1: the name of column 2, 'la\\x1bbel', holds U+001B (control character) at character 3; needs plain text",
    ),
    "row names": (
        TIDY + "".join(f"{i}\t{row}" for i, row in enumerate(TIDY_ROWS)),
        ":1: names 8 columns where every row has 9 values; needs as many (in R, write.table without row.names)",
    ),
    "no header": (
        "".join(TIDY_ROWS),
        ":1: holds values where the names of the columns should be; needs a header line",
    ),
    "quote alone": ('"', ":1: cannot be split into values: it opens a quote that does not close on the line"),
    "open quote": (
        TIDY + '"' + "".join(TIDY_ROWS),
        ":2: cannot be split into values: it opens a quote that does not close on the line",
    ),
    "mark alone": ("\ufeff", ": is empty; needs at least one pair"),
    "mark and line end": ("\ufeff\n", ": is empty; needs at least one pair"),
    "comments alone": ("# a\n#b\n", ": has a header but no rows; needs at least one pair"),
    "semicolons": (
        (TIDY + "".join(TIDY_ROWS)).replace("\t", ";"),
        ":1: separates columns by semicolons; needs a tab or a comma between",
    ),
    "names of its own": (
        "chr_p\tstart_p\tend_p\tchr_e\tstart_e\tend_e\nchr1\t500\t700\tchr1\t100\t200\n",
        ": names its columns in a way that is not known; give --column NAME=OTHER for each column that is needed "
        "(see docs/formats.md), or --format bedpe to read columns 1 to 3 as the enhancer, 4 to 6 as the promoter",
    ),
    "too many columns": (
        TIDY.strip() + "".join(f"\tc{i}" for i in range(5000)) + "\n" + TIDY_ROWS[0],
        f":1: has 5,008 columns; needs at most {limits.COLUMNS:,}",
    ),
    "too many values": (
        ROWS[0].strip() + "\tx" * limits.COLUMNS + "\n",
        f":1: has 1,012 columns; needs at most {limits.COLUMNS:,}",
    ),
}


@pytest.mark.parametrize(("text", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_table_that_cannot_be_read_is_named(tmp_path: Path, text: str, told: str) -> None:
    assert message(put(tmp_path, "pairs.tsv", text)) == told


def test_one_bad_quote_costs_one_row(tmp_path: Path) -> None:
    table = read_pairs(put(tmp_path, "pairs.tsv", TIDY + '"' + "".join(TIDY_ROWS)), on_invalid="drop")
    assert (list(table.frame["row"]), list(table.dropped["row"])) == ([3], [2])


def test_long_quoted_sequence(tmp_path: Path) -> None:
    text = f'cell_line,enhancer_sequence,promoter_sequence\nK562,"{"ACGT" * 50_000}",ACGT\n'
    sequences = read_pairs(put(tmp_path, "pairs.csv", text)).sequences["enhancer"]
    assert [len(sequence) for sequence in sequences.values()] == [200_000]


INTERVALS = "chr1\t100\t150\tn\t500\t.\t3.1\t4.2\t-1"
FOREIGN: dict[str, tuple[str | bytes, str]] = {
    "narrowPeak": (INTERVALS + "\t25\n", "looks like narrowPeak: one interval in a row"),
    "broadPeak": (INTERVALS + "\n", "looks like broadPeak: one interval in a row"),
    "bed3": ("chr1\t1\t2\nchr1\t5\t9\n", "looks like BED: one"),
    "bed6": ("#gene list\nchr1\t1\t2\tn\t0\t+\n", "looks like BED: one"),
    "bed12": ("chr1\t1\t200\tn\t0\t+\t1\t200\t0\t1\t199,\t0,\n", "looks like BED: one"),
    "bedGraph": ("track type=bedGraph\nchr1\t1\t2\t0.5\n", "looks like bedGraph"),
    "gtf": ('chr1\tH\tgene\t1\t9\t.\t+\t.\tgene_id "E1"; x "y";\n', "looks like GTF (gene annotation)"),
    "gff": ("chr1\tH\tgene\t1\t9\t.\t+\t.\tID=g\n", "looks like GFF (gene annotation)"),
    "gff3": ("##gff-version 3\nchr1\tH\tgene\t1\t9\t.\t+\t.\tID=g\n", "is GFF (gene annotation)"),
    "vcf": ("##fileformat=VCFv4.2\n#CHROM\tPOS\n", "is VCF (variants), not pairs"),
    "vcf without header": ("chr1\t9\t.\tA\tT\t.\tPASS\t.\n", "looks like VCF"),
    "longrange": ("chr1\t1\t2\tchr1:5-9,3\n", "looks like WashU longrange, not pairs"),
    "fasta": (">chr1\nACGT\n", "is FASTA (sequences), not pairs; a genome is given by --genome"),
    "sam": ("@HD\tVN:1.6\n", "is SAM"),
    "pairs": ("## pairs format v1.0\n", "holds Hi-C contacts of single reads"),
    "wiggle": ("track type=wiggle_0\nfixedStep chrom=chr1 start=1\n1\n", "is wiggle"),
    "html": ("\n<!DOCTYPE html>\n", "is a web page (HTML)"),
    "json": ('{"a": 1}', "is JSON"),
    "lfs": ("version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    "xlsx": (b"PK\x03\x04\0\0", "is a ZIP file, as Excel's .xlsx is"),
    "bam": (gzip.compress(b"BAM\x01\0"), "holds aligned reads (BAM or CRAM)"),
    "cool": (b"\x89HDF\r\n", "is HDF5, as .cool"),
    "twobit": (b"\x43\x27\x41\x1a\0", "is a 2bit genome; a genome is given by --genome"),
    "utf16": (TIDY.encode("utf-16"), "is UTF-16"),
    "twice": (gzip.compress(gzip.compress(TIDY.encode())), "is gzip in gzip"),
    "parquet": (b"PAR1\x15", "is Parquet, which is read as a tidy table from files named *.parquet"),
    "abc": (
        "chr\tstart\tend\tTargetGeneTSS\tCellType\nchr1\t1\t9\t100\tK562\n",
        "looks like predictions of the ABC model: give --column enhancer_chrom=chr --column enhancer_start=start",
    ),
    "interact": (
        "track type=interact\n#chrom\tchromStart\tchromEnd\tname\tscore\tvalue\texp\tcolor\tsourceChrom\tsourceStart"
        "\tsourceEnd\tsourceName\tsourceStrand\ttargetChrom\ttargetStart\ttargetEnd\ttargetName\ttargetStrand\n"
        "chr1\t1\t9\t.\t5\t0.1\tK\t0\tchr1\t1\t2\te\t.\tchr1\t5\t9\tp\t.\n",
        "looks like UCSC interact: give --column enhancer_chrom=sourceChrom",
    ),
}


@pytest.mark.parametrize(("text", "told"), FOREIGN.values(), ids=FOREIGN.keys())
def test_file_of_another_kind_is_named_in_one_line(tmp_path: Path, text: str | bytes, told: str) -> None:
    found = message(put(tmp_path, "table.txt", text), cell_line="K562")
    assert found.startswith(f": {told}")
    assert "\n" not in found


def test_interact_is_read_as_its_message_says(tmp_path: Path) -> None:
    text = FOREIGN["interact"][0]
    path = put(tmp_path, "table.txt", text)
    words = message(path, cell_line="K").split(" --column ")[1:]
    asked = dict(word.split("=") for word in [words[0], *words[1:]])
    asked |= dict([message(path, cell_line="K").split("--column ")[1].strip().split("=")])
    frame = read_pairs(path, cell_line="K", columns=asked).frame
    assert frame[["enhancer_end", "promoter_start"]].to_numpy().tolist() == [[2, 5]]


def test_one_column_serves_two_names(tmp_path: Path) -> None:
    names = TIDY.replace("enhancer_chrom", "chr").replace("promoter_chrom", "note")
    asked = {"enhancer_chrom": "chr", "promoter_chrom": "CHR"}
    frame = read_pairs(put(tmp_path, "pairs.tsv", names + "".join(TIDY_ROWS)), columns=asked).frame
    assert frame[["enhancer_chrom", "promoter_chrom", "note"]].to_numpy().tolist() == [["chr1", "chr1", "chr1"]] * 2


def test_gzip_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress((TIDY + TIDY_ROWS[0] * 100_000).encode())
    monkeypatch.setattr(content, "UNCHECKED_BYTES", 1 << 20)
    monkeypatch.setattr(content, "GZIP_RATIO", 20)
    path = put(tmp_path, "pairs.tsv.gz", packed)
    assert message(path) == (
        f": unpacks from {len(packed):,} to more than {1 << 20:,} bytes, which no table of pairs does; "
        "unpack it first if it is meant"
    )
    monkeypatch.setattr(content, "TABLE_BYTES", 1000)
    assert message(path).startswith(f": has {len(packed):,} bytes; needs at most 1,000")


def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    again = "cannot be read again; save the rows to a file and give that"
    os.mkfifo(tmp_path / "fifo.tsv")
    os.mkfifo(tmp_path / "fifo.parquet")
    assert message(tmp_path / "fifo.tsv") == f": is a pipe, which {again}"
    assert message(tmp_path / "fifo.parquet") == f": is a pipe, which {again}"
    assert message(Path("/dev/zero")) == ": is a device; needs a table in a file"
    assert message(tmp_path / ("x" * 300)).startswith(": cannot be read (File name too long)")
    (tmp_path / "loop.tsv").symlink_to("loop.tsv")
    assert message(tmp_path / "loop.tsv").startswith(": cannot be read (Too many levels")
    reading, writing = os.pipe()
    try:
        assert message(Path(f"/dev/fd/{reading}")) == f": is a pipe, which {again}"
    finally:
        os.close(reading)
        os.close(writing)


def test_standard_input_from_a_file_can_be_read(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as stream:
        stream.write((TIDY + "".join(TIDY_ROWS)).encode())
        stream.flush()
        assert len(read_pairs(Path(f"/dev/fd/{stream.fileno()}")).frame) == 2


def parquet(path: Path, change: str = "") -> Path:
    table = pa.Table.from_pandas(pd.read_csv(io.StringIO(TIDY + "".join(TIDY_ROWS)), sep="\t"), preserve_index=False)
    if change:
        table = table.append_column(change, table["label"])
    pq.write_table(table, path)
    return path


def test_columns_of_parquet_are_checked(tmp_path: Path) -> None:
    path = parquet(tmp_path / "pairs.parquet", "zzzzzz")
    path.write_bytes(path.read_bytes().replace(b"zzzzzz", b"zz\xff\xfezz"))
    assert message(path).startswith(": has a column whose name is not UTF-8 (b'zz")
    assert "names column 'label' more than once" in message(parquet(path, "label"))
    assert "the name of column 9, 'a\\nb', holds U+000A" in message(parquet(path, "a\nb"))
    wide = pa.table({f"c{i}": ["x"] for i in range(1001)})
    pq.write_table(wide, path)
    assert message(path) == f":1: has 1,001 columns; needs at most {limits.COLUMNS:,}"


def test_text_of_parquet_that_is_not_utf8(tmp_path: Path) -> None:
    table = pq.read_table(parquet(tmp_path / "pairs.parquet"))
    offsets = pa.py_buffer(bytes([0, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0]))
    note = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"chr\xffchr1")])
    pq.write_table(table.append_column("note", note), tmp_path / "pairs.parquet")
    assert message(tmp_path / "pairs.parquet") == ": column 'note' holds text that is not UTF-8"


def test_notes_reach_the_terminal(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(here, "K562.HiC.tsv", BENGI)
    assert main(["data", "build", "K562.HiC.tsv", "--genome", "genome.fa", "--out", "out"]) == 0
    assert caplog.messages == ["K562.HiC.tsv: cell line K562 and assay HiC: taken from the file name"]
