"""Choosing rows and counting what parts share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from episode.config import WindowConfig
from episode.data.dataset import Dataset, assemble
from episode.data.readers import read_pairs
from episode.data.splits import Shared, hold_out, leakage_audit, select_rows, split_audit
from episode.errors import EpisodeError


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Six pairs; e1 and e1b have one sequence under two names."""
    dna = {"e1": "AAAA", "e1b": "aaaa", "e2": "CCCC", "p1": "GGGG", "p2": "TTTT"}
    rows = [
        ("train", "K562", "HiC", "chr1", "e1", "p1"),
        ("train", "K562", "HiC", "chr1", "e2", "p1"),
        ("test", "HMEC", "", "chr2", "e1b", "p1"),
        ("test", "HMEC", "", "chr1", "e1", "p2"),
        ("test", "K562", "HiC", "chr2", "e2", "p2"),
        ("", "K562", "", "chr2", "e2", "p1"),
    ]
    spots = {"e1": (0, 4), "e1b": (10, 14), "e2": (20, 24), "p1": (30, 34), "p2": (40, 44)}
    parts = ("chrom", "start", "end", "name", "sequence")
    columns = [f"{side}_{part}" for side in ("enhancer", "promoter") for part in parts]
    text = ",".join(["split", "cell_line", "assay", "label", *columns]) + "\n"
    for split, cell, assay, chrom, e, p in rows:
        sides = [f"{chrom},{spots[x][0]},{spots[x][1]},{chrom}{x},{dna[x]}" for x in (e, p)]
        text += ",".join([split, cell, assay, "1", *sides]) + "\n"
    (tmp_path / "pairs.csv").write_text(text)
    return assemble(read_pairs(tmp_path / "pairs.csv"), None, WindowConfig(0, 0))


def test_select_rows(dataset: Dataset) -> None:
    assert select_rows(dataset).all()
    assert np.flatnonzero(select_rows(dataset, split="test")).tolist() == [2, 3, 4]
    assert np.flatnonzero(select_rows(dataset, cell_lines=["K562"])).tolist() == [0, 1, 4, 5]
    assert np.flatnonzero(select_rows(dataset, cell_lines=["K562:HiC"])).tolist() == [0, 1, 4]
    both = select_rows(dataset, "test", ["HMEC"], ["chr2"])
    assert np.flatnonzero(both).tolist() == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "val"}, "split 'val' is not in the dataset, which has test, train"),
        (
            {"cell_lines": ["K526"]},
            r"cell line 'K526' .* which has HMEC, K562, K562:HiC; did you mean 'K562'\?",
        ),
        ({"chromosomes": ["1"]}, "chromosome '1' is not in the dataset, which has chr1, chr2"),
    ],
)
def test_unknown_names_list_those_that_exist(dataset: Dataset, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        select_rows(dataset, **arguments)  # type: ignore[arg-type]


def test_hold_out_cell_line_and_chromosome(dataset: Dataset) -> None:
    held = hold_out(dataset, cell_lines=["HMEC"], chromosomes=["chr2"])
    assert np.flatnonzero(held.train).tolist() == [0, 1]
    assert np.flatnonzero(held.test).tolist() == [2]
    lines = hold_out(dataset, cell_lines=["HMEC"])
    assert np.flatnonzero(lines.test).tolist() == [2, 3]
    assert not (lines.train & lines.test).any()
    with pytest.raises(EpisodeError, match="nothing is held out"):
        hold_out(dataset)


def test_leakage_by_hand(dataset: Dataset) -> None:
    leakage = leakage_audit(dataset, select_rows(dataset, "train"), select_rows(dataset, "test"))
    assert (leakage.rows_a, leakage.rows_b) == (2, 3)
    assert leakage.enhancer == Shared(3, 1.0)
    assert leakage.promoter == Shared(1, 1 / 3)
    assert leakage.pair == Shared(1, 1 / 3)
    assert leakage.locus == Shared(1, 1 / 3)


def test_nothing_shared_with_nothing(dataset: Dataset) -> None:
    nothing = np.zeros(6, dtype=bool)
    assert leakage_audit(dataset, ~nothing, nothing).pair == Shared(0, 0.0)


def test_split_audit_takes_the_parts_present(dataset: Dataset) -> None:
    audit = split_audit(dataset)
    assert audit["parts"] == ["train", "test"]
    (one,) = audit["leakage"]
    assert (one["part_a"], one["part_b"], one["promoter"]) == ("train", "test", {"rows": 1, "share": 1 / 3})
