"""Each kind of bad input: the exact message, exit code 2, and nothing written."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pandas as pd
import pytest

from episode.cli.main import main

HEADER = (
    "cell_line\tlabel\tenhancer_chrom\tenhancer_start\tenhancer_end\tpromoter_chrom\tpromoter_start\tpromoter_end\n"
)
GOOD = "K562\t1\tchr1\t100\t200\tchr1\t500\t700\n"
GOOD_TOO = "K562\t0\tchr1\t100\t200\tchr1\t900\t1000\n"


def build(*arguments: str) -> int:
    return main(["data", "build", *arguments, "--genome", "genome.fa", "--out", "out"])


def refused(here: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the message of a build that must fail and leave nothing behind."""
    before = sorted(here.iterdir())
    assert build(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert sorted(here.iterdir()) == before
    return captured.err.removeprefix("error: ").removesuffix("\n")


ROWS = {
    "label_two": (
        "K562\t2\tchr1\t100\t200\tchr1\t500\t700\n",
        "label '2' is not 0, 1 or empty (unknown)",
    ),
    "label_nan": (
        "K562\tNaN\tchr1\t100\t200\tchr1\t500\t700\n",
        "label 'NaN' is not 0, 1 or empty (unknown)",
    ),
    "label_inf": (
        "K562\tinf\tchr1\t100\t200\tchr1\t500\t700\n",
        "label 'inf' is not 0, 1 or empty (unknown)",
    ),
    "no_cell_line": (
        "\t1\tchr1\t100\t200\tchr1\t500\t700\n",
        "cell_line is empty; needs the name of a cell line",
    ),
    "nan_cell_line": (
        "NaN\t1\tchr1\t100\t200\tchr1\t500\t700\n",
        "cell_line 'NaN' is not the name of a cell line",
    ),
    "colon": (
        "K:562\t1\tchr1\t100\t200\tchr1\t500\t700\n",
        "cell_line 'K:562' holds ':', which is kept for cell_line:assay",
    ),
    "reversed": (
        "K562\t1\tchr1\t100\t200\tchr1\t120\t90\n",
        "promoter_end '90' is not past promoter_start 120",
    ),
    "empty_interval": (
        "K562\t1\tchr1\t100\t100\tchr1\t120\t190\n",
        "enhancer_end '100' is not past enhancer_start 100",
    ),
    "negative": (
        "K562\t1\tchr1\t-5\t100\tchr1\t120\t190\n",
        "enhancer_start '-5' is negative; positions are 0-based",
    ),
    "nan": (
        "K562\t1\tchr1\tnan\t100\tchr1\t120\t190\n",
        "enhancer_start 'nan' is not a whole number (0-based position)",
    ),
    "infinite": (
        "K562\t1\tchr1\t1\tinf\tchr1\t120\t190\n",
        "enhancer_end 'inf' is not a whole number (0-based position)",
    ),
    "fraction": (
        "K562\t1\tchr1\t1\t10.5\tchr1\t120\t190\n",
        "enhancer_end '10.5' is not a whole number (0-based position)",
    ),
    "thousands": (
        "K562\t1\tchr1\t1\t1,000\tchr1\t120\t190\n",
        "enhancer_end '1,000' is not a whole number (0-based position)",
    ),
    "empty_position": (
        "K562\t1\tchr1\t\t100\tchr1\t120\t190\n",
        "enhancer_start '' is not a whole number (0-based position)",
    ),
    "empty_chromosome": (
        "K562\t1\t\t1\t100\tchr1\t120\t190\n",
        "enhancer_chrom is empty; needs a chromosome name",
    ),
    "two_chromosomes": (
        "K562\t1\tchr1\t1\t100\tchr2\t520\t590\n",
        "promoter_chrom 'chr2' differs from enhancer_chrom 'chr1'; a pair needs one chromosome",
    ),
    "spaces": (
        "K562 1\tchr1\t1\t100\tchr1\t120\t190\n",
        "mixes tabs and spaces: has 7 tab-separated fields, needs 8",
    ),
    "too_few": ("K562\t1\tchr1\t1\n", "has 4 tab-separated fields, needs 8"),
    "too_many": (
        "K562\t1\tchr1\t1\t100\tchr1\t120\t190\t\n",
        "has 9 tab-separated fields, needs 8",
    ),
}


@pytest.mark.parametrize(("row", "message"), ROWS.values(), ids=ROWS.keys())
def test_row_is_refused_and_named(here: Path, capsys: pytest.CaptureFixture[str], row: str, message: str) -> None:
    (here / "pairs.tsv").write_text(HEADER + GOOD + row)
    assert refused(here, capsys, "pairs.tsv") == f"pairs.tsv:3: {message}"


@pytest.mark.parametrize(("row", "message"), ROWS.values(), ids=ROWS.keys())
def test_row_is_dropped_and_listed(here: Path, capsys: pytest.CaptureFixture[str], row: str, message: str) -> None:
    (here / "pairs.tsv").write_text(HEADER + GOOD + row)
    assert build("pairs.tsv", "--on-invalid", "drop") == 0
    assert "1 invalid rows were left out" in capsys.readouterr().out
    dropped = pd.read_csv("out/dropped.tsv", sep="\t", keep_default_na=False, dtype=str)
    assert len(dropped) == 1
    line = dropped.iloc[0]
    shown = f"{line['value']!r} " if line["value"] or "''" in message else ""
    column = f"{line['column']} " if line["column"] else ""
    assert (line["file"], line["row"], column + shown + line["reason"]) == ("pairs.tsv", "3", message)
    assert len(pd.read_parquet("out/pairs.parquet")) == 1


def test_all_problems_together_by_rule_and_count(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.tsv").write_text(HEADER + GOOD + "K562\t7\tchr1\t9\t3\tchr1\t500\t700\n" * 12)
    (here / "b.tsv").write_text(HEADER + "K562\t1\tchr1\t-9\t3\tchr1\t500\t700\n")
    same = "; the same in 11 more rows: 4, 5, 6, 7, 8, ..."
    assert refused(here, capsys, "a.tsv", "b.tsv").split("\n") == [
        "a.tsv:3: label '7' is not 0, 1 or empty (unknown)" + same,
        "a.tsv:3: enhancer_end '3' is not past enhancer_start 9" + same,
        "b.tsv:2: enhancer_start '-9' is negative; positions are 0-based",
        "25 problems in all",
    ]


def test_several_problems_of_a_row_are_one_dropped_row(here: Path) -> None:
    (here / "pairs.tsv").write_text(HEADER + GOOD + "K562\t7\tchr1\t9\t3\tchr1\t500\t700\n")
    assert build("pairs.tsv", "--on-invalid", "drop") == 0
    dropped = pd.read_csv("out/dropped.tsv", sep="\t")
    assert dropped.to_dict("records") == [
        {
            "file": "pairs.tsv",
            "row": 3,
            "column": "label; enhancer_end",
            "value": "7; 3",
            "reason": "is not 0, 1 or empty (unknown); is not past enhancer_start 9",
        }
    ]


def test_conflicting_labels_name_each_other(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.tsv").write_text(HEADER + GOOD + GOOD_TOO)
    (here / "b.tsv").write_text(HEADER + GOOD.replace("\t1\t", "\t0\t"))
    need = "for the same pair at {}; a pair needs one label"
    assert refused(here, capsys, "a.tsv", "b.tsv").split("\n") == [
        f"a.tsv:2: label '1' conflicts with 0 {need.format('b.tsv:2')}",
        f"b.tsv:2: label '0' conflicts with 1 {need.format('a.tsv:2')}",
        "2 problems in all",
    ]
    assert build("a.tsv", "b.tsv", "--on-invalid", "drop") == 0
    assert list(pd.read_csv("out/dropped.tsv", sep="\t")["file"]) == ["a.tsv", "b.tsv"]
    assert list(pd.read_parquet("out/pairs.parquet")["row"]) == [3]


def test_same_pair_of_two_environments_is_no_conflict(here: Path) -> None:
    (here / "pairs.tsv").write_text(HEADER + GOOD + GOOD.replace("K562\t1", "HMEC\t0"))
    assert build("pairs.tsv") == 0


def test_an_unknown_label_beside_two_that_conflict_is_kept(here: Path) -> None:
    rows = (GOOD, GOOD.replace("\t1\t", "\t\t"), GOOD.replace("\t1\t", "\t0\t"))
    (here / "pairs.tsv").write_text(HEADER + "".join(rows))
    assert build("pairs.tsv", "--on-invalid", "drop") == 0
    assert list(pd.read_csv("out/dropped.tsv", sep="\t")["row"]) == [2, 4]
    assert pd.read_parquet("out/pairs.parquet")[["row", "label"]].to_numpy().tolist() == [[3, -1]]


def test_a_distance_that_is_not_given_is_that_of_the_midpoints(here: Path) -> None:
    rows = (GOOD.replace("\n", "\t77.5\n"), GOOD_TOO.replace("\n", "\t\n"))
    (here / "pairs.tsv").write_text(HEADER.replace("\n", "\tdistance\n") + "".join(rows))
    assert build("pairs.tsv") == 0
    assert pd.read_parquet("out/pairs.parquet")["distance"].tolist() == [77.5, 800.0]


def test_unknown_label_conflicts_with_nothing(here: Path) -> None:
    (here / "pairs.tsv").write_text(HEADER + GOOD + GOOD.replace("\t1\t", "\t\t"))
    assert build("pairs.tsv") == 0


COLUMNS = "cell_line, label, enhancer_chrom, enhancer_start, promoter_chrom, promoter_start, promoter_end"


def whole_file_cases() -> dict[str, tuple[bytes, str]]:
    header, good = HEADER.encode(), GOOD.encode()
    return {
        "missing_column": (
            header.replace(b"\tenhancer_end", b"") + good,
            "pairs.tsv: has no column 'enhancer_end' (nor enhancer_sequence); it has " + COLUMNS,
        ),
        "no_cell_line": (
            header.replace(b"cell_line", b"cell_lines") + good,
            "pairs.tsv: has no column 'cell_line', and no --cell-line was given (did you mean --column "
            "cell_line=cell_lines?); it has cell_lines, label, enhancer_chrom, enhancer_start, enhancer_end, "
            "promoter_chrom, promoter_start, promoter_end",
        ),
        "empty": (b"", "pairs.tsv: is empty; needs at least one pair"),
        "blank": (b"\n  \n", "pairs.tsv: is empty; needs at least one pair"),
        "header_only": (header, "pairs.tsv: has a header but no rows; needs at least one pair"),
        "spaces": (
            header.replace(b"\t", b" ") + good,
            "pairs.tsv:1: separates columns by spaces; needs a tab or a comma between",
        ),
        "spaced_header": (
            header.replace(b"cell_line\t", b"cell_line ", 1) + good,
            "pairs.tsv:1: mixes tabs or commas with spaces in its header: 'cell_line label'",
        ),
        "column_twice": (
            header.replace(b"label", b"cell_line") + good,
            "pairs.tsv:1: names column 'cell_line' more than once; every column needs a name of its own",
        ),
        "nameless_column": (
            header.replace(b"label", b"") + good,
            "pairs.tsv:1: has no name for column 2; every column needs a name",
        ),
        "binary": (
            b"\x00\x01" + header + good,
            "pairs.tsv: is not a text file; needs UTF-8 text with tabs or commas, or Parquet",
        ),
        "truncated": (
            gzip.compress(header + good * 50)[:-12],
            "pairs.tsv: is a truncated gzip file: it ends in mid-stream; copy it again",
        ),
        "not_utf8": (
            header + good + b"K\xff562" + good,
            "pairs.tsv:3: byte 0xff at position 2 is not UTF-8; save the file as UTF-8",
        ),
    }


@pytest.mark.parametrize(("content", "message"), whole_file_cases().values(), ids=whole_file_cases().keys())
def test_file_is_refused(here: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str) -> None:
    (here / "pairs.tsv").write_bytes(content)
    assert refused(here, capsys, "pairs.tsv") == message


def test_damaged_gzip(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(gzip.compress((HEADER + GOOD * 50).encode()))
    content[30] ^= 0xFF
    (here / "pairs.tsv.gz").write_bytes(content)
    assert refused(here, capsys, "pairs.tsv.gz").startswith("pairs.tsv.gz: is a damaged gzip file (")


def test_not_parquet(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pairs.parquet").write_text(HEADER + GOOD)
    assert refused(here, capsys, "pairs.parquet").startswith("pairs.parquet: is not a readable Parquet file (")


def test_missing_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(here, capsys, "nowhere.tsv") == "nowhere.tsv: no such file"


def test_whole_file_problems_are_not_droppable(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pairs.tsv").write_text("")
    (here / "good.tsv").write_text(HEADER + GOOD)
    assert "is empty" in refused(here, capsys, "good.tsv", "pairs.tsv", "--on-invalid", "drop")


def test_nothing_left(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pairs.tsv").write_text(HEADER + GOOD.replace("\t1\t", "\t3\t"))
    assert refused(here, capsys, "pairs.tsv", "--on-invalid", "drop").startswith("no row is left\n")


def test_unknown_renamings(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pairs.tsv").write_text(HEADER + GOOD)
    assert (
        refused(here, capsys, "pairs.tsv", "--column", "enhancer_chr=x")
        == "--column enhancer_chr=x: no column 'enhancer_chr' is known; did you mean 'enhancer_chrom'?"
    )
    message = refused(here, capsys, "pairs.tsv", "--column", "assay=labels")
    assert message.startswith("pairs.tsv: has no column 'labels', asked for as assay; it has cell_line")
    assert message.endswith("; did you mean 'label'?")


def test_letters_that_are_not_dna(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pairs.csv").write_text(
        "cell_line,label,enhancer_sequence,promoter_sequence\nK562,1,ACGTX,ACGT\nK562,1,acgtn,RYKMA\nK562,1,,A-C\n"
    )
    need = "needs bases (ACGT, N and IUPAC codes)"
    assert refused(here, capsys, "pairs.csv", "--max-unknown", "0.8").split("\n") == [
        f"pairs.csv:2: enhancer_sequence 'ACGTX' holds 'X' at base 5; {need}",
        "pairs.csv:4: enhancer_sequence '' is empty; needs a DNA sequence",
        f"pairs.csv:4: promoter_sequence 'A-C' holds '-' at base 2; {need}",
        "3 problems in all",
    ]


def test_domain_kl_sequences(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here / "kl" / "train" / "ALL"
    folder.mkdir(parents=True)
    (folder / "pairs_hg19.csv").write_text(
        "enhancer_name,promoter_name,label,cell_line\nchr1:1-9,chr1:20-28,1,K562\nchr1:2-9,chr1:30-38,0,K562\n"
    )
    (folder / "e_seq.csv").write_text("region,sequence\nchr1:1-9,ACGTACGT\n")
    assert refused(here, capsys, "kl") == "kl/train/ALL/p_seq.csv: no such file"
    (folder / "p_seq.csv").write_text("region,sequence\nchr1:20-28,ACGTACGT\nchr1:30-38,ACG!ACGT\n")
    pairs = "kl/train/ALL/pairs_hg19.csv"
    assert refused(here, capsys, "kl").split("\n") == [
        f"{pairs}:3: enhancer_name 'chr1:2-9' is not among the regions of e_seq.csv",
        f"{pairs}:3: promoter_name 'chr1:30-38' has a sequence in p_seq.csv that is not DNA",
        "kl/train/ALL/p_seq.csv:3: sequence holds '!' at base 4; needs bases (ACGT, N and IUPAC codes)",
        "3 problems in all",
    ]
    assert build("kl", "--on-invalid", "drop") == 0
    assert "2 invalid rows were left out" in capsys.readouterr().out
    (folder / "pairs_hg38.csv").write_text("")
    shutil.rmtree(here / "out")
    message = refused(here, capsys, "kl")
    assert message == (
        "kl/train/ALL: holds pairs_hg19.csv and pairs_hg38.csv; give the file that is meant in place of the folder"
    )


def test_domain_kl_folder_without_pairs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "kl").mkdir()
    assert refused(here, capsys, "kl") == (
        "kl: holds no pairs_hg19.csv or pairs_hg38.csv; needs {train,val,test}/{ALL or CELL}/pairs_hg19.csv"
    )


def test_bengi_name_without_cell_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pairs.tsv").write_text("1\t400\tchr1\t100\t200\te\tchr1\t500\t700\tp\n")
    assert refused(here, capsys, "pairs.tsv") == (
        "pairs.tsv: does not say its cell line; name it CELL.ASSAY.tsv[.gz] or give --cell-line NAME"
    )


OUTSIDE = {
    "chromosome": (
        "K562\t1\tchr7\t1\t100\tchr7\t120\t190\n",
        "enhancer_chrom 'chr7' is not in genome.fa",
        "1 of 2 pairs cannot be read from genome.fa; --outside-genome report leaves such pairs out and counts them",
        "chromosome not in the genome",
    ),
    "prefix": (
        "K562\t1\t1\t1\t100\t1\t120\t190\n",
        "enhancer_chrom '1' is not in genome.fa",
        "the table says '1' where genome.fa says 'chr1': give both the same chr prefix",
        "chromosome not in the genome",
    ),
    "beyond": (
        "K562\t1\tchr1\t1\t100\tchr1\t1990\t2001\n",
        "promoter_end '2001' is past the end of chr1, which has 2000 bp in genome.fa",
        "positions past the end often mean another genome build (hg19 or hg38)\n"
        "1 of 2 pairs cannot be read from genome.fa; --outside-genome report leaves such pairs out and counts them",
        "position past the end of the chromosome",
    ),
    "all_unknown": (
        "K562\t1\tchr2\t100\t200\tchr2\t500\t600\n",
        "enhancer 'chr2:100-200' has 100 bases other than A, C, G and T in 100 bp of genome.fa; "
        "needs known bases, or a larger --max-unknown",
        "1 of 2 pairs cannot be read from genome.fa; --outside-genome report leaves such pairs out and counts them",
        "only unknown bases in the genome",
    ),
    "partly_unknown": (
        "K562\t1\tchr2\t500\t600\tchr2\t390\t410\n",
        "promoter 'chr2:390-410' has 10 bases other than A, C, G and T in 20 bp of genome.fa; "
        "needs known bases, or a larger --max-unknown",
        "1 of 2 pairs cannot be read from genome.fa; --outside-genome report leaves such pairs out and counts them",
        "partly unknown bases in the genome",
    ),
}


@pytest.mark.parametrize(("row", "need", "hint", "reason"), OUTSIDE.values(), ids=OUTSIDE.keys())
def test_pairs_outside_the_genome(
    here: Path, capsys: pytest.CaptureFixture[str], row: str, need: str, hint: str, reason: str
) -> None:
    (here / "pairs.tsv").write_text(HEADER + GOOD + row)
    assert refused(here, capsys, "pairs.tsv") == f"{hint}\npairs.tsv:3: {need}"
    assert build("pairs.tsv", "--outside-genome", "report") == 0
    assert f"1 rows were left out: {reason}" in capsys.readouterr().out
    dropped = pd.read_csv("out/dropped.tsv", sep="\t", dtype=str)
    assert list(dropped["row"]) == ["3"]
    assert dropped["reason"][0].startswith("outside genome: ")


def test_no_chromosome_matches(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pairs.tsv").write_text(HEADER + GOOD.replace("chr1", "NC_000001"))
    assert refused(here, capsys, "pairs.tsv", "--outside-genome", "report").split("\n")[0] == (
        "no chromosome of the table is in genome.fa, which has chr1, chr2; is it the right genome?"
    )


def test_genome_is_needed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pairs.tsv").write_text(HEADER + GOOD)
    assert main(["data", "build", "pairs.tsv", "--out", "out"]) == 2
    assert capsys.readouterr().err == (
        "error: pairs.tsv:2: the sequence of enhancer 'chr1:100-200' needs a genome; give --genome FASTA\n"
    )


def test_output_that_cannot_be_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pairs.tsv").write_text(HEADER + GOOD)
    arguments = ["data", "build", "pairs.tsv", "--genome", "genome.fa", "--out", "pairs.tsv/out"]
    assert main(arguments) == 2
    assert capsys.readouterr().err == "error: pairs.tsv/out: pairs.tsv is not a folder; give a new folder\n"


def test_first_row_of_bedpe_is_never_taken_for_a_header(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.bedpe").write_text("chr1\t-1\t9\tchr1\t20\t30\nchr1\tx\t9\tchr1\t20\t30\n")
    assert refused(here, capsys, "a.bedpe", "--cell-line", "K562").split("\n") == [
        "a.bedpe:1: enhancer_start '-1' is negative; positions are 0-based",
        "a.bedpe:2: enhancer_start 'x' is not a whole number (0-based position)",
        "2 problems in all",
    ]


def test_output_that_exists_is_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pairs.tsv").write_text(HEADER + GOOD)
    (here / "out").mkdir()
    (here / "out" / "mine.txt").write_text("mine")
    assert "out: exists already and is not empty" in refused(here, capsys, "pairs.tsv")
    assert [path.name for path in (here / "out").iterdir()] == ["mine.txt"]


def test_problems_of_rows_and_of_places_come_together(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One row ends before it starts, another lies past the chromosome: both are named in one go."""
    table = here / "both.tsv"
    header = "cell_line\tlabel\tenhancer_chrom\tenhancer_start\tenhancer_end"
    header += "\tpromoter_chrom\tpromoter_start\tpromoter_end"
    rows = ["K562\t1\tchr1\t90\t10\tchr1\t100\t200", "K562\t0\tchr1\t10\t90\tchr1\t100\t999999999"]
    table.write_text("\n".join([header, *rows]) + "\n")
    message = refused(here, capsys, "both.tsv", "--genome", "genome.fa")
    assert "both.tsv:2: " in message and "both.tsv:3: " in message and "2 problems in all" in message
