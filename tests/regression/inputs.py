"""Small tables that a recording reads: made of a simulated world, or written by hand with one fault each."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["clone", "damage", "write_inputs", "write_rerank"]

HEAD = "cell_line\tlabel\tenhancer_chrom\tenhancer_start\tenhancer_end\tpromoter_chrom\tpromoter_start\tpromoter_end\n"
GOOD = "K562\t1\tchr1\t100\t200\tchr1\t500\t700\n"
PLACE = ["enhancer_chrom", "enhancer_start", "enhancer_end", "promoter_chrom", "promoter_start", "promoter_end"]
NUMBERS = ["enhancer_start", "enhancer_end", "promoter_start", "promoter_end", "label"]

SETTINGS = """\
[stem]
bin = 256
min_information = 15
[episodes]
query = 16
support_max = 48
[training]
steps = 50
settle_steps = 4
validate_every = 3
learning_rate = 0.02
"""

SPLIT = """\
name = "by split"
[holdout]
by = "split"
[bootstrap]
draws = 40
block = 20_000
[distance_matched]
bins = 4
[subsets.near]
title = "one class of pairs"
column = "class"
equals = "even"
with_positives = true
"""

GROUPS = """\
name = "groups"
title = "Two folds"
sentence = "Half of the cell lines, tested while the other half trains."
[data]
enhancer_window = 0
promoter_window = 0
[holdout]
cell_lines = [["train01", "train02", "train03", "train04"], ["train05", "train06", "train07", "train08"]]
[selection]
share = 0.4
gap = 100
[bootstrap]
draws = 30
block = 20_000
[collapse]
column = "gene"
pattern = "(G[0-9]+)"
"""


def clone(source: str, target: str) -> Callable[[Path], None]:
    """Copy a folder of the recording."""

    def prepare(root: Path) -> None:
        shutil.copytree(root / source, root / target)

    return prepare


def damage(source: str, target: str, name: str, changes: dict[str, Any]) -> Callable[[Path], None]:
    """Copy a folder without its store and change keys of one JSON file (None: remove it); cut a file that is none."""

    def prepare(root: Path) -> None:
        shutil.copytree(root / source, root / target, ignore=shutil.ignore_patterns("store"))
        path = root / target / name
        if path.suffix != ".json":
            path.write_bytes(path.read_bytes()[:-100])
            return
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return prepare


def write_inputs(root: Path) -> None:
    """Write inputs/ of a recording; world/out must be there."""
    folder = root / "inputs"
    (folder / "wrong").mkdir(parents=True)
    _write_genome(folder / "small.fa")
    _write_tables(folder, pd.read_csv(root / "world" / "out" / "pairs.tsv", sep="\t", dtype=str))
    _write_settings(folder)
    _write_messy(folder)
    _write_wrong(folder / "wrong")


def write_rerank(root: Path) -> None:
    """Write the tables of the world whose cell lines re-rank pairs; world-rerank/out must be there."""
    table = pd.read_csv(root / "world-rerank" / "out" / "pairs.tsv", sep="\t", dtype=str)
    unseen = table[table["cell_line"] == "unseen02"]
    _tsv(unseen.drop(columns=["label", "split"]), root / "inputs" / "rerank.tsv")
    _tsv(unseen.head(48), root / "inputs" / "rerank_few.tsv")
    _typed(table[table["split"] == "test"]).to_parquet(root / "inputs" / "rerank.parquet", row_group_size=300)


def _tsv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, sep="\t", index=False)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({name: "int64" for name in NUMBERS if name in table})


def _write_genome(path: Path) -> None:
    """chr1 and chr2 of 2,000 bp; chr2 is unknown from 1,000 to 1,100."""
    rng = np.random.default_rng(7)
    lines = []
    for name in ("chr1", "chr2"):
        bases = rng.choice(list("ACGTacgt"), 2000)
        if name == "chr2":
            bases[1000:1100] = "N"
        lines += [f">{name}", *("".join(bases[start : start + 50]) for start in range(0, 2000, 50))]
    path.write_text("\n".join(lines) + "\n")


def _write_tables(folder: Path, table: pd.DataFrame) -> None:
    """Tables in every format, cut out of the simulated one."""
    blind = table.drop(columns=["label", "split"])
    _tsv(blind[table["cell_line"] == "unseen01"], folder / "unseen.tsv")
    _tsv(table[table["cell_line"] == "unseen01"].head(40), folder / "few.tsv")
    _tsv(blind[blind["cell_line"].isin(["train01", "unseen01"])], folder / "known.tsv")
    nameless = blind[blind["cell_line"] == "unseen02"].head(60).drop(columns="cell_line")
    nameless.to_csv(folder / "nameless.csv", index=False)

    training = table[table["split"] != "test"].copy()
    training["gene"] = "transcript of G" + training["promoter_start"].str[:-2]
    training["class"] = np.where(np.arange(len(training)) % 2, "odd", "even")
    _tsv(training.drop(columns="split"), folder / "labelled.tsv")

    some = table[table["cell_line"].isin(["train03", "unseen04"])].groupby("cell_line").head(50)
    renamed = some[[*PLACE, "label"]].rename(columns={"enhancer_chrom": "chr_e", "label": "hit"})
    renamed.assign(enhancer_chrom="mine", note="a, b").to_csv(folder / "renamed.csv", index=False)
    bedpe = some[PLACE].assign(name="pair", score="0.5", strand1=".", strand2="+")
    tail = bedpe.assign(label=some["label"].where(some["label"] == "1", "."), cell_line=some["cell_line"], assay="HiC")
    names = [*(f"{part}{side}" for side in (1, 2) for part in ("chrom", "start", "end")), *map(str, tail.columns[6:])]
    tail.to_csv(folder / "pairs.bedpe", sep="\t", index=False, header=["#chrom1", *names[1:]])
    tail.assign(extra=np.arange(len(tail))).to_csv(folder / "bare.txt", sep="\t", index=False, header=False)
    _typed(some).assign(weight=np.linspace(0, 1, len(some))).to_parquet(folder / "pairs.parquet")

    rng = np.random.default_rng(11)
    text = ["".join(rng.choice(list("ACGTNR"), size, p=[0.24] * 4 + [0.02] * 2)) for size in rng.integers(50, 90, 12)]
    sequences = pd.DataFrame(
        {
            "cell_line": ["A"] * 6 + ["B"] * 6,
            "label": ["1", "0", ""] * 4,
            "enhancer_sequence": text,
            "promoter_sequence": [text[(3 * i) % 12] for i in range(12)],
            "distance": [""] + [str(100 * i) for i in range(11)],
        }
    )
    with gzip.GzipFile(folder / "sequences.csv.gz", "wb", mtime=0) as stream:
        stream.write(sequences.to_csv(index=False).encode())

    test = _typed(blind[table["split"] == "test"])
    test = pd.concat([test, test.head(5)], ignore_index=True).assign(note=lambda rows: rows.index.astype(str))
    test.to_parquet(folder / "blocks.parquet", row_group_size=100)
    (folder / "folder" / "more").mkdir(parents=True)
    test.head(150).to_parquet(folder / "folder" / "one.parquet")
    test.tail(150).to_parquet(folder / "folder" / "more" / "two.parquet", row_group_size=60)
    chosen = table[table["cell_line"] == "unseen03"].head(2)
    spans = {
        side: chosen[f"{side}_chrom"] + ":" + chosen[f"{side}_start"] + "-" + chosen[f"{side}_end"]
        for side in ("enhancer", "promoter")
    }
    _tsv(pd.DataFrame(spans).head(1), folder / "chosen.tsv")


def _write_settings(folder: Path) -> None:
    """Configurations and protocols."""
    (folder / "settings.toml").write_text(SETTINGS)
    plain = SPLIT.partition("[subsets")[0]
    (folder / "split.toml").write_text(plain)
    split = {"name": "JSON", "holdout": {"by": "split"}, "bootstrap": {"draws": 20, "block": 30000}}
    (folder / "split.json").write_text(json.dumps(split))
    subsets = SPLIT[len(plain) :]
    (folder / "groups.toml").write_text(GROUPS + subsets)


def _write_messy(folder: Path) -> None:
    """Rows of which many break a rule, and two tables that repeat each other."""
    rows = [
        "K562\t1\tchr1\t100\t200\tchr1\t500\t700",
        "K562\t0\tchr1\t100\t200\tchr1\t900\t1000",
        "K562\t2\tchr1\t100\t200\tchr1\t500\t700",
        "K562\t1\tchr1\t300\t250\tchr1\t500\t700",
        "K562\t1\tchr7\t300\t350\tchr7\t500\t700",
        "K562\t1\tchr1\t300\t350\tchr1\t1990\t2100",
        "K562\t1\tchr2\t1010\t1090\tchr2\t500\t700",
        "K562\t1\tchr2\t1090\t1150\tchr2\t500\t700",
        "HMEC\t\tchr2\t100\t160\tchr2\t500\t700",
        "HMEC\t1\tchr2\t200\t260\tchr2\t500\t700",
        "HMEC\t0\tchr2\t200\t260\tchr2\t500\t700",
        "HMEC\t0\tchr2\t1700\t1760\tchr2\t400\t700",
        "HMEC\t0\tchr2\t1700\t1760\tchr2\t400\t700",
        "K:1\tx\tchr1\t-1\t260\tchr2\tnan\t700",
    ]
    (folder / "messy.tsv").write_text(HEAD + "\n".join(rows) + "\n")
    (folder / "messy_too.tsv").write_text(HEAD + "\n".join([*rows[:2], "NHEK\t1" + rows[0][6:]]) + "\n")
    table = pd.DataFrame([row.split("\t") for row in rows], columns=HEAD.split())
    table.to_parquet(folder / "messy.parquet", row_group_size=5)


def _write_wrong(folder: Path) -> None:
    """One fault each."""
    rows = {
        "label": "K562\t2\tchr1\t100\t200\tchr1\t500\t700\n",
        "reversed": "K562\t1\tchr1\t100\t200\tchr1\t120\t90\n",
        "negative": "K562\t1\tchr1\t-5\t100\tchr1\t120\t190\n",
        "position": "K562\t1\tchr1\tnan\t100\tchr1\t120\t190\n",
        "fraction": "K562\t1\tchr1\t1\t10.5\tchr1\t120\t190\n",
        "chromosomes": "K562\t1\tchr1\t1\t100\tchr2\t520\t590\n",
        "colon": "K:562\t1\tchr1\t100\t200\tchr1\t500\t700\n",
        "fields": "K562\t1\tchr1\t1\n",
        "many": "".join(f"K562\t7\tchr1\t{9 + i}\t3\tchr1\t500\t700\n" for i in range(20)),
        "conflict": GOOD.replace("\t1\t", "\t0\t"),
        "outside": "K562\t1\tchr7\t1\t100\tchr7\t120\t190\n",
        "beyond": "K562\t1\tchr1\t1\t100\tchr1\t1990\t2001\n",
        "unknown": "K562\t1\tchr2\t1010\t1090\tchr2\t120\t190\n",
    }
    for name, row in rows.items():
        (folder / f"{name}.tsv").write_text(HEAD + GOOD + row)
    (folder / "twice.tsv").write_text(HEAD.replace("label", "cell_line") + GOOD)
    (folder / "lacks.tsv").write_text(HEAD.replace("\tenhancer_end", "") + GOOD)
    (folder / "nameless.tsv").write_text(HEAD.replace("cell_line", "cell_lines") + GOOD)
    (folder / "empty.tsv").write_text("")
    (folder / "text.parquet").write_text(HEAD + GOOD)
    (folder / "letters.csv").write_text("cell_line,label,enhancer_sequence,promoter_sequence\nK562,1,ACGTX,ACGT\n")
    (folder / "binary.tsv").write_bytes(b"\x00\x01" + (HEAD + GOOD).encode())
    (folder / "cut.tsv.gz").write_bytes(gzip.compress((HEAD + GOOD * 50).encode(), mtime=0)[:-12])
    (folder / "bengi.tsv").write_text("1\t400\tchr1\t100\t200\te\tchr1\t500\t700\tp\n")
    (folder / "pair.tsv").write_text("enhancer\tpromoter\nnobody\tnothing\n")
    pd.DataFrame([GOOD.split(), GOOD.replace("1", "7", 1).split()], columns=HEAD.split()).to_parquet(
        folder / "rows.parquet"
    )
    (folder / "settings.toml").write_text("[training\nsteps = 3\n")
    (folder / "key.json").write_text('{"episodes": {"querry": 3}}')
    (folder / "protocol.toml").write_text('[holdouts]\nby = "split"\n')
    (folder / "groups.toml").write_text('[holdout]\ncell_lines = ["K562"]\n')
    tissue = folder / "kl" / "train" / "ALL"
    tissue.mkdir(parents=True)
    pairs = "chr1:1-9,chr1:20-28,1,K562\nchr1:2-9,chr1:30-38,0,K562\n"
    (tissue / "pairs_hg19.csv").write_text("enhancer_name,promoter_name,label,cell_line\n" + pairs)
    (tissue / "e_seq.csv").write_text("region,sequence\nchr1:1-9,ACGTACGT\nchr1:2-9,ACGTACG\n")
    (tissue / "p_seq.csv").write_text("region,sequence\nchr1:20-28,ACGTACGT\nchr1:30-38,ACG!ACGT\n")
