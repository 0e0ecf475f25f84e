"""Raw BENGI tables and real DNA through the commands: three cell lines train, three others are predicted and judged.

A subset: the pairs of every table on chr20, chr22 and chrX (all the sequence there is) thinned by enhancer, and a few
rows from elsewhere, which must be reported. So few steps say nothing about how well it works.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tiny_world import episode as command

pytestmark = pytest.mark.real_data

FASTA = "hg19.chr20_chr22part_chrX70M.fa.gz"
TRAINED, UNSEEN = ("GM12878", "HeLa", "K562"), ("HMEC", "IMR90", "NHEK")
KEEP_EVERY = {"GM12878": 9, "HeLa": 7, "K562": 7, "HMEC": 1, "IMR90": 1, "NHEK": 1}
ELSEWHERE = 5
"""Rows of other chromosomes left in each table."""
TINY = (
    "stem.bin=512",
    "stem.min_information=16",
    "episodes.query=32",
    "episodes.support_min=16",
    "episodes.support_max=64",
    "training.steps=4",
    "training.settle_steps=2",
    "training.validate_every=2",
)


def thin(source: Path, target: Path, every: int) -> int:
    """Write every k-th enhancer of a raw table, in its own format and under its own name; return rows elsewhere."""
    with gzip.open(source, "rt") as stream:
        rows = [line.split("\t") for line in stream]
    here = [row for row in rows if row[2] in ("chr20", "chr22", "chrX")]
    names = {name: number for number, name in enumerate(dict.fromkeys(row[5] for row in here))}
    kept = [row for row in here if names[row[5]] % every == 0]
    away = {tuple(row[2:5] + row[6:9]): row for row in rows if row[2] not in ("chr20", "chr22", "chrX")}
    some = list(away.values())[:ELSEWHERE]
    with gzip.open(target, "wt") as stream:
        stream.writelines("\t".join(row) for row in [*kept, *some])
    return len(some)


@pytest.mark.timeout(180)
def test_the_real_way(real_data: Path, tmp_path: Path) -> None:
    tables = tmp_path / "bengi"
    tables.mkdir()
    away = 0
    sources = sorted((real_data / "bengi").glob("*.tsv.gz"))
    for source in sources:
        away += thin(source, tables / source.name, KEEP_EVERY[source.name.split(".")[0]])
    assert away == ELSEWHERE * len(sources) == 50
    genome = ("--genome", real_data / FASTA)

    # build: pairs outside the sequence stop it, unless they are to be reported
    files = sorted(tables.iterdir())
    data, run = tmp_path / "dataset", tmp_path / "run"
    refused = command("data", "build", *files, *genome, "--out", data)
    assert refused.code == 2 and "problems in all" in refused.err and not data.exists()
    built = command("data", "build", *files, *genome, "--outside-genome", "report", "--out", data)
    assert built.code == 0, built.err
    counts = json.loads((data / "manifest.json").read_text())["counts"]
    assert counts["outside_genome"]["chromosome not in the genome"] == away
    assert "only unknown bases in the genome" in counts["outside_genome"]
    for reason, number in counts["outside_genome"].items():
        assert f"{number:,} rows were left out: {reason}" in built.out
    dropped = pd.read_csv(data / "dropped.tsv", sep="\t")
    assert len(dropped) == sum(counts["outside_genome"].values())
    assert dropped["reason"].str.startswith("outside genome: ").all()
    elsewhere = ~dropped["value"].astype(str).str.contains("chr20|chr22|chrX")
    lost = dropped[elsewhere & (dropped["column"] == "enhancer_chrom")]
    assert len(lost) == away and set(lost["file"]) == {str(path) for path in files}
    pairs = pd.read_parquet(data / "pairs.parquet")
    assert set(pairs["cell_line"]) == {*TRAINED, *UNSEEN}
    assert set(pairs["enhancer_chrom"]) <= {"chr20", "chr22", "chrX"}

    # train on three cell lines
    options = [part for setting in TINY for part in ("--set", setting)]
    names = ("--cell-lines", ",".join(TRAINED), "--threads", 1)
    trained = command("train", data, *names, "--out", run, *options)
    assert trained.code == 0, trained.err
    facts = json.loads((run / "run.json").read_text())
    roles = {name.split(":")[0] for role in facts["roles"].values() for name in role}
    assert roles == set(TRAINED)
    assert facts["genome_sha256"] == json.loads((data / "manifest.json").read_text())["genome"]["sha256"]

    # evaluate the three others
    out = tmp_path / "evaluation"
    judged = command("evaluate", run, data, "--cell-lines", ",".join(UNSEEN), "--threads", 1, "--out", out)
    assert judged.code == 0, judged.err
    environments = json.loads((out / "metrics.json").read_text())["environments"]
    assert list(environments) == ["HMEC:HiC", "IMR90:HiC", "NHEK:HiC"]
    summary = pd.read_csv(data / "summary.tsv", sep="\t").set_index("environment")
    for name, entry in environments.items():
        assert not entry["known"] and entry["r_teacher"] is None
        assert (entry["n"], entry["positives"]) == tuple(summary.loc[name, ["n", "positives"]])
        assert 0 < entry["aupr_potential"] < 1

    # predict one of them from its raw table, whose label column is not read
    (table,) = tables.glob("NHEK*")
    labels_gone = tmp_path / table.name
    with gzip.open(table, "rt") as stream:
        flipped = re.sub(r"^([01])", lambda found: str(1 - int(found[1])), stream.read(), flags=re.MULTILINE)
    with gzip.open(labels_gone, "wt") as stream:
        stream.write(flipped)
    results = []
    for name, path in (("asis", table), ("flipped", labels_gone)):
        more = ("--outside-genome", "report", "--threads", 1, "--out", tmp_path / name)
        predicted = command("predict", run, path, *genome, *more)
        assert predicted.code == 0, predicted.err
        assert "NHEK:HiC (not seen in training): R_E " in predicted.out
        assert "rows were left out; each with its reason in" in predicted.out
        results.append(pd.read_parquet(tmp_path / name / "predictions.parquet"))
    key = ["enhancer_name", "promoter_name"]
    wanted = pd.read_parquet(out / "predictions.parquet")
    wanted = wanted[wanted["environment"] == "NHEK:HiC"].sort_values(key)
    for result in results:
        assert len(result) > len(wanted), "predictions keep the rows that a dataset merges"
        result = result.drop_duplicates(key).sort_values(key)
        assert len(result) == len(wanted) > 100
        np.testing.assert_allclose(result["probability"], wanted["probability"], atol=1e-5)
    assert (results[0]["label"] != results[1]["label"]).all()
