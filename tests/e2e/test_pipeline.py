"""The whole way through the commands: simulate, build, train, predict, evaluate, report; tidy tables and domain-kl."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tiny_world import SETTINGS, as_options, dataset_folder, pairs, rows_of, run_folder, shuffled, world
from tiny_world import episode as command

ENVIRONMENT_KEYS = {
    "n",
    "positives",
    "known",
    "aupr_potential",
    "aupr",
    "auroc",
    "log_loss",
    "brier",
    "ece",
    "f1",
    "precision",
    "recall",
    "r_student",
    "r_student_sd",
    "r_teacher",
    "r_used",
    "collapsed",
}
MACRO_KEYS = {"aupr_potential", "aupr", "auroc", "log_loss", "brier", "ece", "f1", "precision", "recall"}
TRUTH_KEYS = {
    "spearman_impedance",
    "aupr_pooled_oracle_impedance",
    "aupr_bayes_pooled",
    "aupr_bayes_macro",
    "log_loss_mean_impedance",
}
FORMATS = ("predictions.parquet", "predictions.tsv", "predictions.bedpe", "predictions.interact")


def succeed(*words: object) -> str:
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    return outcome.out


def check_metrics(folder: Path, lines: set[str]) -> dict[str, Any]:
    """metrics.json has every key that is promised, and metrics.tsv says the same."""
    content = json.loads((folder / "metrics.json").read_text())
    assert set(content["environments"]) == lines
    for entry in content["environments"].values():
        assert set(entry) >= ENVIRONMENT_KEYS
        assert entry["r_teacher"] is None and entry["known"] is False and entry["r_used"] == entry["r_student"]
    assert set(content["macro"]) >= MACRO_KEYS and set(content["pooled"]) >= MACRO_KEYS
    table = pd.read_csv(folder / "metrics.tsv", sep="\t", keep_default_na=True)
    assert table["level"].tolist() == ["environment"] * len(lines) + ["macro", "pooled"]
    for _, row in table.iterrows():
        entry = content["environments"][row["environment"]] if row["level"] == "environment" else content[row["level"]]
        for key in MACRO_KEYS:
            if entry[key] is None:
                assert np.isnan(row[key])
            else:
                assert row[key] == pytest.approx(entry[key], rel=1e-5)
    for key in MACRO_KEYS:
        known = [entry[key] for entry in content["environments"].values() if entry[key] is not None]
        assert content["macro"][key] == pytest.approx(np.mean(known))
    return content


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation") / "out"
    options = ("--split", "test", "--truth", world() / "truth", "--threads", 1)
    succeed("evaluate", run_folder(), dataset_folder(), *options, "--out", out)
    return out


def test_metrics_of_unseen_cell_lines(evaluation: Path) -> None:
    content = check_metrics(evaluation, {f"unseen0{i}" for i in (1, 2, 3, 4)})
    test = pairs()[pairs()["split"] == "test"]
    for name, entry in content["environments"].items():
        mine = test[test["cell_line"] == name]["label"]
        assert (entry["n"], entry["positives"]) == (len(mine), (mine == "1").sum())
    assert set(content["truth"]) >= TRUTH_KEYS
    assert content["pooled"]["n"] == len(test)
    true = pd.read_csv(world() / "truth" / "environments.tsv", sep="\t").set_index("cell_line")["impedance"]
    used = pd.Series({name: entry["r_student"] for name, entry in content["environments"].items()})
    expected = used.corr(true[used.index], method="spearman")
    assert content["truth"]["spearman_impedance"] == pytest.approx(expected)


def test_report(evaluation: Path) -> None:
    assert "the page" in succeed("report", evaluation)
    page = (evaluation / "index.html").read_text()
    assert all(f"unseen0{i}" in page for i in (1, 2, 3, 4))
    assert {path.suffix for path in (evaluation / "figures").iterdir()} == {".png", ".svg"}


def test_evaluate_without_truth_has_none(tmp_path: Path) -> None:
    succeed("evaluate", run_folder(), dataset_folder(), "--cell-lines", "unseen01", "--out", tmp_path / "out")
    assert "truth" not in json.loads((tmp_path / "out" / "metrics.json").read_text())


def test_predict_agrees_with_evaluate(evaluation: Path, tmp_path: Path) -> None:
    """An unlabelled table of one unseen cell line, its rows in another order and gzipped, gives the same numbers."""
    table = tmp_path / "hepg2.tsv.gz"
    with gzip.open(table, "wt") as stream:
        shuffled(rows_of("unseen02").drop(columns="label")).to_csv(stream, sep="\t", index=False)
    genome = ("--genome", world() / "genome.fa", "--threads", 1)
    said = succeed("predict", run_folder(), table, *genome, "--cell-line", "unseen02", "--out", tmp_path / "out")
    assert "unseen02 (not seen in training): R_E " in said and str(tmp_path / "out") in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [*FORMATS, "environments.tsv", "prediction.json"]
    )
    found = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert (found["label"] == -1).all()
    wanted = pd.read_parquet(evaluation / "predictions.parquet")
    key = ["enhancer_name", "promoter_name"]
    wanted = wanted[wanted["environment"] == "unseen02"].set_index(key).sort_index()
    found = found.set_index(key).sort_index()
    assert found.index.equals(wanted.index)
    for name in ("potential", "impedance", "logit", "probability", "probability_low", "probability_high"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-5)


def test_a_cell_line_for_a_table_that_names_none(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    rows_of("unseen01").drop(columns=["label", "cell_line"]).to_csv(table, index=False)
    genome = ("--genome", world() / "genome.fa", "--out", tmp_path / "out")
    refused = command("predict", run_folder(), table, *genome)
    assert refused.code == 2 and "no --cell-line was given" in refused.err and str(table) in refused.err
    assert not (tmp_path / "out").exists()
    succeed("predict", run_folder(), table, *genome, "--cell-line", "HepG2", "--assay", "HiC")
    row = pd.read_csv(tmp_path / "out" / "environments.tsv", sep="\t").iloc[0]
    assert (row["environment"], row["cell_line"], row["assay"]) == ("HepG2:HiC", "HepG2", "HiC")


def test_only_the_cell_line_asked_for(tmp_path: Path) -> None:
    table = tmp_path / "pairs.tsv"
    rows_of("train01", "unseen01").to_csv(table, sep="\t", index=False)
    options = ("--genome", world() / "genome.fa", "--cell-line", "train01", "--out", tmp_path / "out")
    assert "train01 (known)" in succeed("predict", run_folder(), table, *options)
    assert set(pd.read_parquet(tmp_path / "out" / "predictions.parquet")["cell_line"]) == {"train01"}


def test_pairs_in_all_formats_by_hand(tmp_path: Path) -> None:
    """One pair with the promoter downstream, one with it upstream; coordinates stay 0-based half-open everywhere."""
    table = tmp_path / "two.tsv"
    head = "cell_line enhancer_chrom enhancer_start enhancer_end promoter_chrom promoter_start promoter_end note"
    rows = ["My_line sim1 1000 1400 sim1 3000 3600 forward", "My_line sim1 9000 9400 sim1 5000 5600 mirrored"]
    table.write_text("\n".join("\t".join(line.split()) for line in [head, *rows]) + "\n")
    options = ("--genome", world() / "genome.fa", "--out", tmp_path / "out")
    assert "support of 2 pairs" in command("predict", run_folder(), table, *options).err
    content = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert content["mirrored"].tolist() == [False, True]
    assert content["note"].tolist() == ["forward", "mirrored"]
    assert content["distance"].tolist() == [2100.0, 3900.0]
    forward, mirrored = content.to_dict("records")

    text = pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")
    assert text[["enhancer_start", "enhancer_end", "promoter_start", "promoter_end"]].to_numpy().tolist() == [
        [1000, 1400, 3000, 3600],
        [9000, 9400, 5000, 5600],
    ]
    assert text["label"].isna().all()
    np.testing.assert_allclose(text["probability"], content["probability"], rtol=1e-5)

    names = ["sim1:1000-1400_sim1:3000-3600", "sim1:9000-9400_sim1:5000-5600"]
    lines = (tmp_path / "out" / "predictions.bedpe").read_text().splitlines()
    columns = "#chrom1 start1 end1 chrom2 start2 end2 name score strand1 strand2 environment potential impedance logit"
    assert lines[0].split("\t") == columns.split()
    for line, row, place, name in zip(
        lines[1:],
        (forward, mirrored),
        ("sim1 1000 1400 sim1 3000 3600", "sim1 9000 9400 sim1 5000 5600"),
        names,
        strict=True,
    ):
        values = line.split("\t")
        assert values[:6] == place.split()
        assert values[6:7] + values[8:11] == [name, ".", ".", "My_line"]
        numbers = [row[key] for key in ("probability", "potential", "impedance", "logit")]
        assert [float(values[i]) for i in (7, 11, 12, 13)] == pytest.approx(numbers, rel=1e-5)

    lines = (tmp_path / "out" / "predictions.interact").read_text().splitlines()
    assert lines[0].startswith("track type=interact ") and "interactDirectional=true" in lines[0]
    head = "#chrom chromStart chromEnd name score value exp color "
    head += "sourceChrom sourceStart sourceEnd sourceName sourceStrand "
    head += "targetChrom targetStart targetEnd targetName targetStrand"
    assert lines[1].split("\t") == head.split()
    for line, row, span, sides in zip(
        lines[2:],
        (forward, mirrored),
        (["sim1", "1000", "3600"], ["sim1", "5000", "9400"]),
        (
            "sim1 1000 1400 sim1:1000-1400 . sim1 3000 3600 sim1:3000-3600 .",
            "sim1 9000 9400 sim1:9000-9400 . sim1 5000 5600 sim1:5000-5600 .",
        ),
        strict=True,
    ):
        values = line.split("\t")
        assert values[:3] == span and values[8:] == sides.split()
        assert int(values[4]) == round(1000 * row["probability"])
        assert float(values[5]) == pytest.approx(row["logit"], rel=1e-5)
        assert (values[6], values[7]) == ("My_line", "0")


def test_a_bedpe_of_ours_is_read_again(tmp_path: Path) -> None:
    table = tmp_path / "some.tsv"
    rows_of("unseen01").head(30).to_csv(table, sep="\t", index=False)
    genome = ("--genome", world() / "genome.fa")
    succeed("predict", run_folder(), table, *genome, "--out", tmp_path / "first")
    again = ("--format", "bedpe", "--cell-line", "unseen01", "--out", tmp_path / "second")
    succeed("predict", run_folder(), tmp_path / "first" / "predictions.bedpe", *genome, *again)
    first, second = (pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("first", "second"))
    np.testing.assert_allclose(second["probability"], first["probability"], rtol=1e-5)


def test_domain_kl_folder(tmp_path: Path) -> None:
    """A folder as the simulator writes it goes all the way, without a genome."""
    source, data, run = tmp_path / "tissues", tmp_path / "dataset", tmp_path / "run"
    succeed("simulate", "--preset", "tiny", "--format", "domain-kl", "--out", source)
    succeed("data", "build", source, "--enhancer-window", 0, "--promoter-window", 0, "--out", data)
    manifest = json.loads((data / "manifest.json").read_text())
    assert manifest["genome"]["sha256"] is None
    assert manifest["counts"]["pairs"] == len(pairs())
    succeed("train", data, "--out", run, *as_options(SETTINGS), "--threads", 1)
    succeed("evaluate", run, data, "--split", "test", "--truth", source / "truth", "--out", tmp_path / "evaluation")
    content = check_metrics(tmp_path / "evaluation", {f"unseen0{i}" for i in (1, 2, 3, 4)})
    assert set(content["truth"]) >= TRUTH_KEYS

    single = tmp_path / "one" / "test"
    single.mkdir(parents=True)
    (source / "test" / "unseen03").rename(single / "unseen03")
    said = succeed("predict", run, tmp_path / "one", "--cell-line", "unseen03", "--out", tmp_path / "predictions")
    assert "unseen03 (not seen in training)" in said
    found = pd.read_parquet(tmp_path / "predictions" / "predictions.parquet")
    wanted = pd.read_parquet(tmp_path / "evaluation" / "predictions.parquet")
    wanted = wanted[wanted["environment"] == "unseen03"]
    key = ["enhancer_name", "promoter_name"]
    numbers = ["potential", "probability"]
    pd.testing.assert_frame_equal(
        found.set_index(key)[numbers].sort_index(), wanted.set_index(key)[numbers].sort_index(), rtol=1e-5
    )


def test_the_same_world_by_both_formats_is_one_dataset(tmp_path: Path) -> None:
    """Sequences given and sequences read from the genome are the same bases, so the element store is the same."""
    succeed("simulate", "--preset", "tiny", "--format", "domain-kl", "--out", tmp_path / "tissues")
    windows = ("--enhancer-window", 0, "--promoter-window", 0)
    succeed("data", "build", tmp_path / "tissues", *windows, "--out", tmp_path / "dataset")
    key = ["cell_line", "enhancer_name", "promoter_name"]
    mine, other = (
        pd.read_parquet(folder / "pairs.parquet").set_index(key).sort_index()
        for folder in (dataset_folder(), tmp_path / "dataset")
    )
    pd.testing.assert_frame_equal(mine[["label", "mirrored", "split"]], other[["label", "mirrored", "split"]])
