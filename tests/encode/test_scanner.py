"""Scanning against a plain loop, and the symmetries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from episode.config import StemConfig
from episode.encode import scanner as stem
from episode.encode.motifs import GRID, MotifBank, load_bank
from episode.encode.scanner import FLOOR, Scanner
from small_systems import scan


def make_bank(lengths: tuple[int, ...], seed: int = 0) -> MotifBank:
    rng = np.random.default_rng(seed)
    matrices = tuple(rng.dirichlet(np.full(4, 0.3), size=length) for length in lengths)
    return MotifBank(
        tuple(f"X{i}.1" for i in range(len(lengths))), tuple(f"x{i}" for i in range(len(lengths))), matrices
    )


BANK = make_bank((1, 2, 3, 4, 7, 8, 11, 18))


@pytest.fixture(scope="module")
def jaspar() -> MotifBank:
    return load_bank(StemConfig())


def reference(codes: np.ndarray, bank: MotifBank, width: int) -> np.ndarray:
    """The definition, as a loop: positions are doubled so that centres and edges are whole numbers."""
    length = len(codes)
    n_bins = -(-length // width)
    lacking = n_bins * width - length
    best = np.full((n_bins, 2, len(bank)), FLOOR)
    for motif in range(len(bank)):
        forward = bank.log_odds(motif).astype(float)
        for strand, weights in enumerate((forward, forward[::-1, ::-1])):
            for start in range(length - len(weights) + 1):
                site = codes[start : start + len(weights)]
                if (site > 3).any():
                    continue
                score = sum(weights[k, base] for k, base in enumerate(site))
                centre = 2 * start + len(weights)
                for k in range(n_bins):
                    if 2 * k * width - lacking <= centre <= 2 * (k + 1) * width - lacking:
                        best[k, strand, motif] = max(best[k, strand, motif], score)
    return best.astype(np.float16)


def reverse_complement(codes: np.ndarray) -> np.ndarray:
    return np.where(codes < 4, 3 - np.minimum(codes, 3), 4).astype(np.uint8)[::-1]


def random_codes(length: int, seed: int, unknown: float = 0.05) -> np.ndarray:
    known = (1 - unknown) / 4
    return np.random.default_rng(seed).choice(5, length, p=[known] * 4 + [unknown]).astype(np.uint8)


@st.composite
def elements(draw: st.DrawFn) -> np.ndarray:
    return random_codes(draw(st.integers(0, 70)), draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0, 0.1, 1])))


def test_by_hand() -> None:
    # AC scores 2 + 1 = 3 bits, AA 2 + 0, AG and AT 2 - 1, anything without A in front -8 and more
    bank = MotifBank(("X.1",), ("x",), (np.array([[1, 0, 0, 0], [0.25, 0.5, 0.125, 0.125]]),))
    codes = np.array([0, 1, 2, 3, 3, 0, 2, 4], dtype=np.uint8)  # A C G T | T A G N
    # forward centres at 1..7: AC 3, CG -9, GT -9, TT -9 (on the edge), TA -8, AG 1, GN unknown
    # reverse complements: GT -9, CG -9, AC 3, AA 2 (on the edge), TA -8, CT -9
    expected = [[[3], [3]], [[1], [2]]]
    np.testing.assert_array_equal(scan(codes, bank, 4), np.array(expected, dtype=np.float16))


@settings(max_examples=150)
@given(codes=elements(), width=st.integers(1, 24))
def test_equals_the_plain_loop(codes: np.ndarray, width: int) -> None:
    np.testing.assert_array_equal(scan(codes, BANK, width), reference(codes, BANK, width))


@settings(max_examples=100)
@given(codes=elements(), width=st.integers(1, 24))
def test_reverse_complement_flips_bins_and_strands(codes: np.ndarray, width: int) -> None:
    turned = scan(reverse_complement(codes), BANK, width)
    np.testing.assert_array_equal(turned, scan(codes, BANK, width)[::-1, ::-1])


@pytest.mark.parametrize("length", [1024, 1023, 897, 4096, 4001, 129, 128, 20])
def test_symmetry_is_exact_with_the_jaspar_bank(jaspar: MotifBank, length: int) -> None:
    codes = random_codes(length, length, unknown=0.002)
    tokens = scan(codes, jaspar, 128)
    assert tokens.shape == (-(-length // 128), 2, len(jaspar))
    np.testing.assert_array_equal(scan(reverse_complement(codes), jaspar, 128), tokens[::-1, ::-1])


def test_equals_the_plain_loop_with_long_motifs() -> None:
    bank = make_bank((33, 34, 40))
    codes = random_codes(300, 5, unknown=0.003)
    np.testing.assert_array_equal(scan(codes, bank, 64), reference(codes, bank, 64))


def test_reverse_strand_is_the_reverse_complement_bank() -> None:
    codes = random_codes(200, 3)
    other = scan(codes, BANK.reverse_complement(), 16)
    np.testing.assert_array_equal(scan(codes, BANK, 16), other[:, ::-1])


@settings(max_examples=40)
@given(batch=st.lists(elements(), max_size=6), width=st.integers(1, 24), block=st.integers(1, 200))
def test_batch_and_block_do_not_matter(batch: list[np.ndarray], width: int, block: int) -> None:
    single = [scan(codes, BANK, width) for codes in batch]
    expected = np.concatenate([np.zeros((0, 2, len(BANK)), np.float16), *single])
    np.testing.assert_array_equal(Scanner(BANK, width)(batch), expected)
    np.testing.assert_array_equal(Scanner(BANK, width, block=block)(batch), expected)


@settings(max_examples=30)
@given(codes=elements(), width=st.integers(1, 24), tile=st.integers(1, 50))
def test_positions_scored_at_a_time_do_not_matter(codes: np.ndarray, width: int, tile: int) -> None:
    expected = scan(codes, BANK, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stem, "TILE", tile)
        np.testing.assert_array_equal(scan(codes, BANK, width), expected)


def test_elements_with_edges_in_and_between_bases_are_scanned_together() -> None:
    """Lengths 40, 41, ... in bins of 16: what is lacking is even and odd by turns."""
    batch = [random_codes(40 + i, i) for i in range(9)]
    expected = np.concatenate([reference(codes, BANK, 16) for codes in batch])
    np.testing.assert_array_equal(Scanner(BANK, 16)(batch), expected)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40])
def test_groups_of_any_size(count: int) -> None:
    """Groups are filled up with shorter motifs; every motif keeps its place."""
    lengths = np.random.default_rng(count).integers(1, 22, count)
    bank = make_bank(tuple(lengths.tolist()))
    codes = random_codes(90, 4)
    np.testing.assert_array_equal(scan(codes, bank, 20), reference(codes, bank, 20))


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[np.ndarray], np.ndarray]:
    """Windows of one line of DNA and where they begin; some have other bases than the line."""
    line = random_codes(200, draw(st.integers(0, 2**32 - 1)))
    spans = draw(st.lists(st.tuples(st.integers(0, 199), st.integers(0, 70)), min_size=1, max_size=8))
    found = []
    for start, length in spans:
        codes = line[start : start + length].copy()
        if len(codes) and draw(st.sampled_from([False, False, True])):
            codes[draw(st.integers(0, len(codes) - 1))] = draw(st.integers(0, 4))
        found.append(codes)
    return found, np.array([start for start, _ in spans], dtype=np.int64)


@settings(max_examples=200)
@given(drawn=windows(), width=st.integers(1, 24), tile=st.integers(1, 300), far=st.booleans())
def test_where_elements_lie_does_not_matter(
    drawn: tuple[list[np.ndarray], np.ndarray], width: int, tile: int, far: bool
) -> None:
    """Bases that elements share are scanned once, and no site of one reaches into another."""
    batch, place = drawn
    expected = Scanner(BANK, width)(batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stem, "TILE", tile)
        found = Scanner(BANK, width)(batch, place + (7 << 40) * far)
    np.testing.assert_array_equal(found, expected)


def test_what_overlaps_is_scanned_once(jaspar: MotifBank, monkeypatch: pytest.MonkeyPatch) -> None:
    line = random_codes(20_000, 9, unknown=0)
    place = np.arange(0, 16_000, 1000)
    batch = [line[start : start + 4000] for start in place]
    positions = [0]
    score = stem._Group.score

    def counted(group: Any, words: Any) -> Any:
        positions.append(len(words))
        return score(group, words)

    monkeypatch.setattr(stem._Group, "score", counted)
    scanner = Scanner(jaspar, 128)
    apart = scanner(batch)
    alone, positions[:] = sum(positions), [0]
    np.testing.assert_array_equal(scanner(batch, place), apart)
    assert sum(positions) < 0.45 * alone  # 19,000 of 64,000 bases, two bins of each window, and where tiles meet


def test_tokens_of_float32_are_exact_and_round_to_those_of_float16(jaspar: MotifBank) -> None:
    codes = random_codes(3000, 2)
    exact = Scanner(jaspar, 128, dtype=np.float32)([codes])
    assert exact.dtype == np.float32
    assert (exact * GRID == np.rint(exact * GRID)).all()
    np.testing.assert_array_equal(exact.astype(np.float16), scan(codes, jaspar, 128))
    assert (exact != exact.astype(np.float16)).any()
    with pytest.raises(ValueError, match="float16 or float32"):
        Scanner(jaspar, 128, dtype=np.float64)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_matter_and_stay_the_callers(threads: int) -> None:
    codes = random_codes(900, 11)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        tokens = Scanner(BANK, 9, block=10)([codes])
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(tokens, reference(codes, BANK, 9))


def test_nothing_known_is_the_floor() -> None:
    assert (scan(np.full(100, 4, np.uint8), BANK, 16) == FLOOR).all()
    short = scan(np.zeros(5, np.uint8), make_bank((6, 9)), 4)
    assert short.shape == (2, 2, 2)
    assert (short == FLOOR).all()


def test_other_codes_count_as_unknown() -> None:
    codes = random_codes(60, 1)
    np.testing.assert_array_equal(
        scan(np.where(codes == 4, 255, codes).astype(np.uint8), BANK, 8), scan(codes, BANK, 8)
    )


def test_a_planted_site_is_found_where_it_is(jaspar: MotifBank) -> None:
    ctcf = jaspar.index("CTCF")
    codes = random_codes(1024, 7, unknown=0)
    site = jaspar.probabilities[ctcf].argmax(axis=1).astype(np.uint8)
    codes[700 : 700 + len(site)] = reverse_complement(site)
    tokens = scan(codes, jaspar, 128)[:, :, ctcf]
    assert np.unravel_index(tokens.argmax(), tokens.shape) == (5, 1)
    assert tokens.max() == jaspar.log_odds(ctcf).max(axis=1).sum().astype(np.float16)


@pytest.mark.parametrize(("width", "block"), [(0, 10), (-1, 10), (10, 0)])
def test_widths_and_blocks_must_be_positive(width: int, block: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Scanner(BANK, width, block)


def test_an_empty_bank_is_not_scanned() -> None:
    with pytest.raises(ValueError, match="at least one matrix"):
        Scanner(MotifBank((), (), ()), 8)
