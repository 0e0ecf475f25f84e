"""Files that do not fit what is done with them: a message that names the place, exit code 2, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from episode.data.storage import write_dataset
from tiny_world import Outcome, dataset_folder, read, rows_of, run_folder, world
from tiny_world import episode as command


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def predict(tmp_path: Path, out: Path) -> Callable[..., Outcome]:
    """Write a table and predict it."""

    def run(table: pd.DataFrame, *options: object, genome: Path | None = None) -> Outcome:
        table.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
        given = ("--genome", genome or world() / "genome.fa")
        return command("predict", run_folder(), tmp_path / "pairs.tsv", *given, "--out", out, "--threads", 1, *options)

    return run


def assert_refused(outcome: Outcome, out: Path, *messages: str) -> None:
    assert outcome.code == 2 and outcome.out == ""
    assert "Traceback" not in outcome.err
    for message in messages:
        assert message in outcome.err
    assert not out.exists()
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]


def some(count: int = 12) -> pd.DataFrame:
    return rows_of("unseen01").drop(columns="label").head(count)


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (3, "enhancer_end", "10", "pairs.tsv:5: enhancer_end '10' is not past enhancer_start"),
        (0, "promoter_start", "-4", "pairs.tsv:2: promoter_start '-4'"),
        (2, "enhancer_chrom", "chrQ", "pairs.tsv:4: "),
        (1, "enhancer_start", "NaN", "pairs.tsv:3: enhancer_start"),
        (5, "promoter_end", "999999999", "pairs.tsv:7: promoter_end"),
        (4, "cell_line", "", "pairs.tsv:6: cell_line"),
    ],
)
def test_a_bad_row(predict: Callable[..., Outcome], out: Path, row: int, column: str, value: str, message: str) -> None:
    table = some()
    table.loc[row, column] = value
    assert_refused(predict(table), out, message)


def test_bad_rows_are_dropped_when_asked(predict: Callable[..., Outcome], out: Path) -> None:
    table = some()
    table.loc[3, "enhancer_end"] = "10"
    table.loc[5, "promoter_end"] = "999999999"
    outcome = predict(table, "--on-invalid", "drop", "--outside-genome", "report")
    assert outcome.code == 0, outcome.err
    assert "10 pairs scored" in outcome.out and "2 rows were left out" in outcome.out
    dropped = pd.read_csv(out / "dropped.tsv", sep="\t")
    assert dropped["row"].tolist() == [5, 7]
    assert dropped["reason"].str.startswith("outside genome").tolist() == [False, True]
    assert len(pd.read_parquet(out / "predictions.parquet")) == 10


def test_a_missing_column(predict: Callable[..., Outcome], out: Path) -> None:
    assert_refused(predict(some().drop(columns="promoter_end")), out, "pairs.tsv", "promoter_end")


def test_coordinates_need_a_genome(tmp_path: Path, out: Path) -> None:
    some().to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    outcome = command("predict", run_folder(), tmp_path / "pairs.tsv", "--out", out)
    assert_refused(outcome, out, "pairs.tsv:2", "needs a genome; give --genome")


def test_the_chr_prefix_is_hinted_at(predict: Callable[..., Outcome], tmp_path: Path, out: Path) -> None:
    genome = tmp_path / "prefixed.fa"
    genome.write_text((world() / "genome.fa").read_text().replace(">sim", ">chrsim"))
    outcome = predict(some(30), genome=genome)
    assert_refused(outcome, out, "the same in 29 more rows", "chr prefix")


def test_another_genome_is_used_with_a_warning(predict: Callable[..., Outcome], tmp_path: Path, out: Path) -> None:
    genome = tmp_path / "other.fa"
    genome.write_text((world() / "genome.fa").read_text() + ">more\nACGT\n")
    outcome = predict(some(), genome=genome)
    assert outcome.code == 0
    assert "warning: the model was trained on another genome file" in outcome.err
    assert "another genome" not in command_with_own_genome(tmp_path).err


def command_with_own_genome(folder: Path) -> Outcome:
    options = ("--genome", world() / "genome.fa", "--out", folder / "own")
    outcome = command("predict", run_folder(), folder / "pairs.tsv", *options)
    assert outcome.code == 0
    return outcome


def test_evaluate_warns_of_another_genome_and_refuses_other_windows(tmp_path: Path, out: Path) -> None:
    genome, table = tmp_path / "other.fa", tmp_path / "pairs.tsv"
    genome.write_text((world() / "genome.fa").read_text() + ">more\nACGT\n")
    rows_of("unseen01").to_csv(table, sep="\t", index=False)
    windows = ("--enhancer-window", 0, "--promoter-window", 0)
    build = ("data", "build", table, "--genome", genome)
    assert command(*build, *windows, "--out", tmp_path / "same").code == 0
    outcome = command("evaluate", run_folder(), tmp_path / "same", "--out", out)
    assert outcome.code == 0 and "trained on another genome file" in outcome.err
    assert command(*build, "--out", tmp_path / "wide").code == 0
    outcome = command("evaluate", run_folder(), tmp_path / "wide", "--out", tmp_path / "refused")
    assert_refused(outcome, tmp_path / "refused", "--enhancer-window 0 --promoter-window 0")


def test_support_labels_of_another_cell_line(predict: Callable[..., Outcome], tmp_path: Path, out: Path) -> None:
    labels = tmp_path / "few.tsv"
    rows_of("unseen02").head(20).to_csv(labels, sep="\t", index=False)
    assert_refused(predict(some(), "--support-labels", labels), out, f"{labels}: has no pair of unseen01")
    some().to_csv(labels, sep="\t", index=False)
    assert_refused(predict(some(), "--support-labels", labels), out, f"{labels}: has no pair with a label 0 or 1")
    assert_refused(predict(some(), "--support-labels", tmp_path / "no.tsv"), out, "no.tsv: no such file")
    rows_of("unseen01").head(4).assign(label="2").to_csv(labels, sep="\t", index=False)
    assert_refused(predict(some(), "--support-labels", labels), out, f"{labels}:2: label '2' is not 0, 1 or empty")


def test_support_labels_move_the_impedance(predict: Callable[..., Outcome], tmp_path: Path, out: Path) -> None:
    labels = tmp_path / "few.tsv"
    rows_of("unseen01").head(20).assign(label="1").to_csv(labels, sep="\t", index=False)
    outcome = predict(some(), "--support-labels", labels)
    assert outcome.code == 0 and ", 20 labels)" in outcome.out
    row = pd.read_csv(out / "environments.tsv", sep="\t").iloc[0]
    assert row["labels"] == 20 and row["r_used"] < row["r_student"]


def test_a_typo_in_the_cell_line(predict: Callable[..., Outcome], out: Path) -> None:
    assert_refused(predict(some(), "--cell-line", "unsen01"), out, "did you mean 'unseen01'?")


def test_evaluating_what_has_no_labels_is_not_an_error(tmp_path: Path, out: Path) -> None:
    write_dataset(read(rows_of("unseen01").assign(label=""), tmp_path), tmp_path / "dataset")
    outcome = command("evaluate", run_folder(), tmp_path / "dataset", "--out", out)
    assert outcome.code == 0, outcome.err
    assert command("report", out).code == 0


def test_a_dataset_cut_short(tmp_path: Path, out: Path) -> None:
    write_dataset(read(rows_of("unseen01"), tmp_path), tmp_path / "dataset")
    codes = tmp_path / "dataset" / "codes.npy"
    codes.write_bytes(codes.read_bytes()[:5000])
    outcome = command("evaluate", run_folder(), tmp_path / "dataset", "--out", out)
    assert_refused(outcome, out, "codes.npy")
    assert dataset_folder().is_dir()
