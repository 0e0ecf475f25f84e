"""The shipped protocols on the real tables that they are for: what is tested, by what, and how much of it is known.

Numbers of pairs and positives were counted without the library, see tests/data/test_real_data.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from episode.compare.folds import audit_folds, locus_masks, make_folds
from episode.compare.protocol import Protocol, load_protocol
from episode.config import WindowConfig
from episode.data.build import ReadOptions, build_dataset
from episode.data.dataset import Dataset
from episode.data.genome import open_genome

pytestmark = pytest.mark.real_data

FASTA = "hg19.chr20_chr22part_chrX70M.fa.gz"
TARGETFINDER = {
    "GM12878": (1669, 100),
    "HUVEC": (1181, 48),
    "HeLa-S3": (1740, 74),
    "IMR90": (1284, 60),
    "K562": (1683, 106),
    "NHEK": (1270, 71),
}


def build(protocol: Protocol, real_data: Path, pattern: str) -> Dataset:
    """Read tables as the command does."""
    data = protocol.data
    return build_dataset(
        [str(path) for path in sorted(real_data.glob(pattern))],
        open_genome(real_data / FASTA),
        WindowConfig(enhancer=data.enhancer_window, promoter=data.promoter_window),
        ReadOptions(format=data.format or None, outside_genome=data.outside_genome, max_unknown=data.max_unknown),
    )


@pytest.fixture(scope="module")
def targetfinder(real_data: Path) -> Dataset:
    return build(load_protocol("T"), real_data, "targetfinder/pairs.tsv.gz")


def test_every_targetfinder_pair_is_tested_once_and_nothing_leaks(targetfinder: Dataset) -> None:
    protocol = load_protocol("T")
    folds = make_folds(protocol, targetfinder)
    pairs = targetfinder.pairs
    assert sum(int(fold.test.sum()) for fold in folds) == len(pairs) == 8827
    found = {line: (len(part), int(part["label"].sum())) for line, part in pairs.groupby("cell_line")}
    assert found == TARGETFINDER
    assert not audit_folds(protocol, targetfinder, folds, allow=False).locus_leak
    assert locus_masks(targetfinder, folds) == {}


def test_cell_lines_that_share_promoters_are_tested_together(targetfinder: Dataset) -> None:
    """Held out one by one, two pairs of five of NHEK and of IMR90 would have a promoter of the other."""
    protocol = load_protocol("shared-loci")
    protocol = protocol.changed(holdout=protocol.holdout.changed(balance=False))
    audit = audit_folds(protocol, targetfinder, make_folds(protocol, targetfinder), allow=False)
    promoter = {fold.title: fold.promoter for fold in audit.folds}
    assert {line for line, fraction in promoter.items() if fraction > 0.02} == {"IMR90", "NHEK"}
    together = next(names for names in load_protocol("T").holdout.cell_lines if "NHEK" in names)
    assert together == ["IMR90", "NHEK"]


def test_shared_loci_tests_every_line_balanced(targetfinder: Dataset) -> None:
    folds = make_folds(load_protocol("shared-loci"), targetfinder)
    label = targetfinder.pairs["label"].to_numpy()
    assert {fold.title: [(label[fold.test] == value).sum() for value in (0, 1)] for fold in folds} == {
        line: [positives, positives] for line, (_, positives) in TARGETFINDER.items()
    }
    for fold in folds:
        others = sum(positives for line, (_, positives) in TARGETFINDER.items() if line != fold.title)
        assert [(label[fold.train] == value).sum() for value in (0, 1)] == [others, others]
        assert fold.held_out.sum() == round(0.1 * 2 * others)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("name", "pattern", "line", "positives"),
    [
        ("shared-loci-loops", "hic_loops/pairs.tsv.gz", "K562", 235),
        ("shared-loci", "bengi/*.tsv.gz", "HeLa", 286),
    ],
)
def test_loops_and_bengi_have_both_kinds_of_loci(
    name: str, pattern: str, line: str, positives: int, real_data: Path
) -> None:
    protocol = load_protocol(name)
    protocol = protocol.changed(holdout=protocol.holdout.changed(test_cell_lines=[line]))
    dataset = build(protocol, real_data, pattern)
    (fold,) = make_folds(protocol, dataset)
    label = dataset.pairs["label"].to_numpy()
    assert [(label[fold.test] == value).sum() for value in (0, 1)] == [positives, positives]
    masks = locus_masks(dataset, [fold])
    assert all(mask.sum() > 20 for mask in masks.values())
    assert sum(int(mask.sum()) for mask in masks.values()) == 2 * positives
