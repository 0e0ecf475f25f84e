"""Assembling pairs and DNA, and the folder that holds them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from episode.config import WindowConfig
from episode.data.dataset import Dataset, assemble
from episode.data.genome import open_genome
from episode.data.readers import read_pairs
from episode.data.storage import load_dataset, write_dataset
from episode.dna import decode
from episode.errors import DatasetError, EpisodeError
from episode.slices import ByteArray
from resealed import reseal

HEADER = (
    "cell_line\tlabel\tenhancer_chrom\tenhancer_start\tenhancer_end\tpromoter_chrom\tpromoter_start\tpromoter_end\n"
)
ROWS = (
    "K562\t1\tchr1\t100\t200\tchr1\t500\t700\n",
    "K562\t0\tchr1\t900\t1000\tchr1\t500\t700\n",
    "HMEC\t\tchr1\t100\t200\tchr1\t500\t700\n",
    "HMEC\t1\tchr1\t0\t10\tchr1\t1900\t2000\n",
    "HMEC\t1\tchr1\t190\t200\tchr1\t500\t700\n",
)
WINDOWS = WindowConfig(enhancer=40, promoter=120)


@pytest.fixture
def dataset(here: Path) -> Dataset:
    (here / "pairs.tsv").write_text(HEADER + "".join(ROWS))
    return assemble(read_pairs("pairs.tsv"), open_genome("genome.fa"), WINDOWS)


def test_windows_hold_the_bases_around_midpoints(dataset: Dataset, chromosomes: dict[str, str]) -> None:
    chr1 = chromosomes["chr1"].upper()
    pairs = dataset.pairs
    assert decode(dataset.sequence(pairs["enhancer_id"][0])) == chr1[130:170]
    assert decode(dataset.sequence(pairs["promoter_id"][0])) == chr1[540:660]


def test_windows_past_the_ends_are_filled_with_n(dataset: Dataset, chromosomes: dict[str, str]) -> None:
    chr1 = chromosomes["chr1"].upper()
    enhancer, promoter = (int(dataset.pairs[f"{side}_id"][3]) for side in ("enhancer", "promoter"))
    assert decode(dataset.sequence(enhancer)) == "N" * 15 + chr1[:25]
    assert decode(dataset.sequence(promoter)) == chr1[1890:] + "N" * 10
    row: Any = dataset.elements.iloc[enhancer]
    assert (row["start"], row["end"], row["length"]) == (0, 25, 40)
    assert row["n_fraction"] == pytest.approx(15 / 40)
    assert row["gc"] == pytest.approx(sum(base in "CG" for base in chr1[:25]) / 25)


def test_each_element_once(dataset: Dataset) -> None:
    assert list(dataset.elements["kind"]) == ["enhancer"] * 4 + ["promoter"] * 2
    assert dataset.pairs["enhancer_id"].tolist() == [1, 3, 1, 0, 2]
    assert dataset.pairs["promoter_id"].tolist() == [4, 4, 4, 5, 4]
    assert len(dataset.codes) == 4 * 40 + 2 * 120


def test_layout_locus_and_environment(dataset: Dataset) -> None:
    pairs = dataset.pairs
    assert pairs["mirrored"].tolist() == [False, True, False, False, False]
    assert pairs["has_coordinates"].all()
    # Windows 130-170 and 175-215 do not overlap; the intervals 100-200 and 190-200 do, but are not read.
    assert pairs["locus"].tolist() == [1, 3, 1, 0, 2]
    assert pairs["environment"].tolist() == ["K562", "K562", "HMEC", "HMEC", "HMEC"]


def test_overlapping_windows_share_a_locus(here: Path) -> None:
    (here / "pairs.tsv").write_text(HEADER + "".join(ROWS))
    wide = assemble(read_pairs("pairs.tsv"), open_genome("genome.fa"), WindowConfig(enhancer=60, promoter=120))
    assert wide.pairs["locus"].tolist() == [1, 2, 1, 0, 1]


def test_whole_elements(here: Path, chromosomes: dict[str, str]) -> None:
    (here / "pairs.tsv").write_text(HEADER + "".join(ROWS))
    whole = assemble(read_pairs("pairs.tsv"), open_genome("genome.fa"), WindowConfig(enhancer=0, promoter=0))
    assert decode(whole.sequence(whole.pairs["enhancer_id"][3])) == chromosomes["chr1"][:10].upper()
    assert decode(whole.sequence(whole.pairs["promoter_id"][0])) == chromosomes["chr1"][500:700].upper()


def test_given_sequences_equal_the_genome(here: Path, chromosomes: dict[str, str]) -> None:
    (here / "pairs.tsv").write_text(HEADER + ROWS[0] + ROWS[1])
    chr1 = chromosomes["chr1"]
    lines = [row.rstrip("\n").split("\t") for row in ROWS[:2]]
    (here / "given.tsv").write_text(
        HEADER.rstrip("\n")
        + "\tenhancer_sequence\tpromoter_sequence\n"
        + "".join(
            "\t".join([*line, chr1[int(line[3]) : int(line[4])], chr1[int(line[6]) : int(line[7])]]) + "\n"
            for line in lines
        )
    )
    read = assemble(read_pairs("pairs.tsv"), open_genome("genome.fa"), WINDOWS)
    given = assemble(read_pairs("given.tsv"), open_genome("genome.fa"), WINDOWS)
    without = assemble(read_pairs("given.tsv"), None, WINDOWS)
    assert np.array_equal(given.codes, read.codes)
    pd.testing.assert_frame_equal(given.elements, read.elements)
    pd.testing.assert_frame_equal(given.pairs, read.pairs)
    assert without.manifest == given.manifest
    assert given.genome_hash is None
    assert read.genome_hash == open_genome("genome.fa").sha256


def test_sequences_without_coordinates(here: Path) -> None:
    (here / "pairs.csv").write_text(
        "cell_line,label,enhancer_sequence,promoter_sequence\nK562,1,AACGTT,GG\nK562,0,AAAAAA,GG\n"
    )
    found = assemble(read_pairs("pairs.csv"), None, WindowConfig(enhancer=4, promoter=4))
    assert decode(found.sequence(found.pairs["enhancer_id"][0])) == "ACGT"
    assert decode(found.sequence(found.pairs["promoter_id"][0])) == "GG"
    assert not found.pairs["has_coordinates"].any()
    assert not found.pairs["mirrored"].any()
    assert sorted(found.pairs["locus"]) == [0, 1]
    assert set(found.elements["start"]) == {-1}


def test_elements_do_not_depend_on_row_order(here: Path, dataset: Dataset) -> None:
    (here / "reversed.tsv").write_text(HEADER + "".join(reversed(ROWS)))
    other = assemble(read_pairs("reversed.tsv"), open_genome("genome.fa"), WINDOWS)
    assert np.array_equal(other.codes, dataset.codes)
    pd.testing.assert_frame_equal(other.elements, dataset.elements)
    columns = ["enhancer_id", "promoter_id", "locus", "mirrored"]
    pd.testing.assert_frame_equal(other.pairs[columns][::-1].reset_index(drop=True), dataset.pairs[columns])


def test_partly_unknown_elements_can_be_allowed(here: Path) -> None:
    (here / "pairs.tsv").write_text(HEADER + "K562\t1\tchr2\t390\t410\tchr2\t500\t600\n")
    table, genome = read_pairs("pairs.tsv"), open_genome("genome.fa")
    with pytest.raises(EpisodeError, match="has 10 bases other than A, C, G and T in 20 bp"):
        assemble(table, genome, WINDOWS, max_unknown=0.49)
    found = assemble(table, genome, WindowConfig(enhancer=20, promoter=120), max_unknown=0.5)
    assert decode(found.sequence(0))[:10] == "N" * 10


def test_an_impossible_fraction_of_unknown_bases(here: Path) -> None:
    (here / "pairs.tsv").write_text(HEADER + ROWS[0])
    with pytest.raises(EpisodeError, match=r"max_unknown is 1\.0; needs"):
        assemble(read_pairs("pairs.tsv"), open_genome("genome.fa"), WINDOWS, max_unknown=1.0)


def test_summary_counts(dataset: Dataset) -> None:
    summary = dataset.summary().set_index("environment")
    assert summary[["n", "positives", "negatives", "unknown"]].T["HMEC"].tolist() == [3, 2, 0, 1]
    assert summary["one_class"].to_dict() == {"HMEC": True, "K562": False}
    assert summary["share_positive"].to_dict() == {"HMEC": 1.0, "K562": 0.5}
    assert summary[["enhancers", "promoters"]].T["K562"].tolist() == [2, 1]


def test_unlabelled_environment_has_no_share_and_is_not_one_class(here: Path) -> None:
    (here / "pairs.tsv").write_text(HEADER + ROWS[2])
    summary = assemble(read_pairs("pairs.tsv"), open_genome("genome.fa"), WINDOWS).summary()
    assert summary["share_positive"].isna().all()
    assert not summary["one_class"].any()


def test_select_keeps_elements(dataset: Dataset) -> None:
    part = dataset.select(dataset.pairs["cell_line"] == "HMEC")
    assert part.environments == ["HMEC"]
    assert part.elements is dataset.elements
    assert list(part.pairs.index) == [0, 1, 2]
    with pytest.raises(ValueError, match=r"needs bool \(5,\)"):
        dataset.select(np.array([True]))


def test_round_trip(here: Path, dataset: Dataset) -> None:
    write_dataset(dataset, "out")
    again = load_dataset("out")
    pd.testing.assert_frame_equal(again.pairs, dataset.pairs)
    pd.testing.assert_frame_equal(again.elements, dataset.elements)
    assert isinstance(again.codes, ByteArray)
    assert np.array_equal(again.codes, dataset.codes)
    assert again.manifest == dataset.manifest
    assert again.dropped.empty
    assert not (here / "out" / "dropped.tsv").exists()


def test_building_twice_gives_the_same_bytes(here: Path, dataset: Dataset) -> None:
    write_dataset(dataset, "one")
    write_dataset(assemble(read_pairs("pairs.tsv"), open_genome("genome.fa"), WINDOWS), "two")
    names = sorted(path.name for path in (here / "one").iterdir())
    assert names == [
        "audit.json",
        "codes.npy",
        "elements.parquet",
        "manifest.json",
        "pairs.parquet",
        "summary.tsv",
    ]
    for name in names:
        assert (here / "one" / name).read_bytes() == (here / "two" / name).read_bytes(), name


def _edit_manifest(**change: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))

    return edit


def _edit_pairs(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        change(pd.read_parquet(folder / "pairs.parquet")).to_parquet(folder / "pairs.parquet")

    return edit


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no_manifest": (lambda f: (f / "manifest.json").unlink(), "out/manifest.json: no such file"),
    "bad_manifest": (lambda f: (f / "manifest.json").write_text("{"), "out/manifest.json: not valid JSON"),
    "version": (_edit_manifest(format_version=3), "out/manifest.json: format_version: is 3; this version"),
    "counts": (_edit_manifest(counts={}), "out/manifest.json: counts.pairs: is missing"),
    "no_pairs": (lambda f: (f / "pairs.parquet").unlink(), "out/pairs.parquet: no such file"),
    "bad_pairs": (
        lambda f: (f / "pairs.parquet").write_bytes(b"PAR1"),
        "out/pairs.parquet: cannot be read as Parquet",
    ),
    "fewer_pairs": (_edit_pairs(lambda p: p[1:]), "out/pairs.parquet: holds 4 entries; manifest.json says 5"),
    "no_locus": (
        _edit_pairs(lambda p: p.drop(columns="locus")),
        "out/pairs.parquet: lacks the columns locus",
    ),
    "bad_id": (
        _edit_pairs(lambda p: p.assign(enhancer_id=99)),
        "out/pairs.parquet: enhancer_id points outside",
    ),
    "wrong_kind": (
        _edit_pairs(lambda p: p.assign(promoter_id=0)),
        "out/pairs.parquet: promoter_id points at an element that is no promoter",
    ),
    "no_codes": (lambda f: (f / "codes.npy").unlink(), "out/codes.npy: no such file"),
    "bad_codes": (lambda f: (f / "codes.npy").write_bytes(b"xyz"), "out/codes.npy: cannot be read"),
    "short_codes": (
        lambda f: np.save(f / "codes.npy", np.zeros(3, dtype=np.uint8)),
        "out/codes.npy: holds 3 entries",
    ),
    "float_codes": (lambda f: np.save(f / "codes.npy", np.zeros(3)), "out/codes.npy: cannot be read (holds float64"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_folder_names_the_file(
    here: Path, dataset: Dataset, damage: Callable[[Path], object], message: str
) -> None:
    write_dataset(dataset, "out")
    damage(here / "out")
    with contextlib.suppress(FileNotFoundError, ValueError):
        reseal(here / "out" / "manifest.json")
    with pytest.raises(DatasetError) as caught:
        load_dataset("out")
    assert str(caught.value).startswith(message)


PAIRS: dict[str, tuple[str, object, str]] = {
    "label text": ("label", "1", "label holds large_string; needs whole numbers"),
    "label number": ("label", 5, "row 1: label 5 needs 1, 0 or -1"),
    "label fraction": ("label", 0.5, "label holds double; needs whole numbers"),
    "label missing": ("label", None, "label holds null; needs whole numbers"),
    "id text": ("enhancer_id", "0", "enhancer_id holds large_string; needs whole numbers"),
    "id negative": ("enhancer_id", -1, "enhancer_id points outside"),
    "id list": ("promoter_id", [4], "promoter_id holds list<element: int64>; needs whole numbers"),
    "id too large": ("promoter_id", 1 << 40, "Integer value 1099511627776 not in range"),
    "environment number": ("environment", 3, "environment holds int64; needs text"),
    "environment other": ("environment", "GM12878", "row 1: environment 'GM12878' needs cell line and assay"),
    "cell line empty": ("cell_line", "", "row 1: cell_line '' needs a name"),
    "cell line with a tab": ("cell_line", "a\tb", "row 1: cell_line 'a\\tb' needs a name"),
    "distance text": ("distance", "3", "distance holds large_string; needs numbers"),
    "distance infinite": ("distance", np.inf, "row 1: distance inf needs a finite number"),
    "distance negative": ("distance", -1.0, "row 1: distance -1.0 needs a finite number"),
    "split": ("split", "spam", "row 1: split 'spam' needs train, val, test or nothing"),
    "mirrored number": ("mirrored", 1, "mirrored holds int64; needs true or false"),
    "source": ("source", 1, "row 1: source 1 needs the number of a source"),
    "locus": ("locus", -1, "row 1: locus -1 needs at least 0"),
    "start": ("promoter_start", 10**18, "row 1: promoter_end 700 needs a place past promoter_start"),
    "name bytes": ("enhancer_name", b"x", "enhancer_name holds binary; needs text"),
}
ELEMENTS: dict[str, tuple[str, object, str]] = {
    "kind": ("kind", "silencer", "row 1: kind 'silencer' needs enhancer or promoter"),
    "name": ("name", "a\nb", "row 1: name 'a\\nb' needs plain text"),
    "chrom": ("chrom", 1, "chrom holds int64; needs text"),
    "start": ("start", 0.5, "start holds double; needs whole numbers"),
    "end": ("end", -7, "row 1: end -7 needs a place past start"),
    "length": ("length", -40, "row 1: length -40 needs at least 1 base"),
    "length huge": ("length", 1 << 62, "row 1: length 4611686018427387904 needs at least 1 base"),
    "gc": ("gc", 7.0, "row 1: gc 7.0 needs a fraction"),
    "offset": ("offset", 3, "offset and length do not cover codes.npy"),
}


@pytest.mark.parametrize(
    ("file", "column", "value", "message"),
    [("pairs.parquet", *case) for case in PAIRS.values()] + [("elements.parquet", *case) for case in ELEMENTS.values()],
    ids=[*PAIRS, *(f"element {name}" for name in ELEMENTS)],
)
def test_a_column_of_another_kind(
    here: Path, dataset: Dataset, file: str, column: str, value: object, message: str
) -> None:
    write_dataset(dataset, "out")
    path = here / "out" / file
    frame = pd.read_parquet(path)
    frame[column] = pd.Series([value] * len(frame), dtype=None if isinstance(value, int | float | str) else "object")
    frame.to_parquet(path, index=False)
    reseal(here / "out" / "manifest.json")
    with pytest.raises(DatasetError) as caught:
        load_dataset("out")
    assert str(caught.value).startswith(f"out/{file}: {message}")


def test_a_base_that_is_none(here: Path, dataset: Dataset) -> None:
    codes = np.array(dataset.codes)
    codes[7] = 5
    write_dataset(replace(dataset, codes=codes), "out")
    with pytest.raises(DatasetError, match=r"out/codes\.npy: holds 5; codes of bases are 0 to 4"):
        load_dataset("out")


def test_dropped_rows_of_another_shape(here: Path, dataset: Dataset) -> None:
    row = {"file": "pairs.tsv", "row": 3, "column": "label", "value": "x", "reason": "is no label"}
    write_dataset(replace(dataset, dropped=pd.DataFrame([row])), "out")
    assert load_dataset("out").dropped.to_dict("records") == [row]
    for text, message in (
        ("file\trow\na\t1\n", "has the columns file, row; needs file, row, column"),
        ("file\trow\na\tx\n", "cannot be read"),
    ):
        (here / "out" / "dropped.tsv").write_text(text)
        reseal(here / "out" / "manifest.json")
        with pytest.raises(DatasetError, match=message):
            load_dataset("out")


def test_a_folder_of_the_version_before_loads_with_a_warning(
    here: Path, dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    write_dataset(dataset, "out")
    path = here / "out" / "manifest.json"
    content = json.loads(path.read_text())
    del content["files"], content["content_sha256"]
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="lacks the checksums of its files"):
        load_dataset("out")
    path.write_text(json.dumps(content | {"format_version": 1}))
    again = load_dataset("out")
    assert [record.message for record in caplog.records] == [
        "out: was written by an older EPIsode, without checksums: whether its files were changed is not known"
    ]
    write_dataset(again, "new")
    assert load_dataset("new").manifest == dataset.manifest


def test_bases_that_are_cut_off_while_they_are_read_are_an_error(here: Path, dataset: Dataset) -> None:
    write_dataset(dataset, "out")
    loaded = load_dataset("out")
    os.truncate(here / "out" / "codes.npy", 200)
    assert loaded.sequence(0).tolist() == dataset.sequence(0).tolist()
    with pytest.raises(EpisodeError, match=r"codes\.npy: has become shorter since it was opened"):
        loaded.sequence(5)


def test_no_dataset(here: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere: no such folder"):
        load_dataset("nowhere")
    with pytest.raises(DatasetError, match=r"genome\.fa: is a file"):
        load_dataset("genome.fa")
