"""Bases in bins: where they lie, and the reverse complement."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from episode.dna import UNKNOWN
from episode.encode.bases import HALVED, BaseLayout, mirror_bases


def reverse_complement(codes: np.ndarray) -> np.ndarray:
    return np.where(codes < 4, 3 - np.minimum(codes, 3), 4).astype(np.uint8)[::-1]


def padded(elements: list[np.ndarray], bin: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch as `ElementStore.gather` makes it."""
    rows = [BaseLayout(bin)([codes]) for codes in elements]
    longest = max(map(len, rows))
    batch = np.full((len(rows), longest, bin), UNKNOWN, dtype=np.uint8)
    for target, part in zip(batch, rows, strict=True):
        target[: len(part)] = part
    count = torch.tensor([len(part) for part in rows])
    return torch.from_numpy(batch), torch.arange(longest) < count[:, None]


@st.composite
def elements(draw: st.DrawFn) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.integers(0, 5, draw(st.integers(0, 70))).astype(np.uint8)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (8, [[0, 1, 2, 3], [0, 1, 2, 3]]),
        (6, [[4, 0, 1, 2], [3, 0, 1, 4]]),
        (7, [[HALVED, 0, 1, 2], [3, 0, 1, 2]]),
        (5, [[HALVED, 4, 0, 1], [2, 3, 0, 4]]),
        (1, [[HALVED, 4, 0, 4]]),
        (0, np.zeros((0, 4))),
    ],
)
def test_by_hand(length: int, expected: list[list[int]]) -> None:
    codes = np.resize(np.arange(4, dtype=np.uint8), length)
    np.testing.assert_array_equal(BaseLayout(4)([codes]), expected)


def test_other_codes_are_unknown_and_elements_follow_each_other() -> None:
    rows = BaseLayout(2)([np.array([0, 255], np.uint8), np.array([3, 9, 5], np.uint8)])
    np.testing.assert_array_equal(rows, [[0, 4], [HALVED, 3], [4, 4]])


@settings(max_examples=150)
@given(batch=st.lists(elements(), min_size=1, max_size=5), bin=st.integers(1, 24), seed=st.integers(0, 31))
def test_the_mirror_is_the_layout_of_the_reverse_complement(batch: list[np.ndarray], bin: int, seed: int) -> None:
    reverse = [bool(seed >> i & 1) for i in range(len(batch))]
    turned = [reverse_complement(codes) if turn else codes for codes, turn in zip(batch, reverse, strict=True)]
    rows, mask = padded(batch, bin)
    got = mirror_bases(rows, mask, torch.tensor(reverse))
    assert torch.equal(got, padded(turned, bin)[0])
    assert torch.equal(mirror_bases(got, mask, torch.tensor(reverse)), rows)
