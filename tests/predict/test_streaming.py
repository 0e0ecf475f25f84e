"""Parquet is predicted block by block as tables in memory are: the same numbers, the same messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from episode.cli.predict import Progress
from episode.data.build import ReadOptions, build_dataset
from episode.data.genome import open_genome
from episode.errors import InputError
from episode.predict.pairs import COLUMNS, Predictions, predict_dataset
from episode.predict.streaming import blocks as staging
from episode.predict.streaming.blocks import Part, parquet_files, plan_parts
from episode.predict.streaming.job import Job, Request, open_job, work_folder
from tiny_world import Outcome, lively_run, read, rows_of, run_folder, store_of, world
from tiny_world import episode as command

NUMBERS = list(COLUMNS)
LINES = ("train01", "unseen01", "unseen02")
TOLERANCE = 1e-5


def numeric(table: pd.DataFrame) -> pd.DataFrame:
    """The table with numbers in place of text, as Parquet is usually written."""
    places = [name for name in table.columns if name.endswith(("_start", "_end"))]
    return table.astype(dict.fromkeys(places, "int64"))


def write(table: pd.DataFrame, path: Path, group: int = 150) -> Path:
    table.to_parquet(path, index=False, row_group_size=group)
    return path


def predict(out: Path, *words: object, genome: bool = True) -> Outcome:
    given = ("--genome", world() / "genome.fa") if genome else ()
    return command("predict", run_folder(), *words, *given, "--out", out, "--threads", 1)


def predicted(out: Path, *words: object, genome: bool = True, name: str = "predictions.parquet") -> pd.DataFrame:
    outcome = predict(out, *words, genome=genome)
    assert outcome.code == 0, outcome.err
    assert not work_folder(out).exists()
    return pd.read_parquet(out / name)


def environments(out: Path) -> pd.DataFrame:
    return pd.DataFrame(json.loads((out / "prediction.json").read_text())["found"]["estimates"])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "ROWS", 64)
    monkeypatch.setattr(staging, "SEQUENCE_ROWS", 48)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Three environments, their rows mixed, with a column of the user's."""
    mixed = rows_of(*LINES).sample(330, random_state=0).reset_index(drop=True)
    return numeric(mixed.assign(score=np.arange(len(mixed)) / 7))


# -- the same numbers -------------------------------------------------------------------------------------------------


def test_parquet_equals_text(table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    text = predicted(tmp_path / "text", tmp_path / "pairs.tsv")
    blocks = predicted(tmp_path / "blocks", write(table, tmp_path / "pairs.parquet"))
    assert len(blocks) == len(table) and blocks["row"].tolist() == list(range(1, len(table) + 1))
    assert list(text.columns) == list(blocks.columns)
    schemas = [pq.read_schema(tmp_path / name / "predictions.parquet") for name in ("text", "blocks")]
    assert schemas[0] == schemas[1]
    pd.testing.assert_frame_equal(
        text.drop(columns=["row", "score"]), blocks.drop(columns=["row", "score"]), rtol=TOLERANCE, atol=TOLERANCE
    )
    np.testing.assert_allclose(blocks["score"].astype(float), table["score"])
    pd.testing.assert_frame_equal(environments(tmp_path / "text"), environments(tmp_path / "blocks"))
    assert sorted(path.name for path in (tmp_path / "blocks").iterdir()) == [
        "environments.tsv",
        "prediction.json",
        "predictions.parquet",
    ]


def job_of(path: Path, out: Path, **options: object) -> Job:
    request = Request(str(run_folder()), (str(path),), genome=str(world() / "genome.fa"), **options)  # type: ignore[arg-type]
    job = open_job(request, out)
    for part in job.parts:
        job.score(part)
    return job


def same_numbers(found: pd.DataFrame, wanted: Predictions) -> None:
    key = ["environment", "enhancer_name", "promoter_name"]
    left, right = (frame.set_index(key)[NUMBERS].sort_index() for frame in (found, wanted.pairs))
    pd.testing.assert_frame_equal(left, right, rtol=TOLERANCE, atol=TOLERANCE)


def test_a_job_equals_a_prediction_in_memory(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a run whose environments differ, and its labelled pairs."""
    run = lively_run()
    monkeypatch.setattr("episode.predict.streaming.first_pass.load_run", lambda _: run)
    job = job_of(write(table, tmp_path / "pairs.parquet"), tmp_path / "out")
    job.finish()
    content = read(table, tmp_path)
    wanted = predict_dataset(run, content, store_of(content))
    same_numbers(pd.read_parquet(tmp_path / "out" / "predictions.parquet"), wanted)
    assert wanted.pairs["potential"].std() > 1e3 * TOLERANCE
    pd.testing.assert_frame_equal(job.plan.table, wanted.environments)

    few = table[table["cell_line"] == "unseen02"].head(20).assign(label="1")
    few.to_csv(tmp_path / "few.tsv", sep="\t", index=False)
    refined = job_of(tmp_path / "pairs.parquet", tmp_path / "refined", support_labels=str(tmp_path / "few.tsv"))
    labelled = read(few, tmp_path, "few.tsv")
    wanted = predict_dataset(run, content, store_of(content), labelled=(labelled, store_of(labelled)))
    pd.testing.assert_frame_equal(refined.plan.table, wanted.environments)
    assert [estimate.labels for estimate in refined.plan.estimates] == [0, 0, 20]


@pytest.mark.parametrize("rows", [1 << 16, 23])
def test_how_the_table_is_cut_does_not_matter(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    path = write(table, tmp_path / "pairs.parquet")
    first = predicted(tmp_path / "first", path)
    monkeypatch.setattr(staging, "ROWS", rows)
    other = write(table, tmp_path / "other.parquet", group=111)
    second = predicted(tmp_path / "second", other)
    pd.testing.assert_frame_equal(first, second, rtol=TOLERANCE, atol=TOLERANCE)
    pd.testing.assert_frame_equal(environments(tmp_path / "first"), environments(tmp_path / "second"))


def test_repeated_rows_stay_and_enter_the_support_once(table: pd.DataFrame, tmp_path: Path) -> None:
    small = table[table["cell_line"] == "unseen01"].head(50)
    repeated = pd.concat([small, small.head(20), small.head(5).assign(label="0"), small.head(5).assign(label="1")])
    once = predicted(tmp_path / "once", write(small, tmp_path / "once.parquet"))
    found = predicted(tmp_path / "twice", write(repeated, tmp_path / "twice.parquet"))
    assert len(found) == 80
    for index, again in ((range(20), range(50, 70)), (range(5), range(70, 75)), (range(5), range(75, 80))):
        np.testing.assert_allclose(found["logit"].iloc[list(again)], once["logit"].iloc[list(index)], atol=TOLERANCE)
    assert environments(tmp_path / "twice").equals(environments(tmp_path / "once"))
    assert environments(tmp_path / "twice")["support_size"].tolist() == [50]


def test_columns_of_the_users_are_kept_beside_those_of_the_library(table: pd.DataFrame, tmp_path: Path) -> None:
    mine = table.head(20).assign(potential="a", potential_given="b", impedance="c")
    found = predicted(tmp_path / "out", write(mine, tmp_path / "pairs.parquet"))
    for name, value in {"potential_given_given": "a", "potential_given": "b", "impedance_given": "c"}.items():
        assert (found[name] == value).all()
    assert found["potential"].dtype == np.float64


def test_labels_that_conflict_are_not_read(table: pd.DataFrame, tmp_path: Path) -> None:
    """Nor do they stop a table of text."""
    small = table.head(30).drop(columns="score").assign(label="1")
    both = pd.concat([small, small.head(10).assign(label="0")])
    both.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    outcome = predict(tmp_path / "out", tmp_path / "pairs.tsv")
    assert outcome.code == 0 and "40 pairs scored" in outcome.out, outcome.err


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.parquet"])
def test_rows_in_rows_out(table: pd.DataFrame, tmp_path: Path, name: str) -> None:
    """Two genes with one promoter, a whole row again, another label: each row comes back, under its own names."""
    small = table.head(20).drop(columns="score").assign(enhancer_name="E", promoter_name=[f"G{i}" for i in range(20)])
    again = [small.head(3).assign(promoter_name="other gene"), small.tail(2), small.head(2).assign(label="1")]
    given = pd.concat([small, *again], ignore_index=True).sample(27, random_state=1)
    write(given, tmp_path / name) if name.endswith("t") else given.to_csv(tmp_path / name, sep="\t", index=False)
    found = predicted(tmp_path / "out", tmp_path / name, "--write", "parquet,tsv,bedpe,interact")
    first = 1 if name.endswith("t") else 2
    assert found["row"].tolist() == list(range(first, first + 27))
    for column in ("cell_line", "enhancer_name", "promoter_name", "enhancer_start", "promoter_start"):
        assert found[column].tolist() == given[column].tolist()
    text = pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t", keep_default_na=False, dtype={"label": str})
    assert text["promoter_name"].tolist() == given["promoter_name"].tolist()
    for column in NUMBERS:
        assert text[column].tolist() == found[column].tolist()
    for ending, headers in (("bedpe", 1), ("interact", 2)):
        assert len((tmp_path / "out" / f"predictions.{ending}").read_text().splitlines()) == 27 + headers


def test_words_as_labels_are_carried(table: pd.DataFrame, tmp_path: Path) -> None:
    """Whole or in blocks; whatever split and label hold, all rows come back."""
    words = ["loop", "1", "", "0", "9.5"] * 66
    table = table.assign(label=words, split="left").drop(columns="score")
    table.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    text = predicted(tmp_path / "text", tmp_path / "pairs.tsv")
    blocks = predicted(tmp_path / "blocks", write(table, tmp_path / "pairs.parquet"))
    for found in (text, blocks):
        assert found["label_given"].tolist() == words
        assert found["label"].tolist() == [-1, 1, -1, 0, -1] * 66
        assert found["split"].tolist() == ["left"] * 330


def test_points_and_unknown_letters_in_blocks(table: pd.DataFrame, tmp_path: Path) -> None:
    """As in a table that is read whole."""
    point = table["promoter_start"] + 300
    points = table.head(40).assign(promoter_start=point, promoter_end=point).drop(columns="score")
    points.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    path = write(points, tmp_path / "pairs.parquet")
    text = predicted(tmp_path / "text", tmp_path / "pairs.tsv", "--promoter-flank", 300)
    blocks = predicted(tmp_path / "blocks", path, "--promoter-flank", 300)
    assert (blocks["promoter_end"] - blocks["promoter_start"]).tolist() == [600] * 40
    pd.testing.assert_frame_equal(text.drop(columns="row"), blocks.drop(columns="row"), rtol=TOLERANCE, atol=TOLERANCE)
    outcome = predict(tmp_path / "out", path)
    assert outcome.code == 2 and "--promoter-flank BP takes BP bases" in outcome.err
    given = with_sequences(table.head(20), tmp_path)
    same = given["enhancer_name"] == given["enhancer_name"].iloc[3]
    given.loc[same, "enhancer_sequence"] = "N" * 398 + "AC"
    path = write(given, tmp_path / "given.parquet")
    outcome = predict(tmp_path / "given", path, genome=False)
    assert outcome.code == 2 and "has 398 bases other than A, C, G and T in its sequence" in outcome.err
    kept = predicted(tmp_path / "kept", path, "--outside-genome", "report", genome=False)
    assert len(kept) == 20 - same.sum()
    assert len(predicted(tmp_path / "all", path, "--max-unknown", 0.999, genome=False)) == 20


def test_the_wrong_genome_is_asked_about(table: pd.DataFrame, tmp_path: Path) -> None:
    far = table.head(40).assign(score=0)
    far.loc[far.index[4:], ["promoter_start", "promoter_end"]] = [10**9, 10**9 + 9]
    far.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    asked = "36 of 40 pairs lie outside genome.fa; is it the right genome, by species and build?"
    for path in (tmp_path / "pairs.tsv", write(far, tmp_path / "pairs.parquet")):
        outcome = predict(tmp_path / "out", path)
        assert outcome.code == 2 and outcome.err.startswith(f"error: {asked}\n")
        outcome = predict(tmp_path / path.suffix[1:], path, "--outside-genome", "report")
        assert outcome.code == 0 and f"warning: {asked}\n" in outcome.err


# -- files ------------------------------------------------------------------------------------------------------------


def test_each_of_several_files_has_its_own_result(table: pd.DataFrame, tmp_path: Path) -> None:
    whole = predicted(tmp_path / "whole", write(table, tmp_path / "whole.parquet"))
    folder = tmp_path / "parts"
    folder.mkdir()
    cut = {"a": table.iloc[:120], "b": table.iloc[120:130], "c": table.iloc[130:]}
    for name, part in cut.items():
        write(part, folder / f"{name}.parquet")
    outcome = predict(tmp_path / "out", folder)
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "out" / "predictions").iterdir()) == [
        "a.parquet",
        "b.parquet",
        "c.parquet",
    ]
    for name, part in cut.items():
        found = pd.read_parquet(tmp_path / "out" / "predictions" / f"{name}.parquet")
        assert found["row"].tolist() == list(range(1, len(part) + 1))
        wanted = whole.loc[part.index].drop(columns="row").reset_index(drop=True)
        pd.testing.assert_frame_equal(found.drop(columns="row"), wanted, rtol=TOLERANCE, atol=TOLERANCE)

    again = tmp_path / "again"
    again.mkdir()
    write(cut["a"], again / "a.parquet")
    refused = predict(tmp_path / "twice", folder / "a.parquet", again / "a.parquet")
    assert refused.code == 2 and "has the file name of" in refused.err and not work_folder(tmp_path / "twice").exists()


def test_a_folder_is_read_at_any_depth(table: pd.DataFrame, tmp_path: Path) -> None:
    folder, out = tmp_path / "parts", tmp_path / "out"
    (folder / "deep" / "_temporary").mkdir(parents=True)
    refused = predict(out, folder)
    assert refused.code == 2 and f"{folder}: holds no table; needs *.parquet or *.pq, or pairs_hg19.csv" in refused.err
    files = [write(table.head(5), folder / name) for name in ("b.parquet", "deep/a.pq")]
    for name in ("._b.parquet", "deep/_a.parquet", "deep/_temporary/c.parquet"):
        (folder / name).write_bytes(b"no Parquet")
    assert sorted(parquet_files([folder], None) or []) == sorted(map(str, files))
    (folder / "cell_line=X").mkdir()
    write(table.head(5), folder / "cell_line=X" / "part-0.parquet")
    refused = predict(out, folder)
    assert refused.code == 2 and "lies in the partition folder 'cell_line=X'; needs 'cell_line' as a" in refused.err
    refused = predict(folder / "out", folder / "deep", folder)
    assert refused.code == 2 and not work_folder(folder / "out").exists()
    refused = predict(folder / "deep" / "out", folder / "deep")
    assert refused.code == 2 and f"lies in {folder / 'deep'}, a folder of tables" in refused.err
    (tmp_path / "kl" / "test").mkdir(parents=True)
    (tmp_path / "kl" / "test" / "pairs_hg19.csv").touch()
    assert parquet_files([tmp_path / "kl"], None) is None


def test_progress_has_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(disable=False) as progress:
        progress("read pairs", 10, 20)
        progress("score pairs", 500, 1000)
        progress("score pairs", 1000, 1000)
    with Progress(disable=True) as progress:
        progress("score nothing", 1, 2)
    shown = capsys.readouterr().err
    assert "read pairs:  50%" in shown and "score pairs: 100%" in shown and "nothing" not in shown
    assert "1.00k/1.00k [00:00<00:00, " in shown and " pairs/s]" in shown


def test_parts_cover_every_row_once(table: pd.DataFrame, tmp_path: Path) -> None:
    files = [str(write(table, tmp_path / "a.parquet", 150)), str(write(table.head(10), tmp_path / "b.parquet"))]
    parts = plan_parts(files)
    assert [part.number for part in parts] == list(range(len(parts)))
    for number, rows in enumerate((len(table), 10)):
        mine = [part for part in parts if part.file == number]
        assert [part.start for part in mine] == np.cumsum([0, *(part.rows for part in mine[:-1])]).tolist()
        assert sum(part.rows for part in mine) == rows and max(part.rows for part in mine) <= 64
        assert all(part.start // 150 == (part.start + part.rows - 1) // 150 == part.group for part in mine)


def test_wide_rows_make_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block is bounded in bytes: rows of 1,000 letters that do not compress to nothing."""
    letters = np.random.default_rng(0).integers(65, 91, (100, 1000), dtype=np.uint8)
    wide = pa.table({"note": [row.tobytes().decode() for row in letters]})
    pq.write_table(wide, tmp_path / "wide.parquet")
    monkeypatch.setattr(staging, "BYTES", 10_000)
    sizes = [part.rows for part in plan_parts([str(tmp_path / "wide.parquet")])]
    assert max(sizes) <= 10 and sum(sizes) == 100


def with_sequences(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Sequences in place of coordinates, named for the enhancers only."""
    content = read(table, folder, "placed.tsv")
    letters = np.array(list("ACGTN"))
    columns = {"cell_line": content.pairs["cell_line"], "enhancer_name": content.pairs["enhancer_name"]}
    for side in ("enhancer", "promoter"):
        columns[f"{side}_sequence"] = pd.Series(
            ["".join(letters[content.sequence(number)]) for number in content.pairs[f"{side}_id"]]
        )
    return pd.DataFrame(columns)


def test_tables_that_bring_sequences(table: pd.DataFrame, tmp_path: Path) -> None:
    """They need no genome; a pair without coordinates is scored in both orientations."""
    unplaced = with_sequences(table.head(150), tmp_path)
    unplaced.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    text = predicted(tmp_path / "text", tmp_path / "pairs.tsv", genome=False)
    blocks = predicted(tmp_path / "blocks", write(unplaced, tmp_path / "pairs.parquet"), genome=False)
    assert not blocks["has_coordinates"].any()
    pd.testing.assert_frame_equal(text.drop(columns="row"), blocks.drop(columns="row"), rtol=TOLERANCE, atol=TOLERANCE)
    pd.testing.assert_frame_equal(environments(tmp_path / "text"), environments(tmp_path / "blocks"))

    mixed = predict(tmp_path / "mixed", tmp_path / "pairs.parquet", write(table, tmp_path / "placed.parquet"))
    assert mixed.code == 2 and "placed.parquet: has no column of sequences where" in mixed.err
    assert "needs the same in all tables" in mixed.err


def test_a_name_with_another_sequence_in_a_later_block(table: pd.DataFrame, tmp_path: Path) -> None:
    unplaced = with_sequences(table.head(150), tmp_path)
    repeat = unplaced.index[unplaced["enhancer_name"] == unplaced["enhancer_name"].iloc[0]].max()
    assert repeat > 48
    unplaced.loc[repeat, "enhancer_sequence"] = "ACGT"
    path = write(unplaced, tmp_path / "pairs.parquet")
    wanted = (
        f"{path}:{repeat + 1}: enhancer_sequence 'ACGT' differs from the sequence of an earlier row of the same name"
    )
    outcome = predict(tmp_path / "out", path, genome=False)
    assert outcome.code == 2 and wanted in outcome.err
    found = predicted(tmp_path / "out", path, "--on-invalid", "drop", genome=False)
    assert len(found) == 149
    assert pd.read_csv(tmp_path / "out" / "dropped.tsv", sep="\t")["row"].tolist() == [repeat + 1]


def test_the_first_sequence_of_a_name_counts(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever block, of a row that is left out too, and after an interruption; as in a table of text."""
    unplaced = with_sequences(table[table["cell_line"] == "unseen01"].head(100), tmp_path)
    unplaced.loc[0, "cell_line"] = "other"
    unplaced.loc[[0, 60, 61], "enhancer_name"] = "X"
    unplaced.loc[[0, 61], "enhancer_sequence"] = unplaced["enhancer_sequence"][1]
    path = write(unplaced, tmp_path / "pairs.parquet")
    unplaced.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    options = ("--cell-line", "unseen01", "--on-invalid", "drop")
    predicted(tmp_path / "text", tmp_path / "pairs.tsv", *options, genome=False)
    found = predicted(tmp_path / "whole", path, *options, genome=False)
    assert found["row"].tolist() == [row for row in range(2, len(unplaced) + 1) if row != 61]
    for name, row in (("text", 62), ("whole", 61)):
        assert pd.read_csv(tmp_path / name / "dropped.tsv", sep="\t")["row"].tolist() == [row]

    stage = staging.Staging._stage

    def full(self: staging.Staging, part: Part, block: pa.Table) -> None:
        if part.number == 1:
            raise OSError("the disk is full")
        stage(self, part, block)

    with monkeypatch.context() as patch:
        patch.setattr(staging.Staging, "_stage", full)
        assert predict(tmp_path / "cut", path, *options, genome=False).code == 2
    resumed = predicted(tmp_path / "cut", path, *options, "--resume", genome=False)
    pd.testing.assert_frame_equal(resumed, found)


def test_names_of_an_earlier_table(table: pd.DataFrame, tmp_path: Path) -> None:
    """Another sequence is a fault of the table if it is its first of that name, else of the row."""
    first = with_sequences(table.head(60), tmp_path)
    second = first.copy()
    second.loc[55, "enhancer_name"] = first["enhancer_name"][0]
    second.loc[55, "enhancer_sequence"] = "ACGT"
    paths = [write(first, tmp_path / "first.parquet"), write(second, tmp_path / "second.parquet")]
    outcome = predict(tmp_path / "out", *paths, genome=False)
    assert f"{paths[1]}:56: enhancer_sequence 'ACGT' differs from the sequence of an earlier row" in outcome.err
    alone = write(second.loc[[55]], tmp_path / "second.parquet")
    outcome = predict(tmp_path / "out", paths[0], alone, "--on-invalid", "drop", genome=False)
    assert outcome.code == 2 and f"{alone}: gives enhancer " in outcome.err and "than an earlier table" in outcome.err


def test_only_sequences_of_elements_do_without_a_genome(table: pd.DataFrame, tmp_path: Path) -> None:
    """Not a column of the user's with such a name, nor rows that are kept beside faulty ones."""
    bad = spoilt(table, [(row, "cell_line", "") for row in range(0, len(table), 20)])
    path = write(bad.assign(motif_sequence="ACGT"), tmp_path / "pairs.parquet")
    outcome = predict(tmp_path / "out", path, "--on-invalid", "drop", genome=False)
    assert outcome.code == 2 and f"error: {path}:2: the sequence of enhancer" in outcome.err
    assert "needs a genome; give --genome FASTA" in outcome.err
    placed = write(table, tmp_path / "placed.parquet")
    outcome = predict(tmp_path / "out", path, placed, "--on-invalid", "drop")
    assert outcome.code == 0, outcome.err
    short = with_sequences(table.head(60), tmp_path).rename(columns={"enhancer_sequence": "enh_sequence"})
    assert {part.rows for part in plan_parts([str(write(short, tmp_path / "short.parquet"))])} == {48, 12}


# -- the same messages ------------------------------------------------------------------------------------------------


def spoilt(table: pd.DataFrame, places: Sequence[tuple[int, str, Any]]) -> pd.DataFrame:
    table = table.astype(object)
    for row, column, value in places:
        table.loc[row, column] = value
    return table.astype("str")


BAD = [
    (3, "enhancer_end", "10"),
    (3, "cell_line", ""),
    (140, "promoter_chrom", "chr9"),
    (200, "promoter_start", "1.5"),
    (201, "distance", "far"),
    (310, "promoter_end", "999999999"),
    (7, "enhancer_end", "888888888"),
]


def message(path: Path, **options: Any) -> str:
    """What reading the whole table says."""
    with pytest.raises(InputError) as caught:
        build_dataset(
            [path], open_genome(world() / "genome.fa"), lively_run().facts.windows, ReadOptions(**options), labels=False
        )
    return str(caught.value)


@pytest.mark.parametrize(
    "places", [BAD, BAD[:5], BAD[5:], [(row, "enhancer_start", "x") for row in range(10, 310, 10)]], ids=len
)
def test_what_is_wrong_is_said_as_of_a_table_in_memory(
    table: pd.DataFrame, tmp_path: Path, places: list[tuple[int, str, object]]
) -> None:
    path = write(spoilt(table, places), tmp_path / "pairs.parquet")
    outcome = predict(tmp_path / "out", path)
    assert (outcome.code, outcome.err) == (2, f"error: {message(path)}\n")
    assert sorted(tmp_path.iterdir()) == [path]


def test_rows_that_are_dropped(table: pd.DataFrame, tmp_path: Path) -> None:
    path = write(spoilt(table, BAD), tmp_path / "pairs.parquet")
    found = predicted(tmp_path / "out", path, "--on-invalid", "drop", "--outside-genome", "report")
    genome = open_genome(world() / "genome.fa")
    wanted = build_dataset(
        [path],
        genome,
        lively_run().facts.windows,
        ReadOptions(on_invalid="drop", outside_genome="report"),
        labels=False,
    )
    assert found["row"].tolist() == wanted.pairs["row"].tolist()
    dropped = pd.read_csv(tmp_path / "out" / "dropped.tsv", sep="\t", keep_default_na=False, dtype={"value": "str"})
    pd.testing.assert_frame_equal(dropped, wanted.dropped.astype(dropped.dtypes))
    outcome = predict(tmp_path / "other", path, "--outside-genome", "report")
    assert outcome.code == 2 and outcome.err == f"error: {message(path, outside_genome='report')}\n"


def test_no_row_is_left(table: pd.DataFrame, tmp_path: Path) -> None:
    path = write(table.head(3).assign(enhancer_start=-5), tmp_path / "pairs.parquet")
    outcome = predict(tmp_path / "out", path, "--on-invalid", "drop")
    assert (outcome.code, outcome.err) == (2, f"error: {message(path, on_invalid='drop')}\n")
    path = write(table.head(3).assign(enhancer_chrom="chr7", promoter_chrom="chr7"), tmp_path / "pairs.parquet")
    outcome = predict(tmp_path / "out", path, "--outside-genome", "report")
    assert (outcome.code, outcome.err) == (2, f"error: {message(path, outside_genome='report')}\n")
    assert "no chromosome of the table is in genome.fa" in outcome.err
    assert sorted(tmp_path.iterdir()) == [path]


def test_files_that_are_no_tables(table: pd.DataFrame, tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = tmp_path / "pairs.parquet"
    assert f"{path}: no such file" in predict(out, path).err
    path.write_bytes(b"PAR1 but nothing else")
    assert f"{path}: is not a readable Parquet file" in predict(out, path).err
    write(table.head(0), path)
    assert f"{path}: has columns but no rows" in predict(out, path).err
    write(table.drop(columns="promoter_end"), path)
    assert "has no column 'promoter_end'" in predict(out, path).err
    write(table, path)
    assert "needs a genome; give --genome" in predict(out, path, genome=False).err
    assert "did you mean 'unseen01'?" in predict(out, path, "--cell-line", "unsen01").err
    content = bytearray(path.read_bytes())
    content[500:5000] = bytes(4500)
    path.write_bytes(content)
    assert f"{path}: is not a readable Parquet file" in predict(out, path).err
    assert sorted(tmp_path.iterdir()) == [path]


def test_only_the_cell_line_asked_for(table: pd.DataFrame, tmp_path: Path) -> None:
    """Rows of the others need not be on the genome."""
    mixed = table.assign(assay=np.where(np.arange(len(table)) % 2, "HiC", ""))
    elsewhere = mixed["cell_line"] == "train01"
    mixed.loc[elsewhere, ["enhancer_chrom", "promoter_chrom"]] = "chr7"
    path = write(mixed, tmp_path / "pairs.parquet")
    found = predicted(tmp_path / "out", path, "--cell-line", "unseen02", "--assay", "HiC", "--write", "parquet,tsv")
    assert set(found["environment"]) == {"unseen02:HiC"}
    assert len(found) == ((mixed["cell_line"] == "unseen02") & (mixed["assay"] == "HiC")).sum()
    text = pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")
    np.testing.assert_allclose(text["probability"], found["probability"], rtol=1e-5)


def test_only_the_assay_asked_for(table: pd.DataFrame, tmp_path: Path) -> None:
    mixed = table.head(90).assign(assay=np.arange(90) % 3).replace({"assay": {0: "", 1: "HiC", 2: "ChIA"}})
    path = write(mixed, tmp_path / "pairs.parquet")
    mixed.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    for number, name in enumerate((path, tmp_path / "pairs.tsv")):
        found = predicted(tmp_path / f"out{number}", name, "--assay", "HiC")
        assert len(found) == 30 and set(found["assay"]) == {"HiC"}
        refused = predict(tmp_path / "no", name, "--assay", "HiD")
        assert "assay 'HiD' is not in the dataset, which has ChIA, HiC" in refused.err
