"""`episode data build` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from episode.cli.main import main
from episode.data.storage import load_dataset

SIDES = "enhancer_chrom,enhancer_start,enhancer_end,promoter_chrom,promoter_start,promoter_end"
TABLE = f"""\
cell_line,assay,label,{SIDES},split
K562,HiC,1,chr1,100,200,chr1,500,700,train
K562,HiC,1,chr1,100,200,chr1,500,700,train
K562,HiC,0,chr1,900,1000,chr1,500,700,train
K562,HiC,2,chr1,900,1000,chr1,500,700,train
HMEC,,1,chr1,100,200,chr1,500,700,test
HMEC,,,chr1,300,400,chr1,1500,1700,test
IMR90,,1,chr9,300,400,chr9,1500,1700,test
"""

GOLDEN = """\
environment  n  positives  negatives  unknown  share_positive  enhancers  promoters  outside
HMEC         2          1          0        1           1.000          2          2        0
K562:HiC     2          1          1        0           0.500          2          1        0

4 pairs of 3 enhancers and 2 promoters
1 rows repeated an earlier one and were merged into it
1 invalid rows were left out
1 rows were left out: chromosome not in the genome
no pair is left of IMR90
every row left out, with its reason: out/dropped.tsv
one class only, so no ranking can be judged there: HMEC

fraction of the pairs of one part that occur in another (leakage):
of    in     pairs  enhancer  promoter   pair  locus
test  train      2     50.0%     50.0%  50.0%  50.0%

dataset: out
"""

BUILD = ["data", "build", "pairs.csv", "--genome", "genome.fa", "--out", "out", "--enhancer-window", "100"]


@pytest.fixture
def table(here: Path) -> Path:
    (here / "pairs.csv").write_text(TABLE)
    return here


def test_golden_summary(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BUILD, "--on-invalid", "drop", "--promoter-window", "200"]) == 0
    captured = capsys.readouterr()
    assert captured.out == GOLDEN
    assert captured.err == ""
    assert (table / "out" / "dropped.tsv").read_text() == (
        "file\trow\tcolumn\tvalue\treason\n"
        "pairs.csv\t5\tlabel\t2\tis not 0, 1 or empty (unknown)\n"
        "pairs.csv\t8\tenhancer_chrom\tchr9\toutside genome: is not in genome.fa\n"
    )
    assert (table / "out" / "summary.tsv").read_text() == (
        "environment\tcell_line\tassay\tn\tpositives\tnegatives\tunknown\tshare_positive\tenhancers\tpromoters"
        "\tone_class\toutside_genome\n"
        "HMEC\tHMEC\t\t2\t1\t0\t1\t1\t2\t2\tTrue\t0\n"
        "K562:HiC\tK562\tHiC\t2\t1\t1\t0\t0.5\t2\t1\tFalse\t0\n"
    )


def test_json_is_one_document(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BUILD, "--on-invalid", "drop", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["dataset"] == "out"
    assert content["windows"] == {"enhancer": 100, "promoter": 4096}
    assert content["counts"] == {
        "pairs": 4,
        "enhancers": 3,
        "promoters": 2,
        "bases": 3 * 100 + 2 * 4096,
        "merged_duplicates": 1,
        "dropped_invalid": 1,
        "outside_genome": {"chromosome not in the genome": 1},
        "outside_genome_by_environment": {"IMR90": 1},
    }
    assert [row["environment"] for row in content["summary"]] == ["HMEC", "K562:HiC"]
    assert content["audit"]["leakage"][0]["pair"] == {"rows": 1, "share": 0.5}
    assert content["sources"][0]["rows"] == 7
    assert load_dataset("out").manifest.genome.file == "genome.fa"


def test_carried_columns_and_split_reach_the_dataset(table: Path) -> None:
    assert main([*BUILD, "--on-invalid", "drop"]) == 0
    pairs = pd.read_parquet("out/pairs.parquet")
    assert pairs["split"].tolist() == ["train", "train", "test", "test"]
    assert pairs["row"].tolist() == [2, 4, 6, 7]


def test_as_a_process(table: Path) -> None:
    command = [sys.executable, "-m", "episode.cli.main"]
    failed = subprocess.run([*command, *BUILD], capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert failed.stdout == ""
    assert failed.stderr.split("\n") == [
        "error: 1 of 5 pairs cannot be read from genome.fa; "
        "--outside-genome report leaves such pairs out and counts them",
        "pairs.csv:5: label '2' is not 0, 1 or empty (unknown)",
        "pairs.csv:8: enhancer_chrom 'chr9' is not in genome.fa",
        "2 problems in all",
        "",
    ]
    assert not (table / "out").exists()


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom episode.cli.main import build_parser\nbuild_parser()\n"
        "heavy = {'numpy', 'pandas', 'torch', 'pysam', 'scipy', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - begun < 3


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["data", "build", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        assert "examples:\n  episode " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["data", "build", "x"], "the following arguments are required: --out"),
        (["data", "build", "x", "--out", "o", "--column", "label"], "'label' is not of the form NAME=OTHER"),
    ],
)
def test_wrong_options(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_interruption_ends_quietly(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("episode.data.build.read_valid_pairs", interrupt)
    assert main(BUILD) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert not (table / "out").exists()
