"""Edited elements: scanning only what can change is scanning everything, to the bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from episode.encode.store import build_store
from episode.explain.mutations import Edit, ElementScores, Rescanner
from episode.explain.sites import find_sites, gate_sites
from handmade_runs import gated_run, random_bank, with_run
from small_systems import all_rows, scan


@settings(max_examples=150)
@given(st.data())
def test_rescanning_is_scanning_to_the_bit(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 700), label="length")
    bin = data.draw(st.integers(1, 90), label="bin")
    seed = data.draw(st.integers(0, 1000), label="seed")
    rng = np.random.default_rng(seed)
    bank = random_bank(seed % 5)
    codes = rng.choice(5, length, p=[0.24, 0.24, 0.24, 0.24, 0.04]).astype(np.uint8)
    edits = []
    for _ in range(3):
        start = data.draw(st.integers(0, length - 1))
        size = data.draw(st.integers(1, min(length - start, 40)))
        edits.append(Edit(start, rng.integers(0, 5, size).astype(np.uint8)))
    found = Rescanner(bank, bin)(codes, scan(codes, bank, bin), edits)
    for edit, tokens in zip(edits, found, strict=True):
        np.testing.assert_array_equal(tokens, scan(edit.apply(codes), bank, bin))


def test_little_of_a_long_element_is_scanned_again() -> None:
    """A site of a 25 kb anchor: a few bins, not two hundred."""
    rescan, codes = Rescanner(random_bank(0), 128), np.zeros(25_000, dtype=np.uint8)
    scanned: list[int] = []
    whole = rescan._scan

    def counting(pieces: list[np.ndarray]) -> np.ndarray:
        scanned.extend(map(len, pieces))
        return whole(pieces)

    tokens = whole([codes])
    rescan._scan = counting  # type: ignore[assignment]
    rescan(codes, tokens, [Edit(12_000, np.full(15, 4, dtype=np.uint8))])
    assert sum(scanned) <= 5 * 128


def test_an_edit_leaves_the_element_as_it_was() -> None:
    codes = np.zeros(10, dtype=np.uint8)
    edited = Edit(3, np.array([1, 2], dtype=np.uint8)).apply(codes)
    assert codes.sum() == 0
    assert edited.tolist() == [0, 0, 0, 1, 2, 0, 0, 0, 0, 0]


def test_a_store_of_edits_is_that_of_the_edited_sequences_and_their_gate() -> None:
    run, content, store = with_run(gated_run())
    scores = ElementScores(run, content, store)
    edits = [Edit(at, np.full(12, 4, dtype=np.uint8)) for at in (0, 150, 388)]
    found = scores.edited(5, edits)
    codes = [edit.apply(content.sequence(5)) for edit in edits]
    lengths = np.array([len(part) for part in codes])

    class Edited:
        elements = content.elements.iloc[:3].assign(length=lengths, offset=np.cumsum(lengths) - lengths)
        codes = np.concatenate([edit.apply(content.sequence(5)) for edit in edits])

    expected = build_store(Edited(), run.bank, run.facts.config.stem)
    assert found.gate is not None and expected.gate is not None
    np.testing.assert_array_equal(all_rows(found), all_rows(expected))
    np.testing.assert_array_equal(all_rows(found.gate), all_rows(expected.gate))
    np.testing.assert_array_equal(found.bins, expected.bins)


def test_the_own_channel_of_a_site_is_all_that_changes() -> None:
    run, content, store = with_run(gated_run())
    scores, stem = ElementScores(run, content, store), run.facts.config.stem
    codes = content.sequence(2)
    assert run.bank.gate is not None
    sites = find_sites(codes, run.bank, stem.bin, run.bank.thresholds(1e-3))[:4]
    gate = find_sites(codes, run.bank.gate, stem.gate_bin, run.bank.gate.thresholds(1e-2), gate=True)
    sites += gate_sites(gate)[:2]
    edited = scores.edited(2, [Edit(s.start, np.full(s.end - s.start, 4, dtype=np.uint8)) for s in sites])
    own, before = scores.own_channel(2, edited, dict(enumerate(sites))), scores.of(2)
    assert own.gate is not None and before.gate is not None and edited.gate is not None
    for i, site in enumerate(sites):
        one = all_rows(own).reshape(len(sites), *all_rows(before).shape)[i]
        gated = all_rows(own.gate).reshape(len(sites), *all_rows(before.gate).shape)[i]
        changed = {tuple(place) for place in np.argwhere((one != all_rows(before)).any(axis=0)).tolist()}
        strands = set(np.flatnonzero((gated != all_rows(before.gate)).any(axis=(0, 2))).tolist())
        assert changed == (set() if site.gate else {(site.strand, site.motif)})
        assert strands == ({site.strand} if site.gate else set())
