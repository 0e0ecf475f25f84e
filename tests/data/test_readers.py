"""Each format becomes the same pair frame."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from episode.data.pairs import CANONICAL_DTYPES, environment_names, parse_intervals
from episode.data.readers import detect_format, read_pairs
from episode.data.readers.bengi import environment_of_file
from episode.errors import EpisodeError

TIDY = (
    "cell_line\tlabel\tenh_chrom\tenh_start\tenh_end\tprom_chrom\tprom_start\tprom_end\tkind\n"
    "K562\t1\tchr1\t100\t200\tchr1\t500\t701\tDP\n"
    "K562\t\tchr1\t900\t1000\tchr1\t500\t701\tPP\n"
)


def test_tidy_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(TIDY)
    table = read_pairs(path)
    assert table.frame.to_dict("records") == [
        {
            "cell_line": "K562",
            "assay": "",
            "label": 1,
            "enhancer_name": "chr1:100-200",
            "promoter_name": "chr1:500-701",
            "enhancer_chrom": "chr1",
            "promoter_chrom": "chr1",
            "enhancer_start": 100,
            "enhancer_end": 200,
            "promoter_start": 500,
            "promoter_end": 701,
            "distance": 450.5,
            "split": "",
            "source": 0,
            "row": 2,
            "kind": "DP",
        },
        {
            **table.frame.iloc[0].to_dict(),
            "label": -1,
            "enhancer_name": "chr1:900-1000",
            "enhancer_start": 900,
            "enhancer_end": 1000,
            "distance": 349.5,
            "row": 3,
            "kind": "PP",
        },
    ]
    assert {name: str(table.frame[name].dtype) for name in ("label", "source", "row", "distance")} == {
        name: CANONICAL_DTYPES[name] for name in ("label", "source", "row", "distance")
    }
    assert table.sources[0].rows == 2
    assert table.merged == 0


def as_csv(text: str) -> bytes:
    return text.replace("\t", ",").encode()


WAYS = {
    "crlf.tsv": TIDY.replace("\n", "\r\n").encode(),
    "bom.tsv": b"\xef\xbb\xbf" + TIDY.encode(),
    "hash.tsv": b"#" + TIDY.encode(),
    "no_last_newline.tsv": TIDY.rstrip("\n").encode(),
    "comma.csv": as_csv(TIDY),
    "quoted.csv": as_csv(TIDY).replace(b"K562", b'"K562"'),
    "zipped.tsv.gz": gzip.compress(TIDY.encode()),
    "floats.tsv": TIDY.replace("\t100\t", "\t100.0\t").replace("\t1\t", "\t1.0\t").encode(),
    "padded.tsv": TIDY.replace("\tchr1\t", "\t chr1 \t").encode(),
}


@pytest.mark.parametrize("name", WAYS)
def test_tidy_written_in_other_ways(tmp_path: Path, name: str) -> None:
    (tmp_path / "plain.tsv").write_text(TIDY)
    (tmp_path / name).write_bytes(WAYS[name])
    pd.testing.assert_frame_equal(read_pairs(tmp_path / name).frame, read_pairs(tmp_path / "plain.tsv").frame)


def test_blank_lines_keep_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(TIDY.replace("K562\t\t", "\n\nK562\t\t"))
    assert list(read_pairs(path).frame["row"]) == [2, 5]


def test_parquet_is_read_as_text_is(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text(TIDY)
    pd.read_csv(tmp_path / "pairs.tsv", sep="\t").to_parquet(tmp_path / "pairs.parquet")
    expected = read_pairs(tmp_path / "pairs.tsv").frame
    expected["row"] = [1, 2]
    pd.testing.assert_frame_equal(read_pairs(tmp_path / "pairs.parquet").frame, expected)


def test_label_column_may_be_absent_and_cell_line_given(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(
        "enhancer_chrom,enhancer_start,enhancer_end,promoter_chrom,promoter_start,promoter_end,distance\n"
        "chr1,1,9,chr1,20,30,7.5\n"
    )
    frame = read_pairs(path, cell_line="HepG2", assay="HiC").frame
    assert list(environment_names(frame)) == ["HepG2:HiC"]
    assert list(frame["label"]) == [-1]
    assert list(frame["distance"]) == [7.5]


def test_renaming_goes_before_the_columns_own_name(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(TIDY.replace("kind", "score").replace("DP", "0").replace("PP", "1"))
    frame = read_pairs(path, columns={"label": "score"}).frame
    assert list(frame["label"]) == [0, 1]
    assert list(frame["label_given"]) == ["1", ""]


def test_carried_columns_cannot_take_the_librarys_names(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(TIDY.replace("kind", "locus"))
    frame = read_pairs(path).frame
    assert list(frame.columns) == [*CANONICAL_DTYPES, "locus_given"]


def test_given_sequences(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(
        "cell_line,label,enhancer_sequence,promoter_sequence,promoter_name\n"
        "K562,1,ACGT,GGGG,p1\nK562,0,acgt,CCCC,p2\nK562,0,TTTT,GGGG,p1\n"
    )
    table = read_pairs(path)
    names = list(table.frame["enhancer_name"])
    assert names[0] == names[1] != names[2]
    assert table.sequences["enhancer"][names[0]] == "ACGT"
    assert table.sequences["promoter"] == {"p1": "GGGG", "p2": "CCCC"}
    assert set(table.frame["enhancer_chrom"]) == {""}
    assert set(table.frame["enhancer_start"]) == {-1}
    assert table.frame["distance"].isna().all()


def test_bengi(tmp_path: Path) -> None:
    path = tmp_path / "GM12878.CTCF-ChIAPET-Benchmark.v3.tsv.gz"
    row = "1\t64604.0\tchr6\t226523\t228463\tE|GM12878\tchr6\t290597\t292597\tP|{}\n"
    path.write_bytes(gzip.compress((row.format("a") + row.format("b")).encode()))
    table = read_pairs(path)
    assert table.merged == 1
    line = table.frame.iloc[0]
    assert (line["cell_line"], line["assay"], line["label"]) == ("GM12878", "CTCF-ChIAPET", 1)
    assert (line["distance"], line["row"], line["promoter_annotation"]) == (64604.0, 1, "P|a")
    assert list(read_pairs(path, cell_line="new").frame["cell_line"]) == ["new"]


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("GM12878.CTCF-ChIAPET-Benchmark.v3.tsv.gz", ("GM12878", "CTCF-ChIAPET")),
        ("HeLa-S3.HiC.tsv", ("HeLa-S3", "HiC")),
        ("pairs.tsv", None),
        ("a.b.c.tsv", None),
    ],
)
def test_environment_of_file(name: str, environment: tuple[str, str] | None) -> None:
    assert environment_of_file(name) == environment


def domain_kl(folder: Path, split: str, pairs: str) -> None:
    part = folder / split / "ALL"
    part.mkdir(parents=True)
    (part / "pairs_hg38.csv").write_text("enhancer_name,promoter_name,label,cell_line\n" + pairs)
    (part / "e_seq.csv").write_text("region,sequence\nchr1:10-18,ACGTACGT\n")
    (part / "p_seq.csv").write_text("region,sequence\nliver|chr1:40-48,TTTTACGT\nnameless,AC\n")


def test_domain_kl(tmp_path: Path) -> None:
    domain_kl(tmp_path, "train", "chr1:10-18,liver|chr1:40-48,1,liver\n")
    domain_kl(tmp_path, "test", "chr1:10-18,nameless,0,brain\n")
    table = read_pairs(tmp_path)
    frame = table.frame.sort_values("split", ascending=False)
    assert list(frame["split"]) == ["train", "test"]
    assert list(frame["promoter_name"]) == ["liver|chr1:40-48", "nameless"]
    assert list(frame["promoter_start"]) == [40, -1]
    assert list(frame["promoter_chrom"]) == ["chr1", ""]
    assert frame["distance"].iloc[0] == 30.0
    assert frame["distance"].isna().tolist() == [False, True]
    assert table.assembly == "hg38"
    assert len(table.sources) == 6
    assert table.sequences["enhancer"] == {"chr1:10-18": "ACGTACGT"}
    one = read_pairs(tmp_path / "test" / "ALL" / "pairs_hg38.csv")
    assert list(one.frame["split"]) == ["test"]


def test_bedpe_without_header(tmp_path: Path) -> None:
    path = tmp_path / "loops.bedpe"
    path.write_text("# made by hand\nchr1\t1\t9\tchr1\t20\t30\tloop\t5\t.\t.\t1\tK562\tHiC\tx\n")
    line = read_pairs(path).frame.iloc[0]
    assert (line["cell_line"], line["assay"], line["label"]) == ("K562", "HiC", 1)
    assert (line["name"], line["score"], line["column_14"], line["row"]) == ("loop", "5", "x", 2)


def test_bedpe_with_header(tmp_path: Path) -> None:
    path = tmp_path / "loops.txt"
    path.write_text("#chrom1\tstart1\tend1\tchrom2\tstart2\tend2\tlabel\nchr1\t1\t9\tchr1\t20\t30\t.\n")
    line = read_pairs(path, cell_line="K562").frame.iloc[0]
    assert (line["cell_line"], line["label"], line["row"]) == ("K562", -1, 2)


@pytest.mark.parametrize(
    ("name", "line", "format"),
    [
        ("a.tsv", "1\t2.0\tchr1\t1\t2\te\tchr1\t3\t4\tp", "bengi"),
        ("a.txt", "chr1\t1\t2\tchr1\t3\t4", "bedpe"),
        ("a.txt", "#chr1\tx1\tx2\tchr2\ty1\ty2\nchr1\t1\t2\tchr1\t3\t4", "bedpe"),
        ("a.bedpe", "anything", "bedpe"),
        ("a.tsv", "cell_line\tlabel", "tidy"),
        ("a.parquet", "", "tidy"),
        ("pairs_hg19.csv", "", "domain-kl"),
    ],
)
def test_detect_format(tmp_path: Path, name: str, line: str, format: str) -> None:
    (tmp_path / name).write_text(line + "\n")
    assert detect_format(tmp_path / name) == format


def test_several_tables_of_several_formats(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(TIDY)
    (tmp_path / "K562.HiC.tsv").write_text("0\t1\tchr1\t1\t9\te\tchr1\t20\t30\tp\n")
    frame = read_pairs([tmp_path / "a.tsv", tmp_path / "K562.HiC.tsv"]).frame
    assert list(frame["source"]) == [0, 0, 1]
    assert list(frame["kind"]) == ["DP", "PP", ""]
    assert list(frame["enhancer_annotation"]) == ["", "", "e"]


def test_options_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match="no pair table was given"):
        read_pairs([])
    with pytest.raises(EpisodeError, match="'bed' is unknown; needs one of tidy, domain-kl, bengi, bedpe"):
        read_pairs(tmp_path, format="bed")


CHROM = st.text(alphabet="ABCXYZabcxyz0123456789_.", min_size=1, max_size=8)
AROUND = st.text(alphabet="|; ,/", max_size=3)


@given(CHROM, st.integers(0, 10**9), st.integers(1, 10**6), AROUND, AROUND)
def test_names_hold_intervals(chrom: str, start: int, length: int, before: str, after: str) -> None:
    found = parse_intervals(pd.Series([f"{before}{chrom}:{start}-{start + length}{after}"], dtype="str"))
    assert found.iloc[0].tolist() == [chrom, start, start + length]


@given(st.text(alphabet="chr1:-;|x", max_size=12))
def test_names_without_numbers_hold_none(name: str) -> None:
    found = parse_intervals(pd.Series([name], dtype="str")).iloc[0]
    assert found["chrom"] == "" or found["start"] < found["end"]
