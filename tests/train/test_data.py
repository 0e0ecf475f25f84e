"""What a training run reads: a validation split that shares loci with training is not believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from episode.checkpoint import load_run
from episode.config import WindowConfig
from episode.data.dataset import Dataset, assemble
from episode.data.leakage import LeakageAuditor
from episode.data.readers import read_pairs
from episode.encode.store import build_store
from episode.train.crossfit import train
from episode.train.data import gather_data, shared_validation
from tiny_world import config, dataset, run_folder

PLACES = {
    "here": ("chr1", 0, 8),
    "beside": ("chr1", 7, 15),  # a base in common with "here"
    "after": ("chr1", 8, 16),  # none
    "far": ("chr2", 0, 8),
}
LETTERS = dict(zip(PLACES, "ACGT", strict=True))


def made(folder: Path, *rows: tuple[str, str, str]) -> Dataset:
    """Pairs of (split, cell line, place of the enhancer), each with a promoter of its own."""
    lines = ["split,cell_line,label,enhancer_chrom,enhancer_start,enhancer_end,enhancer_sequence,"]
    lines[0] += "promoter_chrom,promoter_start,promoter_end,promoter_sequence"
    for number, (split, line, place) in enumerate(rows):
        chrom, start, end = PLACES[place]
        promoter = f"{chrom},{1000 + 100 * number},{1008 + 100 * number},{'ACGTACGT'[number:]}{'G' * number}"
        lines.append(f"{split},{line},1,{chrom},{start},{end},{LETTERS[place] * 8},{promoter}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    return assemble(read_pairs(folder / "pairs.csv"), None, WindowConfig(enhancer=0, promoter=0))


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        ([("train", "A", "here"), ("val", "A", "beside"), ("val", "A", "far")], 0.5),
        ([("train", "A", "here"), ("val", "A", "after"), ("val", "A", "far")], 0.0),
        ([("", "A", "here"), ("val", "A", "here")], 1.0),
        ([("train", "A", "here"), ("train", "B", "far"), ("val", "B", "here")], 1.0),
        ([("train", "A", "here"), ("val", "B", "here")], 0.0),
        ([("train", "A", "far"), ("test", "A", "here"), ("val", "A", "here")], 0.0),
        ([("train", "A", "here"), ("test", "A", "here")], 0.0),
    ],
    ids=["half", "none", "no split", "of another line", "lines held out", "test does not train", "no val"],
)
def test_the_share_of_validation_at_loci_of_training(
    tmp_path: Path, rows: list[tuple[str, str, str]], share: float
) -> None:
    assert shared_validation(made(tmp_path, *rows)) == share


def test_validation_that_shares_loci_is_learned_from_and_it_is_said(tmp_path: Path) -> None:
    run = load_run(run_folder())
    content = dataset().select(dataset().pairs["cell_line"].isin(["train01", "train02"]).to_numpy())
    store = build_store(content, run.bank, run.facts.config.stem)
    split = np.where(np.arange(len(content.pairs)) % 10 == 0, "val", "train")
    table = content.pairs.assign(split=split)
    shared = replace(content, pairs=table)
    data = gather_data(shared, config(), 0, store=store)
    judged = np.concatenate([pool.rows for pool in data.roles.validation])
    assert set(split[data.learning]) == set(split[judged]) == {"train", "val"}
    masks = (np.isin(np.arange(len(split)), rows) for rows in (data.learning, judged))
    assert LeakageAuditor(shared).audit(*masks).locus.rows == 0
    percent = f"{shared_validation(shared):.0%}"
    assert shared_validation(shared) > 0.9
    assert [
        note.startswith(f"{percent} of the validation pairs share a locus with training") for note in data.notes
    ] == [True]
    result = train(
        shared, config("training.steps=1", "training.settle_steps=0"), seed=0, folder=tmp_path / "run", store=store
    )
    assert result.notes == data.notes
