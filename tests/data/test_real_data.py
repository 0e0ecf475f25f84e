"""Raw BENGI tables and Hi-C loops on the part of hg19 that is at hand, through the command.

The counts were found a second time without the library: pairs both of whose elements lie on the sequence
and hold no N, distinct by table, interval and label. With the tables of a cell line merged they are 10,115
pairs, 1,610 positive.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from episode.cli.main import main
from episode.data.genome import open_genome
from episode.data.storage import load_dataset
from episode.dna import encode

pytestmark = pytest.mark.real_data

FASTA = "hg19.chr20_chr22part_chrX70M.fa.gz"

BENGI = {
    "GM12878:CTCF-ChIAPET": (753, 156),
    "GM12878:HiC": (989, 95),
    "GM12878:RNAPII-ChIAPET": (2737, 897),
    "HMEC:HiC": (248, 35),
    "HeLa:CTCF-ChIAPET": (483, 74),
    "HeLa:HiC": (2194, 162),
    "HeLa:RNAPII-ChIAPET": (181, 50),
    "IMR90:HiC": (243, 20),
    "K562:HiC": (2656, 188),
    "NHEK:HiC": (347, 62),
}

MERGED = {
    "GM12878": (1046, 2887),
    "HMEC": (35, 213),
    "HeLa": (259, 2429),
    "IMR90": (20, 223),
    "K562": (188, 2468),
    "NHEK": (62, 285),
}

LOOPS = {
    "GM12878": (2865, 383),
    "HMEC": (1291, 179),
    "HUVEC": (973, 137),
    "HeLa-S3": (984, 136),
    "IMR90": (2056, 275),
    "K562": (1649, 234),
    "NHEK": (1340, 186),
}


@pytest.mark.timeout(120)
def test_bengi(real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = sorted(map(str, (real_data / "bengi").glob("*.tsv.gz")))
    command = ["data", "build", *tables, "--genome", str(real_data / FASTA), "--out", str(tmp_path / "out")]
    assert main([*command, "--outside-genome", "report", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert {row["environment"]: (row["n"], row["positives"]) for row in content["summary"]} == BENGI
    assert content["counts"]["outside_genome"] == {
        "chromosome not in the genome": 318281,
        "position past the end of the chromosome": 920,
        "only unknown bases in the genome": 3827,
        "partly unknown bases in the genome": 4585,
    }
    assert content["counts"]["merged_duplicates"] == 13873
    assert len(pd.read_csv(tmp_path / "out" / "dropped.tsv", sep="\t")) == 318281 + 920 + 3827 + 4585

    dataset = load_dataset(tmp_path / "out")
    assert len(dataset.pairs) == 10831
    pair = ["cell_line", "enhancer_name", "promoter_name"]
    label = dataset.pairs.groupby(pair, as_index=False)["label"].max().groupby("cell_line")["label"]
    assert {name: (int(y.sum()), int((y == 0).sum())) for name, y in label} == MERGED
    genome = open_genome(real_data / FASTA)
    for i in np.linspace(0, len(dataset.elements) - 1, 25).astype(int):
        row = dataset.elements.iloc[i]
        bases = encode(genome.fetch(row["chrom"], row["start"], row["end"]))
        assert np.array_equal(dataset.sequence(i), bases)


def test_hic_loops(real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "build", str(real_data / "hic_loops" / "pairs.tsv.gz")]
    command += ["--genome", str(real_data / FASTA), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "61 problems in all" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*command, "--outside-genome", "report", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert {row["environment"]: (row["n"], row["positives"]) for row in content["summary"]} == LOOPS
    assert content["counts"]["outside_genome"] == {
        "position past the end of the chromosome": 11,
        "partly unknown bases in the genome": 50,
    }
    pairs = load_dataset(tmp_path / "out").pairs
    assert {"types", "kind", "anchor1_tss", "enh_win"} <= set(pairs.columns)
    assert not pairs["mirrored"].any()
