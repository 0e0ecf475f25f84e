"""Encoding, windows and overlaps, against letters and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from episode.dna import (
    DNA_ALPHABET,
    crop_offset,
    decode,
    digest,
    encode,
    gc_content,
    overlap_groups,
    reverse_complement,
    unknown_fraction,
    window_bounds,
)

DNA = st.text(alphabet=DNA_ALPHABET + DNA_ALPHABET.lower(), max_size=60)


def test_encode_by_hand() -> None:
    assert encode("ACGTacgtNnRy").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 4, 4, 4]
    assert reverse_complement(encode("AACGN")).tolist() == encode("NCGTT").tolist()


@given(DNA)
def test_decode_undoes_encode(sequence: str) -> None:
    assert decode(encode(sequence)) == "".join(c if c in "ACGT" else "N" for c in sequence.upper())


@given(DNA)
def test_reverse_complement_twice_is_nothing(sequence: str) -> None:
    codes = encode(sequence)
    assert np.array_equal(reverse_complement(reverse_complement(codes)), codes)
    assert reverse_complement(codes).dtype == np.uint8


def test_content_by_hand() -> None:
    assert gc_content(encode("GCATN")) == 0.5
    assert unknown_fraction(encode("GCATN")) == 0.2
    assert math.isnan(gc_content(encode("NN")))
    assert unknown_fraction(encode("")) == 1.0


def test_digest_tells_sequences_apart() -> None:
    assert digest(encode("acgt")) == digest(encode("ACGT")) != digest(encode("ACGA"))


def test_window_by_hand() -> None:
    start, end = window_bounds(np.array([100, 100]), np.array([200, 201]), 10)
    assert start.tolist() == [145, 145]
    assert end.tolist() == [155, 155]
    assert window_bounds(np.array([5]), np.array([9]), 0)[1].tolist() == [9]


@given(st.integers(0, 10**9), st.integers(1, 10**5), st.integers(0, 10**4))
def test_cropping_a_sequence_is_windowing_its_interval(start: int, length: int, window: int) -> None:
    low, high = window_bounds(np.array([start]), np.array([start + length]), window)
    left, right = crop_offset(length, window)
    if length >= window:
        assert (start + left, start + right) == (low[0], high[0])
    else:
        assert (left, right) == (0, length)
        assert high[0] - low[0] == window


INTERVALS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(1, 12)), max_size=14)


@given(INTERVALS)
def test_overlap_groups_are_connected_components(intervals: list[tuple[int, int, int]]) -> None:
    group = np.array([g for g, _, _ in intervals], dtype=np.int64)
    start = np.array([s for _, s, _ in intervals], dtype=np.int64)
    end = np.array([s + n for _, s, n in intervals], dtype=np.int64)
    label = list(range(len(intervals)))
    for _ in intervals:
        for i in range(len(intervals)):
            for j in range(len(intervals)):
                if group[i] == group[j] and start[i] < end[j] and start[j] < end[i]:
                    label[i] = label[j] = min(label[i], label[j])
    found = overlap_groups(group, start, end)
    same = [[a == b for a in label] for b in label]
    assert [[a == b for a in found] for b in found] == same
    assert sorted(set(found)) == list(range(len(set(label))))


@pytest.mark.parametrize(("second", "groups"), [(10, 2), (9, 1)])
def test_touching_is_not_overlapping(second: int, groups: int) -> None:
    found = overlap_groups(np.zeros(2, dtype=np.int64), np.array([0, second]), np.array([10, 20]))
    assert len(set(found)) == groups
