"""A prediction that is killed anywhere and resumed is, byte for byte, one that was not; nothing is left behind."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from episode.checkpoint import Run, load_run
from episode.errors import EpisodeError
from episode.predict.pairs import score_pairs
from episode.predict.streaming import blocks as staging
from episode.predict.streaming.job import Job, Request, open_job, work_folder
from tiny_world import Outcome, rows_of, run_folder, world
from tiny_world import episode as command


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


@pytest.mark.parametrize(("points", "moments"), [(1, 0), pytest.param(6, 2, marks=pytest.mark.slow)])
def test_killed_anywhere(points: int, moments: int, table: Path, tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    lives.mkdir()
    script = Path(__file__).with_name("killed_prediction.py")
    order: list[str | Path] = [sys.executable, script, lives, str(points), str(moments), *words(table)]
    done = subprocess.run(order, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    ends = [
        line.split(": ")[1].split(", ") for line in done.stdout.splitlines() if line.startswith(("call ", "after "))
    ]
    assert len(ends) == points + moments and all(end[-1] == "0" for end in ends)
    assert sum("-9" in end for end in ends) >= points  # a timed kill may come too late
    wanted = content(lives / "whole")
    assert {"out/predictions.parquet", "out/predictions.tsv", "out/dropped.tsv"} < set(wanted)
    assert len(list(lives.iterdir())) == 1 + points + moments
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
    assert again.code == 2 and f"{folder}: an unfinished prediction is there; resume it by --resume" in again.err
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
        (("--seed", 1), "this prediction was begun with another --seed (0, not 1)"),
        (("--batch-size", 7), "this prediction was begun with another --batch-size (4096, not 7)"),
        (("--cell-line", "unseen01"), "this prediction was begun with another --cell-line (None, not 'unseen01')"),
    ):
        refused = predict(table, out, "--resume", *options)
        assert refused.code == 2 and text in refused.err and "give the same, or remove the folder" in refused.err
    pd.read_parquet(table).head(100).to_parquet(table, index=False)
    refused = predict(table, out, "--resume")
    assert refused.code == 2 and "another content of the pair tables" in refused.err
    make_table(table)
    assert "No space left" in predict(table, out, "--resume").err  # the same again: it goes on


def request_for(table: Path) -> Request:
    genome = str(world() / "genome.fa")
    return Request(str(run_folder()), (str(table),), genome, on_invalid="drop", outside_genome="report")


def test_parts_are_scored_once_by_anyone_who_opens_the_folder(table: Path, tmp_path: Path) -> None:
    first = open_job(request_for(table), tmp_path / "first" / "out")
    for part in first.parts:
        first.score(part)
    first.finish()

    job = open_job(request_for(table), tmp_path / "second" / "out")
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
    first = open_job(request_for(table), tmp_path / "out")
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
        monkeypatch.setattr("episode.predict.streaming.job.score_pairs", score_late)
    late.score(late.parts[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pairs.parquet"]


def test_rows_that_are_missing_are_no_job_that_is_finished(table: Path, tmp_path: Path) -> None:
    job = open_job(request_for(table), tmp_path / "out")
    (job.folder / "rows" / f"{job.parts[0].name}.parquet").unlink()
    with pytest.raises(FileNotFoundError):
        job.score(job.parts[0])


def test_one_process_at_a_time(table: Path, tmp_path: Path) -> None:
    job = open_job(request_for(table), tmp_path / "out")
    for resume, other in ((True, table), (False, table), (True, tmp_path / "absent.parquet")):
        with pytest.raises(EpisodeError, match="another process is writing there; wait for it"):
            open_job(request_for(other), tmp_path / "out", resume=resume)
    job.held.close()
    assert open_job(request_for(table), tmp_path / "out", resume=True).parts == job.parts


def test_folders_of_others_are_left_alone(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mine = work_folder(out) / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(EpisodeError, match="is not an unfinished prediction"):
        open_job(request_for(table), out, resume=True)
    mine.unlink()
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(EpisodeError, match="exists already and is not empty"):
        open_job(request_for(table), out, resume=True)
    assert content(tmp_path).keys() == {"pairs.parquet", "out/mine.txt"}


def test_what_another_process_does_meanwhile_is_seen_under_the_lock(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one ends, or begins with other tables, after the first look and before the lock."""

    def meanwhile(act: Callable[[], object]) -> None:
        def late(folder: Path) -> Run:
            monkeypatch.undo()
            monkeypatch.setattr(staging, "ROWS", 64)
            act()
            return load_run(folder)

        monkeypatch.setattr("episode.predict.streaming.first_pass.load_run", late)

    def whole() -> None:
        job = open_job(request_for(table), tmp_path / "out")
        for part in job.parts:
            job.score(part)
        job.finish()

    meanwhile(whole)
    job = open_job(request_for(table), tmp_path / "out", resume=True)
    assert job.finish().pairs == 218 and not job.folder.exists()

    other = tmp_path / "other"
    for resume, text in ((True, "another --seed"), (False, "an unfinished prediction is there")):
        meanwhile(lambda: open_job(replace(request_for(table), seed=1), other, resume=True).held.close())
        with pytest.raises(EpisodeError, match=text):
            open_job(request_for(table), other, resume=resume)


def stopped(table: Path, out: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A prediction that ends by an error at its third block."""
    stage = staging.Staging._stage

    def fail(self: staging.Staging, part: staging.Part, block: object) -> None:
        if part.number == 2:
            raise error
        stage(self, part, block)

    with monkeypatch.context() as patch:
        patch.setattr(staging.Staging, "_stage", fail)
        with pytest.raises(EpisodeError, match="give --resume to go on"):
            open_job(request_for(table), out)


def test_a_failing_disk_takes_nothing_away(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(table, tmp_path / "out", monkeypatch, OSError(errno.EIO, os.strerror(errno.EIO), str(table)))
    assert len(list((work_folder(tmp_path / "out") / "rows").rglob("*.parquet"))) == 2
    assert len(open_job(request_for(table), tmp_path / "out", resume=True).parts) == 5
    reported = staging._unreadable("pairs.parquet", OSError(errno.EIO, "Input/output error"))
    assert isinstance(reported, OSError) and (reported.errno, reported.filename) == (errno.EIO, "pairs.parquet")
    assert isinstance(staging._unreadable("pairs.parquet", OSError("Unexpected end of stream")), EpisodeError)


def test_tables_that_change_within(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the footer does not tell counts while the tables are read, and no longer once they are."""
    out = tmp_path / "out"
    stopped(table, out, monkeypatch, OSError(errno.EIO, "Input/output error"))
    written = table.stat().st_mtime_ns
    os.utime(table, ns=(written + 1, written + 1))
    with pytest.raises(EpisodeError, match="another time of writing of the pair tables"):
        open_job(request_for(table), out, resume=True)
    os.utime(table, ns=(written, written))
    open_job(request_for(table), out, resume=True).held.close()
    os.utime(table, ns=(written + 1, written + 1))
    open_job(request_for(table), out, resume=True).held.close()


def test_the_whole_footer_counts(tmp_path: Path) -> None:
    """In a file whose footer is longer than what is read of its beginning."""
    path = tmp_path / "wide.parquet"
    columns = {f"column{number:05d}": [0] for number in range(3000)}
    hashes = set()
    for value in (0, 1):
        pd.DataFrame(columns | {"column01000": [value]}).to_parquet(path, index=False, compression=None)
        content = Request(str(run_folder()), (str(path),)).identity(None)["content"]
        assert isinstance(content, list)
        hashes.add((path.stat().st_size, content[0][1]))
    assert len(hashes) == 2 and len({size for size, _ in hashes}) == 1


def test_another_spelling_is_the_same_table(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_job(request_for(table), tmp_path / "out").held.close()
    monkeypatch.chdir(tmp_path)
    open_job(request_for(Path(table.name)), Path("out"), resume=True).held.close()
    table.rename("others.parquet")
    with pytest.raises(EpisodeError, match=r"begun with another list of pair tables \(.*others\.parquet.*\)"):
        open_job(request_for(Path("others.parquet")), Path("out"), resume=True)


def test_files_of_other_versions(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    open_job(request_for(table), out).held.close()
    begun = work_folder(out) / "job.json"
    whole = begun.read_text()
    with monkeypatch.context() as patch:
        patch.setattr("episode.predict.request.__version__", "99.0")
        with pytest.raises(EpisodeError, match=r"another version of EPIsode \(.*, not '99\.0'\)"):
            open_job(request_for(table), out, resume=True)
    for content in ("[]", "{}", '{"identity": 3}'):
        begun.write_text(content)
        with pytest.raises(EpisodeError, match=r"job\.json: was not written by a prediction of this version"):
            open_job(request_for(table), out, resume=True)
    old = json.loads(whole)
    del old["identity"]["job_format"]
    begun.write_text(json.dumps(old))
    with pytest.raises(EpisodeError, match=r"another work format \(unknown, not 2\)"):
        open_job(request_for(table), out, resume=True)
    finished = tmp_path / "finished"
    finished.mkdir()
    (finished / "prediction.json").write_text('{"mine": 1}')
    with pytest.raises(EpisodeError, match=r"finished/prediction\.json: was not written"):
        open_job(request_for(table), finished, resume=True)


def test_where_the_result_may_lie(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "out").symlink_to("target")
    job = open_job(request_for(table), tmp_path / "out")
    for part in job.parts:
        job.score(part)
    job.finish()
    assert (tmp_path / "out" / "predictions.parquet").exists() and (tmp_path / "out").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pairs.parquet", "target"]
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for out, text in ((".", "is the folder this command runs in"), ("/", "is where a file system begins")):
        refused = predict(table, Path(out))
        assert refused.code == 2 and f"error: {out}: {text}" in refused.err


def test_labels_of_other_environments(table: Path, tmp_path: Path) -> None:
    """What was read stays, and goes on with other labels."""
    few, out = tmp_path / "few.tsv", tmp_path / "out"
    others = rows_of("unseen02").head(5)
    others.assign(label="").to_csv(few, sep="\t", index=False)
    refused = predict(table, out, "--support-labels", few)
    assert refused.code == 2 and "with a label 0 or 1" in refused.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few.tsv", "pairs.parquet"]
    others.assign(label="1").to_csv(few, sep="\t", index=False)
    refused = predict(table, out, "--support-labels", few)
    assert refused.code == 2 and "has no pair of " in refused.err and "give --resume to go on" in refused.err
    staged = {path: path.stat().st_mtime_ns for path in (work_folder(out) / "rows").rglob("*.parquet")}
    rows_of("unseen01").head(5).assign(label="1").to_csv(few, sep="\t", index=False)
    plan = open_job(
        replace(request_for(table), support_labels=str(few), formats=("parquet", "tsv")), out, resume=True
    ).plan
    assert sum(estimate.labels for estimate in plan.estimates) == 5 and len(staged) == 5
    assert all(path.stat().st_mtime_ns == when for path, when in staged.items())


def test_a_scored_part_that_is_cut_short_is_missing(table: Path, tmp_path: Path) -> None:
    job = open_job(request_for(table), tmp_path / "out")
    scored = job.folder / "scored" / f"{job.parts[1].name}.parquet"
    scored.parent.mkdir(parents=True, exist_ok=True)
    scored.write_bytes(b"")
    job.held.close()
    job = open_job(request_for(table), tmp_path / "out", resume=True)
    assert job.missing() == list(job.parts)
    for part in job.parts:
        job.score(part)
    whole = scored.read_bytes()
    scored.write_bytes(whole[:-20])
    job.held.close()
    assert open_job(request_for(table), tmp_path / "out", resume=True).missing() == [job.parts[1]]


def test_a_place_is_named_once(tmp_path: Path) -> None:
    bad = tmp_path / "bad.tsv"
    table = rows_of("train01").head(3)
    table.to_csv(bad, sep="\t", index=False)
    outcome = command("predict", run_folder(), bad, "--out", tmp_path / "out")
    assert outcome.code == 2 and outcome.err.count(str(bad)) == 1
