"""Choosing rows and counting what parts share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from episode.config import WindowConfig
from episode.data.dataset import Dataset, assemble
from episode.data.leakage import Leakage, LeakageAuditor, Shared, split_audit
from episode.data.readers import read_pairs
from episode.data.splits import held_out_part, select_rows
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
    return assemble(read_pairs(tmp_path / "pairs.csv"), None, WindowConfig(enhancer=0, promoter=0))


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


def test_leakage_by_hand(dataset: Dataset) -> None:
    leakage = LeakageAuditor(dataset).audit(select_rows(dataset, "train"), select_rows(dataset, "test"))
    assert (leakage.rows_a, leakage.rows_b) == (2, 3)
    assert leakage.enhancer == Shared(3, 1.0)
    assert leakage.promoter == Shared(1, 1 / 3)
    assert leakage.pair == Shared(1, 1 / 3)
    assert leakage.locus == Shared(1, 1 / 3)


def test_nothing_shared_with_nothing(dataset: Dataset) -> None:
    nothing = np.zeros(6, dtype=bool)
    assert LeakageAuditor(dataset).audit(~nothing, nothing) == Leakage(6, 0, *[Shared(0, 0.0)] * 4)
    assert LeakageAuditor(dataset).audit(nothing, ~nothing) == Leakage(0, 6, *[Shared(0, 0.0)] * 4)


def test_split_audit_takes_the_parts_present(dataset: Dataset) -> None:
    audit = split_audit(dataset)
    assert audit.parts == ("train", "test")
    (one,) = audit.leakage
    assert (one.part_a, one.part_b, one.promoter) == ("train", "test", Shared(1, 1 / 3))


Element = tuple[str, int, int, str]
"""Chromosome (empty if unknown), start, end, sequence."""


def made(rows: list[tuple[Element, Element]], locus: list[int] | None = None) -> Dataset:
    """A dataset of pairs of an enhancer and a promoter; every pair has elements of its own."""
    n = len(rows)
    flat = [row[side] for side in (0, 1) for row in rows]
    length = np.array([len(element[3]) for element in flat])
    elements = pd.DataFrame([element[:3] for element in flat], columns=["chrom", "start", "end"])
    elements = elements.assign(kind=np.repeat(["enhancer", "promoter"], n), length=length)
    elements["offset"] = np.cumsum(length) - length
    pairs = pd.DataFrame({"enhancer_id": np.arange(n), "promoter_id": n + np.arange(n)})
    pairs["locus"] = np.arange(n) if locus is None else locus
    codes = np.array(["ACGT".index(base) for element in flat for base in element[3]], dtype=np.uint8)
    manifest: Any = {"genome": {"sha256": None}}
    return Dataset(pairs, elements, codes, manifest)


def seen(a: tuple[Element, Element], b: tuple[Element, Element], locus: list[int] | None = None) -> set[str]:
    """What the pair `b` shares with the pair `a`."""
    leakage = LeakageAuditor(made([a, b], locus)).audit(np.array([True, False]), np.array([False, True]))
    return {key for key in ("enhancer", "promoter", "pair", "locus") if getattr(leakage, key).rows}


TRAIN: tuple[Element, Element] = (("chr1", 1000, 1010, "A" * 10), ("chr1", 5000, 5020, "C" * 20))
FAR: Element = ("chr1", 90_000, 90_004, "GGGG")
NONE: Element = ("", -1, -1, "TTTT")


@given(st.integers(-60, 60), st.sampled_from([0, 1]), st.sampled_from([0, 1]), st.sampled_from(["chr1", "chr2"]))
def test_a_shifted_element_is_found_until_it_only_touches(shift: int, of: int, side: int, chrom: str) -> None:
    """An element of training, shifted and with other bases, stands on either side of a test pair."""
    _, start, end, _ = TRAIN[of]
    moved: Element = (chrom, start + shift, end + shift, "G" * (end - start))
    test = (moved, FAR) if side == 0 else (FAR, moved)
    assert seen(TRAIN, test) == ({"locus"} if chrom == "chr1" and abs(shift) < end - start else set())


def test_swapped_sides_are_seen() -> None:
    assert seen(TRAIN, (TRAIN[1], TRAIN[0])) == {"enhancer", "promoter", "pair", "locus"}
    elsewhere: tuple[Element, Element] = (("chr2", 0, 20, "C" * 20), ("chr2", 50, 60, "A" * 10))
    assert seen(TRAIN, elsewhere) == {"enhancer", "promoter", "pair"}
    assert seen(TRAIN, (FAR, elsewhere[1])) == {"promoter"}
    assert seen(TRAIN, (elsewhere[0], elsewhere[0])) == {"enhancer", "promoter"}


def test_overlap_is_not_chained() -> None:
    """A bridge between the two belongs to neither part."""
    far: Element = ("chr1", 80_000, 80_004, "TTTT")
    rows = [
        (("chr1", 0, 10, "ACGTACGTAC"), FAR),
        (("chr1", 8, 20, "TTTTTTGGGGGG"), FAR),
        (("chr1", 18, 30, "CACACACACACA"), far),
    ]
    auditor = LeakageAuditor(made(rows, [0, 0, 0]))
    part = np.eye(3, dtype=bool)
    assert auditor.audit(part[0], part[2]).locus.rows == 0
    assert auditor.audit(part[1], part[2]).locus.rows == 1


def test_without_coordinates_sequence_and_locus_number_decide() -> None:
    same: Element = ("", -1, -1, "A" * 10)
    assert seen(TRAIN, (FAR, same)) == {"promoter", "locus"}
    assert seen((NONE, same), TRAIN) == {"enhancer", "locus"}
    other: Element = ("", -1, -1, "GGCC")
    assert seen((NONE, NONE), (other, other)) == set()
    assert seen((NONE, NONE), (other, other), [3, 3]) == {"locus"}
    assert seen((TRAIN[0], FAR), TRAIN[::-1], [3, 3]) == {"promoter", "locus"}


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_the_audit_is_that_of_every_two_rows(seed: int, share: float) -> None:
    """Against a loop over all pairs of rows, with coordinates, without, and on three chromosomes."""
    rng = np.random.default_rng(seed)

    def element() -> Element:
        bases = "".join(rng.choice(list("AC"), int(rng.integers(1, 5))))
        if rng.random() < 0.2:
            return ("", -1, -1, bases)
        start = int(rng.integers(0, 40))
        return (f"chr{rng.integers(3)}", start, start + len(bases), bases)

    rows = [(element(), element()) for _ in range(12)]
    in_a = rng.random(12) < share
    in_b = ~in_a & (rng.random(12) < 0.8)
    auditor = LeakageAuditor(made(rows))
    leakage = auditor.audit(in_a, in_b)

    def overlap(x: Element, y: Element) -> bool:
        if not x[0] or not y[0]:
            return x[3] == y[3]
        return x[0] == y[0] and x[1] < y[2] and y[1] < x[2]

    a, b = ([row for row, chosen in zip(rows, part, strict=True) if chosen] for part in (in_a, in_b))
    used = [element for row in a for element in row]
    bases = {element[3] for element in used}
    couples = {frozenset((e[3], p[3])) for e, p in a}
    assert leakage.enhancer.rows == sum(e[3] in bases for e, _ in b)
    assert leakage.promoter.rows == sum(p[3] in bases for _, p in b)
    assert leakage.pair.rows == sum(frozenset((e[3], p[3])) in couples for e, p in b)
    assert leakage.locus.rows == sum(any(overlap(x, y) for x in row for y in used) for row in b)
    shares = [any(overlap(x, y) for x in row for y in used) for row in rows]
    np.testing.assert_array_equal(auditor.shares_locus(in_a), shares)
    flat = [row[side] for side in (0, 1) for row in rows]
    sides = [np.flatnonzero(np.tile(part, 2)) for part in (in_a, in_b)]
    expected = [(x, y) for x in sides[0] for y in sides[1] if overlap(flat[x], flat[y])]
    assert sorted(map(tuple, auditor.overlaps(in_a, in_b).tolist())) == expected


def places(starts: list[int], chrom: list[str]) -> pd.DataFrame:
    """Pairs whose enhancer begins at `starts`, with the promoter 1000 bp on; both 100 bp."""
    table = pd.DataFrame({"enhancer_chrom": chrom, "enhancer_start": starts, "locus": range(len(starts))})
    table["enhancer_end"] = table["enhancer_start"] + 100
    table["promoter_start"] = table["enhancer_start"] + 1000
    table["promoter_end"] = table["enhancer_start"] + 1100
    return table.assign(has_coordinates=np.array(chrom) != "")


def test_the_held_out_part_by_hand() -> None:
    """On chr1 the border is at 3000 (the median of 0, 1000, 3000, 5000, 9000); row 6 is not looked at."""
    table = places([0, 1000, 3000, 5000, 9000, 7, 4000], ["chr1"] * 5 + ["chr2", "chr1"])
    rows = np.arange(7) < 6
    for gap, expected in ((900, []), (901, [1]), (1900, [1]), (1901, [0, 1])):
        held_out, near = held_out_part(table, rows, share=0.5, gap=gap, seed=0)
        assert np.flatnonzero(held_out).tolist() == [2, 3, 4, 5]
        assert np.flatnonzero(near).tolist() == expected


@pytest.mark.parametrize(
    ("at", "gap", "span", "held", "near"),
    [
        (0.0, 900, 1.0, [0, 1], []),  # starts below 3600, the quantile 0.2; row 1 ends at 3100
        (0.0, 901, 1.0, [0, 1], [2]),
        (0.5, 100, 1.0, [4, 5], []),  # from 7200 to below 10800; row 3 ends at 7100, row 5 at 11100
        (0.5, 101, 1.0, [4, 5], [3]),
        (0.5, 901, 1.0, [4, 5], [3, 6]),
        (1.0, 0, 1.0, [8, 9], [7]),  # from 14400 on; row 7 ends at 15100
        (0.5, 901, 0.05, [4, 5], [3, 6]),  # the rows span 19100: the gap is 901 of at most 955
        (0.5, 901, 0.005, [4, 5], []),  # at most 95.5
    ],
)
def test_the_held_out_part_along_a_chromosome(
    at: float, gap: int, span: float, held: list[int], near: list[int]
) -> None:
    table = places(list(range(0, 20_000, 2000)), ["chr1"] * 10)
    found = held_out_part(table, np.ones(10, dtype=bool), share=0.2, gap=gap, seed=0, at=at, span=span)
    assert [np.flatnonzero(mask).tolist() for mask in found] == [held, near]


def test_held_out_parts_of_loci_without_coordinates_are_apart() -> None:
    table = places([-1] * 900, [""] * 900).assign(locus=np.arange(900) % 300)
    parts = [
        held_out_part(table, np.ones(900, dtype=bool), share=0.2, gap=10, seed=0, at=at)[0] for at in (0, 0.25, 0.5, 1)
    ]
    assert np.sum(parts, axis=0).max() == 1
    assert all(90 < part.sum() < 270 for part in parts)


def test_the_held_out_part_of_pairs_without_coordinates_is_of_whole_loci() -> None:
    table = places([-1] * 900, [""] * 900).assign(locus=np.arange(900) % 300)
    rows = np.arange(900) >= 150
    held_out, near = held_out_part(table, rows, share=0.3, gap=10, seed=0)
    assert not near.any() and not held_out[~rows].any()
    locus = table["locus"].to_numpy()
    assert not set(locus[held_out]) & set(locus[rows & ~held_out])
    assert 0.2 < held_out.sum() / rows.sum() < 0.4
    assert (held_out != held_out_part(table, rows, share=0.3, gap=10, seed=1)[0]).any()
