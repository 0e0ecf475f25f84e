"""Candidate sites: where the stem sees them, and how overlapping ones are grouped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from episode.dna import reverse_complement
from episode.encode.motifs import MotifBank
from episode.explain.sites import Site, find_sites, gate_sites, lead_sites, strongest
from handmade_runs import random_bank
from small_systems import scan


def site(start: int, end: int, *, strand: int = 0, margin: float = 1.0, motif: int = 0) -> Site:
    return Site(motif, False, strand, start, end, 10.0 + margin, margin, (0,), (start, end))


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 400), st.sampled_from([8, 50, 64, 77]))
def test_sites_are_the_scores_above_threshold_of_every_bin(seed: int, length: int, bin: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 5, length).astype(np.uint8)
    bank = random_bank(seed % 7)
    thresholds = bank.thresholds(0.01)
    tokens = scan(codes, bank, bin)
    found = np.full(tokens.shape, -np.inf, dtype=np.float32)
    for one in find_sites(codes, bank, bin, thresholds):
        for place in one.bins:
            assert found[place, one.strand, one.motif] == -np.inf
            found[place, one.strand, one.motif] = one.score
    expected = scan_float32(codes, bank, bin)
    reached = expected >= thresholds
    np.testing.assert_array_equal(np.isfinite(found), reached)
    np.testing.assert_array_equal(found[reached], expected[reached])


def scan_float32(codes: np.ndarray, bank: MotifBank, bin: int) -> np.ndarray:
    """Best exact score by brute force, straight from the words of docs/stem.md."""
    bins = -(-len(codes) // bin)
    best = np.full((bins, 2, len(bank)), -np.inf, dtype=np.float32)
    left = -(bins * bin - len(codes)) / 2
    for motif in range(len(bank)):
        bits = bank.log_odds(motif)
        for strand, table in enumerate((bits, bits[::-1, ::-1])):
            for start in range(len(codes) - len(bits) + 1):
                letters = codes[start : start + len(bits)]
                if (letters == 4).any():
                    continue
                score = table[np.arange(len(bits)), letters].sum(dtype=np.float32)
                centre = start + len(bits) / 2
                for place in range(bins):
                    if left + place * bin <= centre <= left + (place + 1) * bin:
                        best[place, strand, motif] = max(best[place, strand, motif], score)
    return best


def test_the_reverse_complement_has_the_sites_of_the_other_strand() -> None:
    codes = np.random.default_rng(3).integers(0, 4, 411).astype(np.uint8)
    bank = random_bank(1)
    thresholds = bank.thresholds(0.01)
    here = {(s.motif, s.strand, s.start, s.end, s.score) for s in find_sites(codes, bank, 64, thresholds)}
    there = find_sites(reverse_complement(codes), bank, 64, thresholds)
    assert here == {(s.motif, 1 - s.strand, 411 - s.end, 411 - s.start, s.score) for s in there}
    assert len(here) > 5


def test_an_element_shorter_than_a_motif_has_none_of_it() -> None:
    assert find_sites(np.zeros(3, dtype=np.uint8), random_bank(0), 50, np.full(4, -99.0)) == []


def test_the_heaviest_leads_and_takes_in_what_overlaps() -> None:
    sites = [site(0, 10), site(8, 18), site(16, 26), site(10, 16)]
    assert lead_sites(sites, [1.0, 3.0, 2.0, 9.0]) == [(3, [1]), (2, []), (0, [])]
    assert lead_sites(sites, [5.0, 3.0, 2.0, 1.0]) == [(0, [1]), (2, []), (3, [])]


def test_sites_that_touch_do_not_overlap() -> None:
    assert not site(0, 10).covers(site(10, 12))
    assert site(0, 10).covers(site(9, 12))


def test_matrices_of_the_gate_are_one_site_by_place_and_strand() -> None:
    sites = [site(0, 19, margin=2, motif=0), site(0, 34, margin=5, motif=1), site(30, 49, margin=4, motif=0)]
    sites.append(site(2, 21, strand=1, margin=1))
    forward, reverse = gate_sites(sites)
    assert (forward.motif, forward.start, forward.end, forward.reach) == (1, 0, 34, (0, 49))
    assert (reverse.strand, reverse.reach) == (1, (2, 21))
    assert forward.covers(site(45, 60))


@pytest.mark.parametrize("most", [1, 2, 5])
def test_the_strongest_are_kept_in_their_order(most: int) -> None:
    sites = [site(0, 5, margin=1), site(10, 15, margin=3), site(20, 25, margin=2)]
    kept = {1: [1], 2: [1, 2], 5: [0, 1, 2]}[most]
    assert strongest(sites, most) == [sites[i] for i in kept]
