"""The bank of motifs: log-odds, thresholds, redundancy, JSON."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from episode.config import StemConfig
from episode.encode.motifs import GRID, MIN_LOG_ODDS, BankContent, MotifBank, load_bank, similarity, thin
from episode.errors import ConfigError, EpisodeError
from episode.schema import parse_model

TWO = np.array([[0.5, 0.25, 0.125, 0.125], [1.0, 0.0, 0.0, 0.0]])


def bank_of(*matrices: np.ndarray) -> MotifBank:
    names = tuple(f"M{i}" for i in range(len(matrices)))
    return MotifBank(tuple(f"X{i}.1" for i in range(len(matrices))), names, tuple(matrices))


def random_matrix(rng: np.random.Generator, length: int) -> np.ndarray:
    return rng.dirichlet(np.full(4, 0.3), size=length)


@pytest.fixture(scope="module")
def jaspar() -> MotifBank:
    return load_bank(StemConfig())


def test_log_odds_by_hand() -> None:
    expected = [[1, 0, -1, -1], [2, MIN_LOG_ODDS, MIN_LOG_ODDS, MIN_LOG_ODDS]]
    bank = bank_of(TWO)
    np.testing.assert_array_equal(bank.log_odds(0), np.array(expected, dtype=np.float32))
    assert bank.log_odds(0).max(axis=1).sum() == 3.0
    assert bank.lengths.tolist() == [2]
    # column one: 2 - (0.5 + 0.5 + 0.375 + 0.375) = 0.25 bits, column two: 2 bits
    assert bank.information.tolist() == pytest.approx([2.25])


def test_log_odds_lie_on_the_grid(jaspar: MotifBank) -> None:
    for i in range(len(jaspar)):
        steps = jaspar.log_odds(i) * GRID
        np.testing.assert_array_equal(steps, np.rint(steps))


def test_reverse_complement_turns_log_odds() -> None:
    bank = bank_of(TWO)
    turned = bank.reverse_complement()
    np.testing.assert_array_equal(turned.log_odds(0), bank.log_odds(0)[::-1, ::-1])
    assert turned.reverse_complement().hash == bank.hash


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 6),
    p=st.sampled_from([1 / 4096, 1e-3, 1 / 256, 0.01, 0.2, 0.9]),
)
def test_thresholds_equal_enumeration(seed: int, length: int, p: float) -> None:
    bank = bank_of(random_matrix(np.random.default_rng(seed), length))
    log_odds = bank.log_odds(0)
    scores = np.array([sum(log_odds[np.arange(length), site]) for site in itertools.product(range(4), repeat=length)])
    reachable = [score for score in np.unique(scores) if (scores >= score).mean() <= p]
    expected = min(reachable) if reachable else scores.max()
    assert bank.thresholds(p).tolist() == [expected]


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1])
def test_thresholds_refuse_what_is_no_probability(p: float) -> None:
    with pytest.raises(ValueError, match="tail probability"):
        bank_of(TWO).thresholds(p)


def test_json_round_trip_keeps_every_bit(jaspar: MotifBank) -> None:
    again = MotifBank.from_content(BankContent.model_validate_json(jaspar.content().model_dump_json()))
    assert again.hash == jaspar.hash
    assert (again.ids, again.names) == (jaspar.ids, jaspar.names)
    for left, right in zip(again.probabilities, jaspar.probabilities, strict=True):
        np.testing.assert_array_equal(left, right)


def test_json_of_another_version_is_refused() -> None:
    content = bank_of(TWO).content().model_dump() | {"format_version": 99}
    with pytest.raises(EpisodeError, match="bank: format_version: needed one of 1, got 99"):
        parse_model(content, BankContent, where="bank")


def test_hash_sees_names_matrices_and_order() -> None:
    rng = np.random.default_rng(0)
    one, two = random_matrix(rng, 5), random_matrix(rng, 5)
    hashes = {bank_of(one).hash, bank_of(two).hash, bank_of(one, two).hash, bank_of(two, one).hash}
    hashes.add(MotifBank(("X0.1",), ("other",), (one,)).hash)
    assert len(hashes) == 5


@pytest.mark.parametrize(
    ("ids", "names", "matrices", "message"),
    [
        (("a",), ("a", "b"), (TWO,), "1 ids, 2 names"),
        (("a", "a"), ("a", "b"), (TWO, TWO), "distinct"),
        (("a",), ("a",), (TWO.T,), "shape"),
        (("a",), ("a",), (TWO * 2,), "sum to 1"),
    ],
)
def test_a_bank_that_does_not_fit_together_is_refused(
    ids: tuple[str, ...], names: tuple[str, ...], matrices: tuple[np.ndarray, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MotifBank(ids, names, matrices)


def test_a_bank_neither_shares_nor_changes_its_arrays() -> None:
    matrix = TWO.astype(np.float32)
    bank = bank_of(matrix)
    matrix[0] = 0.25
    assert bank.log_odds(0)[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        bank.probabilities[0][0, 0] = 0


def test_similarity_finds_shift_and_strand() -> None:
    rng = np.random.default_rng(1)
    core = random_matrix(rng, 8)
    flat = np.full((2, 4), 0.25)
    other = random_matrix(rng, 8)
    alike = similarity([core, np.vstack([flat, core]), np.vstack([core, flat])[::-1, ::-1], other])
    np.testing.assert_allclose(alike[:3, :3], 1, atol=1e-5)
    np.testing.assert_allclose(alike, alike.T)
    assert alike[0, 3] < 0.8


def test_similarity_of_a_half_site_by_hand() -> None:
    sure = np.eye(4)
    # 2 of 4 columns agree and hold the whole norm of the half site: 2 / (sqrt(2) * sqrt(4))
    half = np.eye(4)[:2]
    assert similarity([sure, half])[0, 1] == pytest.approx(np.sqrt(0.5), abs=1e-6)


def test_thinning_keeps_the_first_of_those_alike() -> None:
    rng = np.random.default_rng(2)
    one, two = random_matrix(rng, 9), random_matrix(rng, 9)
    assert thin([one, two, one[::-1, ::-1], two], 0.9) == [0, 1]
    assert thin([two, one], 1.1) == [0, 1]


def test_jaspar_bank(jaspar: MotifBank) -> None:
    config = StemConfig()
    assert 120 <= len(jaspar) <= 280
    assert list(jaspar.ids) == sorted(jaspar.ids)
    assert len({identifier.split(".")[0] for identifier in jaspar.ids}) == len(jaspar)
    assert (jaspar.information >= config.min_information).all()
    alike = similarity(list(jaspar.probabilities)) - 2 * np.eye(len(jaspar))
    assert alike.max() <= config.max_similarity
    assert load_bank(config).hash == jaspar.hash


def test_ctcf_is_in_the_bank_and_reads_as_known(jaspar: MotifBank) -> None:
    place = jaspar.index("CTCF")
    assert jaspar.index("MA0139") == jaspar.index(jaspar.ids[place]) == place
    consensus = "".join("ACGT"[k] for k in jaspar.probabilities[place].argmax(axis=1))
    assert "CCA" in consensus and "AGGGGGC" in consensus


@pytest.mark.parametrize("kind", ["conv", "kmer"])
def test_a_stem_from_nothing_has_a_bank_of_none(jaspar: MotifBank, kind: Any) -> None:
    empty = load_bank(StemConfig(kind=kind))
    assert len(empty) == 0 and empty.gate is None
    again = MotifBank.from_content(empty.content())
    assert len(again) == 0 and again.hash == empty.hash != jaspar.hash
    assert empty.thresholds().shape == empty.information.shape == empty.lengths.shape == (0,)
    gated = load_bank(StemConfig(kind=kind, gate="CTCF"))
    assert len(gated) == 0 and gated.gate is not None and set(gated.gate.names) == {"CTCF"}
    with pytest.raises(KeyError, match="among the 0 of the bank"):
        gated.index("CTCF")


def test_known_filters_are_the_bank_of_the_motif_stem(jaspar: MotifBank) -> None:
    assert load_bank(StemConfig(kind="conv", known=True)).hash == jaspar.hash


def test_an_absent_motif_is_named(jaspar: MotifBank) -> None:
    with pytest.raises(KeyError, match="NOPE"):
        jaspar.index("NOPE")


def test_unknown_release_and_impossible_information() -> None:
    with pytest.raises(ConfigError, match=r"JASPAR1066.*JASPAR2024"):
        load_bank(StemConfig(release="JASPAR1066"))
    with pytest.raises(ConfigError, match="min_information"):
        load_bank(StemConfig(min_information=1000.0))
