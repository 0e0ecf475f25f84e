"""Tables of a prediction: columns under other names, headers of labels, files that cannot be read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tiny_world import Outcome, episode, rows_of, run_folder, world


def predict(out: Path, *tables: object) -> Outcome:
    return episode("predict", run_folder(), *tables, "--genome", world() / "genome.fa", "--threads", 1, "--out", out)


def found(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "prediction.json").read_text())["found"]["estimates"][0]
    return content


@pytest.fixture
def table() -> pd.DataFrame:
    return rows_of("train01").head(40)


def test_column_names_the_columns_of_text_and_parquet(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_csv(tmp_path / "plain.tsv", sep="\t", index=False)
    renamed = table.rename(columns={"enhancer_chrom": "chr", "cell_line": "Cell_Line"}).drop(columns="promoter_chrom")
    renamed.to_csv(tmp_path / "other.tsv", sep="\t", index=False)
    renamed.to_parquet(tmp_path / "other.parquet")
    assert predict(tmp_path / "plain", tmp_path / "plain.tsv").code == 0
    wanted = pd.read_parquet(tmp_path / "plain" / "predictions.parquet")
    asked = ("--column", "enhancer_chrom=chr", "--column", "promoter_chrom=CHR")
    for name in ("other.tsv", "other.parquet"):
        refused = predict(tmp_path / name[-3:], tmp_path / name)
        assert refused.code == 2
        assert "has no columns 'enhancer_chrom' (nor enhancer_sequence), 'promoter_chrom'" in refused.err
        outcome = predict(tmp_path / name[-3:], tmp_path / name, *asked)
        assert outcome.code == 0, outcome.err
        came = pd.read_parquet(tmp_path / name[-3:] / "predictions.parquet")
        np.testing.assert_allclose(came["probability"], wanted["probability"], rtol=1e-5)
        refused = predict(tmp_path / "absent", tmp_path / name, *asked, "--column", "label=absent")
        assert refused.code == 2 and "has no column 'absent', asked for as label" in refused.err


def test_labels_of_a_bedpe_with_a_comment_above_its_header(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_csv(tmp_path / "few.tsv", sep="\t", index=False)
    loops = table[[f"{side}_{part}" for side in ("enhancer", "promoter") for part in ("chrom", "start", "end")]]
    loops = loops.assign(name=".", score=".", strand1=".", strand2=".", self_promoter="0", label=table["label"])
    head = ["#chrom1", "start1", "end1", "chrom2", "start2", "end2", *loops.columns[6:]]
    text = loops.to_csv(sep="\t", index=False, header=head)
    (tmp_path / "few.bedpe").write_text("## pipeline v2\n" + text)
    for name in ("few.tsv", "few.bedpe"):
        given = ("--cell-line", "train01", "--support-labels", tmp_path / name)
        assert predict(tmp_path / name[4:], tmp_path / "few.tsv", *given).code == 0
    assert found(tmp_path / "bedpe")["labels"] == 40
    assert found(tmp_path / "bedpe")["r_used"] == pytest.approx(found(tmp_path / "tsv")["r_used"])


def test_table_that_cannot_be_read_leaves_the_next_prediction_free(tmp_path: Path, table: pd.DataFrame) -> None:
    good, out = tmp_path / "good.tsv", tmp_path / "out"
    table.to_csv(good, sep="\t", index=False)
    os.mkfifo(tmp_path / "pipe.tsv")
    os.mkfifo(tmp_path / "pipe.parquet")
    (tmp_path / "mark.tsv").write_bytes(b"\xef\xbb\xbf")
    (tmp_path / "quote.tsv").write_text('"')
    table.assign(zzzzzz="x").to_parquet(tmp_path / "name.parquet")
    content = (tmp_path / "name.parquet").read_bytes()
    (tmp_path / "name.parquet").write_bytes(content.replace(b"zzzzzz", b"zz\xff\xfezz"))
    pipe = "is a pipe, which cannot be read again"
    for given, told in (
        ((tmp_path / "pipe.tsv",), pipe),
        ((tmp_path / "pipe.parquet",), pipe),
        ((good, "--support-labels", tmp_path / "pipe.tsv"), pipe),
        (("/dev/zero",), "is a device"),
        ((tmp_path / "mark.tsv",), "is empty"),
        ((tmp_path / "quote.tsv",), "opens a quote that does not close"),
        ((tmp_path / "name.parquet",), "has a column whose name is not UTF-8"),
    ):
        outcome = predict(out, *given)
        assert (outcome.code, told in outcome.err) == (2, True), outcome.err
        assert not list(tmp_path.glob("out*"))
    assert predict(out, good).code == 0


def test_resume_asks_for_the_same_columns(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_csv(tmp_path / "good.tsv", sep="\t", index=False)
    assert predict(tmp_path / "out", tmp_path / "good.tsv").code == 0
    other = predict(tmp_path / "out", tmp_path / "good.tsv", "--column", "enhancer_name=split", "--resume")
    assert (other.code, "another --column" in other.err) == (2, True)
