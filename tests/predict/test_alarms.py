"""The alarms of a run go with everything that is made with it, read whole or block by block."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from episode.checkpoint import Alarm, Alarms, load_run, save_run
from episode.predict.alarms import alarm_names, alarm_texts
from episode.predict.pairs import predict_dataset
from episode.schema import write_model
from tiny_world import dataset_folder, episode, lively_run, read, rows_of, run_folder, store_of, world

WEAK = Alarm(name="weak_potential", text="macro AUROC 0.517 +- 0.05 on\nvalidation environments")
COLLAPSE = [Alarm(name="collapse", text=f"train0{number}: nearly every pair gets the same call") for number in (5, 6)]
SAID = "alarm of the run, weak_potential: macro AUROC 0.517 +- 0.05 on validation environments"
TWICE = "alarm of the run, collapse: train05: nearly every pair gets the same call (and 1 more)"
TRACK = 'description="ALARMS: weak_potential, collapse; predicted enhancer-promoter interactions: unseen01"'


@pytest.fixture(scope="module")
def weak_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with three alarms of two names."""
    folder = tmp_path_factory.mktemp("weak") / "run"
    shutil.copytree(run_folder(), folder)
    write_model(folder / "alarms.json", Alarms([WEAK, *COLLAPSE]))
    run = load_run(run_folder())
    save_run(folder, run)
    return folder


def environments(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "environments.tsv", sep="\t", keep_default_na=False)


def test_one_line_for_each_name() -> None:
    assert alarm_texts([WEAK, *COLLAPSE]) == [SAID, TWICE]
    assert alarm_names([*COLLAPSE, WEAK]) == ["collapse", "weak_potential"]
    assert alarm_texts([]) == alarm_names([]) == []


@pytest.mark.parametrize("ending", ["tsv", "parquet"])
def test_they_go_with_a_prediction(weak_folder: Path, tmp_path: Path, ending: str) -> None:
    table, out = rows_of("unseen01").drop(columns="label"), tmp_path / "out"
    path = tmp_path / f"pairs.{ending}"
    if ending == "tsv":
        table.to_csv(path, sep="\t", index=False)
    else:
        table.to_parquet(path)
    options = ("--genome", world() / "genome.fa", "--write", "interact,bedpe", "--threads", 1)
    outcome = episode("predict", weak_folder, path, *options, "--out", out)
    assert outcome.code == 0, outcome.err
    assert outcome.err.count(SAID) == outcome.err.count(TWICE) == 1
    assert environments(out)["warnings"].str.endswith(f"{SAID}; {TWICE}").all()
    found = json.loads((out / "prediction.json").read_text())["found"]
    assert found["alarms"] == [alarm.model_dump() for alarm in (WEAK, *COLLAPSE)]
    assert TRACK in (out / "predictions.interact").read_text().splitlines()[0]
    assert (out / "predictions.bedpe").read_text().startswith("#chrom1\t"), "a header that others read"


def test_they_go_with_a_prediction_in_memory(tmp_path: Path) -> None:
    content = read(rows_of("unseen01", "unseen02"), tmp_path)
    run = replace(lively_run(), alarms=(WEAK,))
    found = predict_dataset(run, content, store_of(content))
    assert found.environments["warnings"].str.endswith(SAID).all()
    assert not any(SAID in text for estimate in found.estimates for text in estimate.warnings)
    quiet = predict_dataset(replace(run, alarms=()), content, store_of(content))
    assert not quiet.environments["warnings"].str.contains("alarm").any()


def test_they_go_with_an_evaluation_and_its_page(weak_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--cell-lines", "unseen01,unseen02", "--threads", 1)
    outcome = episode("evaluate", weak_folder, dataset_folder(), *options, "--json", "--out", out)
    assert outcome.code == 0, outcome.err
    assert SAID in outcome.err and TWICE in outcome.err
    raised = [alarm.model_dump() for alarm in (WEAK, *COLLAPSE)]
    content = json.loads((out / "metrics.json").read_text())
    assert content["training_alarms"] == json.loads(outcome.out)["training_alarms"] == raised
    assert not any("alarm" in entry["warnings"] for entry in content["environments"].values())
    assert environments(out)["warnings"].str.endswith(f"{SAID}; {TWICE}").all()
    outcome = episode("report", out)
    assert "Weak potential, in training: macro AUROC 0.517" in outcome.err
    page = (out / "index.html").read_text()
    assert page.index("Weak potential, in training") < page.index('class="headline"')


def test_they_go_with_an_explanation(weak_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("captum")
    out = tmp_path / "out"
    options = ("--split", "test", "--pairs", 1, "--figures", 0, "--threads", 1)
    outcome = episode("explain", weak_folder, dataset_folder(), *options, "--out", out)
    assert outcome.code == 0 and SAID in outcome.err, outcome.err
    assert json.loads((out / "explain.json").read_text())["alarms"][0] == WEAK.model_dump()
    assert pd.read_csv(out / "pairs.tsv", sep="\t")["alarms"].tolist() == ["weak_potential; collapse"]


def test_unlabelled_pairs_are_evaluated_with_a_word(weak_folder: Path, tmp_path: Path) -> None:
    table = rows_of("unseen01", "unseen02").assign(label="")
    table.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    windows = ("--enhancer-window", 0, "--promoter-window", 0)
    built = episode(
        "data", "build", tmp_path / "pairs.tsv", "--genome", world() / "genome.fa", *windows, "--out", tmp_path / "data"
    )
    assert built.code == 0, built.err
    outcome = episode("evaluate", weak_folder, tmp_path / "data", "--threads", 1, "--out", tmp_path / "out")
    assert outcome.code == 0 and "no pair is labelled, so nothing was scored" in outcome.err
    head, *lines = outcome.out.splitlines()
    assert head.split() == ["environment", "support_size", "r_student", "r_student_low", "r_student_high", "r_used"]
    assert [line.split()[0] for line in lines[:2]] == ["unseen01", "unseen02"] and " - " not in outcome.out
    outcome = episode("report", tmp_path / "out")
    assert outcome.code == 0 and "this page has no scores, only R_S and the warnings" in outcome.err
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.index("No pair of this dataset is labelled") < page.index('class="headline"')
    assert 'id="impedances"' in page and 'id="headline"' not in page
