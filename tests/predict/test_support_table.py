"""Candidates that are not scored: the impedance is that of predicting them all."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from episode.errors import EpisodeError
from episode.predict.pairs import predict_dataset
from episode.predict.streaming.job import Request, open_job, work_folder
from tiny_world import Outcome, episode, lively_run, read, rows_of, run_folder, store_of, world

LINES = ("unseen01", "unseen02")
ONE_GENE = 7


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All candidates of two cell lines, and seven of one, as text and as Parquet."""
    folder = tmp_path_factory.mktemp("tables")
    every = rows_of(*LINES).drop(columns="label").sample(frac=1, random_state=0)
    some = every[every["cell_line"] == "unseen01"].head(ONE_GENE)
    for name, table in (("all", every), ("some", some), ("other", every[every["cell_line"] == "unseen02"])):
        table.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
        table.to_parquet(folder / f"{name}.parquet", index=False, row_group_size=100)
    return folder


def predict(out: Path, *words: object) -> Outcome:
    return episode("predict", run_folder(), *words, "--genome", world() / "genome.fa", "--out", out, "--threads", 1)


def request(*tables: Path, **options: object) -> Request:
    return Request(str(run_folder()), tuple(map(str, tables)), genome=str(world() / "genome.fa"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("support", ["all.tsv", "all.parquet"])
@pytest.mark.parametrize("pairs", ["some.tsv", "some.parquet"])
def test_some_pairs_have_the_impedance_of_all(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs: str, support: str
) -> None:
    monkeypatch.setattr("episode.predict.streaming.first_pass.load_run", lambda _: lively_run())
    wanted, alone = (
        open_job(request(tables / name), tmp_path / name).plan.table.drop(columns="n").head(1)
        for name in ("all.tsv", pairs)
    )
    job = open_job(request(tables / pairs, support=str(tables / support)), tmp_path / "some")
    pd.testing.assert_frame_equal(job.plan.table.drop(columns="n"), wanted, check_exact=True)
    assert alone["r_used"][0] != wanted["r_used"][0]
    assert job.plan.pairs == sum(part.rows for part in job.parts) == job.plan.environments[0].n == ONE_GENE
    for part in job.parts:
        job.score(part)
    job.finish()
    found = pd.read_parquet(tmp_path / "some" / "predictions.parquet")
    assert len(found) == ONE_GENE and (found["impedance"] == wanted["r_used"][0]).all()
    assert not work_folder(tmp_path / "some").exists()


def test_in_memory(tables: Path, tmp_path: Path) -> None:
    run, every = lively_run(), read(pd.read_csv(tables / "all.tsv", sep="\t", dtype=str), tmp_path)
    some = every.select((every.pairs["environment"] == "unseen01").to_numpy() & (every.pairs["row"] < 60).to_numpy())
    whole, part = (predict_dataset(run, content, store_of(content)) for content in (every, some))
    found = predict_dataset(run, some, store_of(some), support=(every, store_of(every)))
    assert found.estimates[0].r_used == pytest.approx(whole.estimates[0].r_used, abs=1e-6)
    assert found.estimates[0].support_size == whole.estimates[0].support_size > part.estimates[0].support_size
    assert found.supports[0].tolist() == whole.supports[0].tolist()
    other = every.select((every.pairs["environment"] == "unseen02").to_numpy())
    with pytest.raises(EpisodeError, match="the support has no pair of 'unseen01'"):
        predict_dataset(run, some, store_of(some), support=(other, store_of(other)))


def test_the_command(tables: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = predict(out, tables / "some.tsv", "--support", tables / "all.parquet", "--json")
    assert outcome.code == 0, outcome.err
    content = json.loads(outcome.out)
    assert content["pairs"] == ONE_GENE and content["unplaced"] == 0 and len(content["environments"]) == 1
    table = pd.read_csv(out / "environments.tsv", sep="\t")
    for name in ("r_student", "r_student_sd", "r_used_low", "r_used_high"):
        assert table[name].tolist() == [content["environments"][0][name]]
    assert "--support FILE" in episode("predict", "--help").out


def test_a_support_that_does_not_fit(tables: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused = predict(out, tables / "some.tsv", "--support", tables / "other.tsv")
    assert refused.code == 2 and f"{tables / 'other.tsv'}: has no pair of unseen01; needs candidates of" in refused.err
    refused = predict(out, tables / "some.parquet", "--support", tmp_path / "absent.tsv")
    assert refused.code == 2 and "absent.tsv: no such file" in refused.err
    assert not out.exists() and not work_folder(out).exists()


def test_rows_left_out_of_the_support_are_told(tables: Path, tmp_path: Path) -> None:
    bad = pd.read_csv(tables / "all.tsv", sep="\t", dtype=str)
    bad.loc[3, "promoter_end"] = "soon"
    bad.to_csv(tmp_path / "bad.tsv", sep="\t", index=False)
    outcome = predict(
        tmp_path / "out", tables / "some.parquet", "--support", tmp_path / "bad.tsv", "--on-invalid", "drop"
    )
    assert outcome.code == 0 and "1 rows were left out" in outcome.out, outcome.err
    dropped = pd.read_csv(tmp_path / "out" / "dropped.tsv", sep="\t")
    assert dropped[["file", "row"]].to_numpy().tolist() == [[str(tmp_path / "bad.tsv"), 5]]


def test_a_prediction_resumes_with_its_own_support_only(tables: Path, tmp_path: Path) -> None:
    open_job(request(tables / "some.parquet", support=str(tables / "all.parquet")), tmp_path / "out")._close()
    for other in ("all.tsv", None):
        support = None if other is None else str(tables / other)
        with pytest.raises(EpisodeError, match="was begun with another --support"):
            open_job(request(tables / "some.parquet", support=support), tmp_path / "out", resume=True)
    job = open_job(request(tables / "some.parquet", support=str(tables / "all.parquet")), tmp_path / "out", resume=True)
    assert job.plan.estimates[0].support_size > ONE_GENE
