"""A prediction that is killed anywhere and resumed is, byte for byte, one that was not; nothing is left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from episode.errors import EpisodeError
from episode.predict import staging
from episode.predict.job import Job, Order, open_job, work_folder
from episode.predict.pairs import score_pairs
from tiny import Outcome, rows_of, run_folder, world
from tiny import episode as command


def make_table(path: Path) -> Path:
    """Two environments; one row breaks a rule and one lies outside the genome."""
    table = rows_of("train01", "unseen01").sample(220, random_state=0).reset_index(drop=True)
    table.loc[50, "enhancer_end"] = "10"
    table.loc[120, "promoter_end"] = "999999999"
    table.to_parquet(path, index=False, row_group_size=100)
    return path


OPTIONS = ("--on-invalid", "drop", "--outside-genome", "report", "--write", "parquet,tsv", "--threads", "1")


def words(table: Path) -> list[str]:
    return ["predict", str(run_folder()), str(table), "--genome", str(world() / "genome.fa"), *OPTIONS]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return make_table(tmp_path / "pairs.parquet")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "ROWS", 64)


def test_killed_anywhere(table: Path, tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    lives.mkdir()
    script = Path(__file__).with_name("killer.py")
    done = subprocess.run(
        [sys.executable, str(script), str(lives), *words(table)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    ends = [
        line.split(": ")[1].split(", ") for line in done.stdout.splitlines() if line.startswith(("call ", "after "))
    ]
    assert len(ends) == 8 and all(end[-1] == "0" for end in ends)
    assert sum("-9" in end for end in ends) >= 6  # a timed kill may come too late
    wanted = content(lives / "whole")
    assert {"out/predictions.parquet", "out/predictions.tsv", "out/dropped.tsv"} < set(wanted)
    assert len(list(lives.iterdir())) == 9
    for life in lives.iterdir():
        assert content(life) == wanted, life
        assert [path.name for path in life.iterdir()] == ["out"]


# -- by name ----------------------------------------------------------------------------------------------------------


def predict(table: Path, out: Path, *more: object) -> Outcome:
    return command(*words(table), "--out", out, *more)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full at the second part."""
    score = Job.score

    def fail(job: Job, part: staging.Part) -> None:
        if part.number == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(job.folder / "scored"))
        score(job, part)

    monkeypatch.setattr(Job, "score", fail)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    first = predict(table, out)
    folder = work_folder(out)
    assert first.code == 2 and not out.exists()
    assert f"{folder / 'scored'}: No space left on device; what is done so far stays in {folder}" in first.err
    assert "give --resume to go on" in first.err
    job = Job.load(folder)
    assert [part.number for part in job.missing()] == list(range(1, len(job.parts)))
    assert not (folder / "rows" / f"{job.parts[0].name}.parquet").exists()

    again = predict(table, out)
    assert again.code == 2 and f"{folder}: an unfinished prediction is there; go on with it by --resume" in again.err
    monkeypatch.undo()
    monkeypatch.setattr(staging, "ROWS", 64)
    done = predict(table, out, "--resume")
    assert done.code == 0 and "218 pairs scored" in done.out and "2 rows were left out" in done.out
    assert not folder.exists()
    once_more = predict(table, out, "--resume")
    assert (once_more.code, once_more.out) == (0, done.out)


@pytest.mark.usefixtures("full_disk")
def test_only_the_same_prediction_goes_on(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(table, out)
    for options, text in (
        (("--seed", 1), "--seed differs: this prediction was begun with 0, not 1"),
        (("--batch-size", 7), "--batch-size differs: this prediction was begun with 4096, not 7"),
        (("--cell-line", "unseen01"), "--cell-line differs"),
    ):
        refused = predict(table, out, "--resume", *options)
        assert refused.code == 2 and text in refused.err and "give the same, or remove the folder" in refused.err
    pd.read_parquet(table).head(100).to_parquet(table, index=False)
    refused = predict(table, out, "--resume")
    assert refused.code == 2 and "the content of the pair tables differs" in refused.err
    make_table(table)
    assert "No space left" in predict(table, out, "--resume").err  # the same again: it goes on


def order(table: Path) -> Order:
    genome = str(world() / "genome.fa")
    return Order(str(run_folder()), (str(table),), genome, on_invalid="drop", outside_genome="report")


def test_parts_are_scored_once_by_anyone_who_opens_the_folder(table: Path, tmp_path: Path) -> None:
    first = open_job(order(table), tmp_path / "first" / "out")
    for part in first.parts:
        first.score(part)
    first.finish()

    job = open_job(order(table), tmp_path / "second" / "out")
    other = Job.load(job.folder)
    assert other.parts == job.parts and [part.rows for part in job.parts] == [64, 36, 64, 36, 20]
    for number in (4, 0):
        other.score(job.parts[number])
    scored = job.folder / "scored" / f"{job.parts[0].name}.parquet"
    before = scored.stat().st_mtime_ns
    job.score(job.parts[0])
    assert scored.stat().st_mtime_ns == before
    with pytest.raises(EpisodeError, match="3 of 5 parts are not scored yet"):
        job.finish()
    for part in reversed(job.missing()):
        job.score(part)
    job.finish()
    assert job.finish() == job.plan  # again: it stays as it is
    assert content(tmp_path / "first") == content(tmp_path / "second")


@pytest.mark.parametrize("when", ["before", "while"])
def test_who_is_late_does_not_bring_a_finished_job_back(
    when: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_job(order(table), tmp_path / "out")
    late = Job.load(first.folder)
    for part in first.parts[1:]:
        first.score(part)

    def finish() -> None:
        first.score(first.parts[0])
        first.finish()

    def score_late(*args: Any, **options: Any) -> Any:
        scores = score_pairs(*args, **options)
        monkeypatch.undo()
        finish()
        return scores

    if when == "before":
        finish()
    else:
        monkeypatch.setattr("episode.predict.job.score_pairs", score_late)
    late.score(late.parts[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pairs.parquet"]


def test_rows_that_are_missing_are_no_job_that_is_finished(table: Path, tmp_path: Path) -> None:
    job = open_job(order(table), tmp_path / "out")
    (job.folder / "rows" / f"{job.parts[0].name}.parquet").unlink()
    with pytest.raises(FileNotFoundError):
        job.score(job.parts[0])


def test_one_process_at_a_time(table: Path, tmp_path: Path) -> None:
    job = open_job(order(table), tmp_path / "out")
    with pytest.raises(EpisodeError, match="another process is at work there"):
        open_job(order(table), tmp_path / "out", resume=True)
    job.held.close()
    assert open_job(order(table), tmp_path / "out", resume=True).parts == job.parts


def test_folders_of_others_are_left_alone(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mine = work_folder(out) / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(EpisodeError, match="is not an unfinished prediction"):
        open_job(order(table), out, resume=True)
    mine.unlink()
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(EpisodeError, match="exists already and is not empty"):
        open_job(order(table), out, resume=True)
    assert content(tmp_path).keys() == {"pairs.parquet", "out/mine.txt"}
