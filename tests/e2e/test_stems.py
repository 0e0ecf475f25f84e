"""Every kind of stem through the commands: train, predict, evaluate and compare on the tiny world."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from episode.checkpoint import load_run
from tiny_world import as_options, dataset_folder, rows_of, world
from tiny_world import episode as command

KINDS = {
    "conv": ("stem.kind=conv", "stem.filters=8", "stem.length=9"),
    "known": ("stem.kind=conv", "stem.filters=0", "stem.known=true", "stem.min_information=18"),
    "kmer": ("stem.kind=kmer", "stem.filters=8", "stem.kmer=4"),
    "gated": ("stem.kind=kmer", "stem.filters=8", "stem.gate=CTCF"),
}


def succeed(*words: object) -> str:
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    return outcome.out


@pytest.mark.parametrize("kind", KINDS)
def test_train_predict_and_evaluate(tmp_path: Path, kind: str) -> None:
    """What evaluation says of a pair, prediction says from its DNA: the run folder holds all that it needs."""
    run = tmp_path / "run"
    succeed("train", dataset_folder(), *as_options(), *as_options(KINDS[kind]), "--threads", 1, "--out", run)
    loaded = load_run(run)
    assert (len(loaded.bank) > 0) == (kind == "known") and (loaded.bank.gate is not None) == (kind == "gated")
    succeed("evaluate", run, dataset_folder(), "--cell-lines", "unseen02", "--out", tmp_path / "evaluation")
    content = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    table = tmp_path / "table.tsv"
    rows_of("unseen02").to_csv(table, sep="\t", index=False)
    genome = ("--genome", world() / "genome.fa", "--threads", 1)
    succeed("predict", run, table, *genome, "--out", tmp_path / "out")
    found = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert found["potential"].nunique() > 10 and found["probability"].between(0, 1).all()
    label = found["label"].to_numpy()
    log_loss = -np.mean(np.log(np.where(label == 1, found["probability"], 1 - found["probability"])))
    assert content["environments"]["unseen02"]["log_loss"] == pytest.approx(log_loss, rel=1e-4)


@pytest.mark.usefixtures("jobs_in_this_process")
def test_baselines_keep_the_motif_scores(tmp_path: Path) -> None:
    """Beside EPIsode with another stem, a method on motifs scores as it does beside the motif stem."""
    protocol = tmp_path / "protocol.toml"
    protocol.write_text('name = "tiny"\n[holdout]\nby = "split"\n[bootstrap]\ndraws = 20\n')

    def scores(name: str, methods: str, *settings: str) -> dict[str, float]:
        out = tmp_path / name
        options = [*as_options(), *as_options(settings), "--workers", 1, "--methods", methods, "--out", out]
        succeed("compare", protocol, dataset_folder(), *options)
        content = json.loads((out / "results.json").read_text())["methods"]
        return {method: entry["macro"]["auroc"]["value"] for method, entry in content.items()}

    motif = scores("motif", "ctcf_convergence")
    conv = scores("conv", "episode,ctcf_convergence", *KINDS["conv"])
    assert "episode.potential" in conv
    assert conv["ctcf_convergence"] == motif["ctcf_convergence"]


def test_a_kind_that_is_not_there(tmp_path: Path) -> None:
    outcome = command("train", dataset_folder(), "--set", "stem.kind=cov", "--out", tmp_path / "run")
    assert outcome.code == 2
    assert "stem.kind: needed one of motif, conv, kmer, got 'cov'; did you mean 'conv'?" in outcome.err
    assert not (tmp_path / "run").exists()
