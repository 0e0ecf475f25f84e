"""The support set is that of lowest seeded ranks, drawn from blocks of pairs or from all of them at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from episode.inference.pairs import PairRows, bare_rows
from episode.inference.support_sampling import SupportDraw, content_ranks, draw_support
from episode.seeds import derive_seed, derive_seeds

SIZE = 64
"""Largest support."""


def made_up(count: int, seed: int, elements: int = 30) -> PairRows:
    rng = np.random.default_rng(seed)
    return bare_rows(
        rng.integers(0, elements // 2, count),
        rng.integers(elements // 2, elements, count),
        rng.random(count) < 0.5,
        np.ones(count, dtype=bool),
        np.full(count, 1000.0),
    )


def digests(elements: int = 30) -> list[bytes]:
    return [f"{number:032x}".encode() for number in range(elements)]


def keys(rows: PairRows) -> list[str]:
    """What ranks are of: both sequences and the orientation."""
    return keys_of(rows, digests())


def keys_of(rows: PairRows, content: Sequence[bytes]) -> list[str]:
    names = [name.decode() for name in content]
    return [
        f"{names[e]} {names[p]} {int(m)}" for e, p, m in zip(rows.enhancer, rows.promoter, rows.mirrored, strict=True)
    ]


def expected(rows: PairRows, content: Sequence[bytes], seed: int) -> list[int]:
    """The rule as it is written, pair by pair."""
    names = keys_of(rows, content)

    def place(row: int) -> tuple[object, ...]:
        distance = rows.distance[row]
        tie = (rows.enhancer[row], rows.promoter[row], math.inf if np.isnan(distance) else distance)
        return (derive_seed(seed, names[row]), *tie)

    ordered = sorted(range(len(rows)), key=place)
    first = {names[row]: row for row in reversed(ordered)}
    return [row for row in ordered if first[names[row]] == row][:SIZE]


def drawn(rows: PairRows, cuts: list[int], seed: int = 0, size: int = SIZE) -> SupportDraw:
    draw = SupportDraw(size)
    edges = [0, *sorted(cuts), len(rows)]
    for start, end in itertools.pairwise(edges):
        block = rows.take(np.arange(start, end))
        draw.offer(content_ranks(seed, digests(), block), block)
    return draw


def test_many_seeds_at_once_are_those_one_by_one() -> None:
    names = ["a", "b c", "", "ä"]
    assert derive_seeds(7, map(str.encode, names)).tolist() == [derive_seed(7, name) for name in names]
    assert derive_seeds(7, []).shape == (0,)


@given(st.integers(1, 300), st.lists(st.integers(0, 300), max_size=4), st.integers(0, 3))
@settings(max_examples=25)
def test_cuts_and_order_do_not_matter(count: int, cuts: list[int], seed: int) -> None:
    rows = made_up(count, seed)
    whole = drawn(rows, [], seed)
    order = np.random.default_rng(seed).permutation(count)
    other = drawn(rows.take(order), [min(cut, count) for cut in cuts], seed)
    np.testing.assert_array_equal(whole.rank, other.rank)
    assert whole.rows is not None and other.rows is not None
    for name in ("enhancer", "promoter", "mirrored"):
        np.testing.assert_array_equal(getattr(whole.rows, name), getattr(other.rows, name))


@given(st.integers(1, 30), st.integers(0, 5))
@settings(deadline=None)
def test_ranks_do_not_follow_the_order_of_rows(count: int, seed: int) -> None:
    rows = made_up(count, seed)
    order = np.random.default_rng(seed).permutation(count)
    ranks = content_ranks(seed, digests(), rows)
    assert content_ranks(seed, digests(), rows.take(order)).tolist() == ranks[order].tolist()
    assert ranks.tolist() == [derive_seed(seed, key) for key in keys(rows)]


def test_ranks_depend_on_the_seed_and_are_not_the_order_given() -> None:
    rows = made_up(50, 0)
    first, second = (np.argsort(content_ranks(seed, digests(), rows)).tolist() for seed in (0, 1))
    assert first != list(range(50))
    assert first != second


@pytest.mark.parametrize("seed", [0, 5])
def test_it_is_what_is_chosen_from_a_table_in_memory(seed: int) -> None:
    rows = made_up(400, 1)
    chosen = draw_support(content_ranks(seed, digests(), rows), rows, SIZE)
    draw = drawn(rows, [100, 250], seed)
    assert chosen.tolist() == expected(rows, digests(), seed)
    assert len(chosen) == SIZE and draw.rows is not None
    for name in ("enhancer", "promoter", "mirrored"):
        np.testing.assert_array_equal(getattr(draw.rows, name), getattr(rows, name)[chosen])


def test_a_repeated_pair_is_in_the_support_once() -> None:
    rows = made_up(40, 2)
    twice = PairRows.concatenate([rows, rows.take(np.arange(0, 40, 2)), rows.take(np.arange(0, 40, 3))])
    once, repeated = drawn(rows, []), drawn(twice, [50])
    np.testing.assert_array_equal(once.rank, repeated.rank)
    assert len(once.rank) == len(set(keys(rows)))
    chosen = draw_support(content_ranks(0, digests(), twice), twice, SIZE)
    assert chosen.tolist() == expected(twice, digests(), 0)
    assert len(chosen) == len(once.rank) and chosen.max() < 40


@pytest.mark.parametrize("size", [SIZE, 1], ids=["with_room", "full"])
def test_of_equal_contents_the_first_by_ids_and_distance_is_taken(size: int) -> None:
    """Elements 0 and 1, and 2 and 3, have one sequence each; so both ways of choosing, in any order of the rows."""
    enhancer, promoter = np.array([1, 0, 0, 0, 1]), np.array([2, 3, 2, 2, 3])
    distance = np.array([5.0, 10.0, np.nan, 30.0, 1.0])
    known = np.ones(5, dtype=bool)
    rows = bare_rows(enhancer, promoter, ~known, known, distance)
    content = [b"a", b"a", b"b", b"b"]
    for order in itertools.permutations(range(5)):
        mixed = rows.take(np.array(order))
        draw = SupportDraw(size)
        for part in (np.arange(2), np.arange(2, 5)):
            draw.offer(content_ranks(0, content, mixed.take(part)), mixed.take(part))
        chosen = draw_support(content_ranks(0, content, mixed), mixed, SIZE)
        assert draw.rows is not None and chosen.tolist() == expected(mixed, content, 0)
        for found in (draw.rows, mixed.take(chosen)):
            assert (found.enhancer.tolist(), found.promoter.tolist(), found.distance.tolist()) == ([0], [2], [30.0])


def test_no_more_is_held_than_the_largest_support() -> None:
    draw = drawn(made_up(2000, 3), list(range(0, 2000, 100)), size=10)
    assert draw.rows is not None and len(draw.rows) == len(draw.rank) == 10
    assert np.all(np.diff(draw.rank) > 0)
