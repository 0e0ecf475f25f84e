"""Features by hand on tiny sequences, and their behaviour under the mirror rule."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from episode.compare.methods.base import FoldTask
from episode.compare.methods.ctcf import convergence, ctcf_features
from episode.compare.methods.features import (
    ElementTable,
    canonical_kmers,
    ctcf_index,
    elements_in_use,
    kmer_table,
    motif_table,
    oriented_maxima,
    oriented_pairs,
)
from episode.compare.methods.motif_gbm import motif_features
from episode.data.dataset import Dataset
from episode.encode.motifs import MotifBank
from episode.encode.scanner import FLOOR
from episode.encode.store import ElementStore, build_store
from episode.errors import EpisodeError


def made_up(sequences: list[str], rows: list[tuple[int, int, bool, bool]]) -> Dataset:
    """Elements of given bases, and pairs (enhancer, promoter, mirrored, has coordinates)."""
    codes = [np.array(["ACGTN".index(base) for base in text], dtype=np.uint8) for text in sequences]
    length = np.array([len(part) for part in codes], dtype=np.int64)
    elements = pd.DataFrame({"length": length, "offset": np.cumsum(length) - length})
    pairs = pd.DataFrame(rows, columns=["enhancer_id", "promoter_id", "mirrored", "has_coordinates"])
    manifest: Any = {}
    return Dataset(pairs, elements, np.concatenate(codes), manifest)


def maxima(*values: tuple[float, float]) -> ElementTable:
    """One motif: best forward and best reverse site of elements 0, 1, ..."""
    return ElementTable(np.arange(len(values)), np.array(values, dtype=np.float32)[:, :, None])


def test_both_orientations_of_a_pair_without_coordinates_are_read_and_averaged() -> None:
    dataset = made_up(["A", "C", "G"], [(0, 1, False, True), (0, 2, False, False), (1, 2, True, True)])
    which = oriented_pairs(dataset, np.array([2, 1, 0]))
    assert which.pair.tolist() == [0, 1, 1, 2]
    assert which.enhancer.tolist() == [1, 0, 0, 0]
    assert which.promoter.tolist() == [2, 2, 2, 1]
    assert which.mirrored.tolist() == [True, False, True, False]
    assert which.weight.tolist() == [1, 0.5, 0.5, 1]
    averaged = which.average(np.array([[1.0, 2.0, 6.0, 3.0], [0.0, 1.0, 0.0, -1.0]]))
    assert averaged.tolist() == [[1, 4, 3], [0, 0.5, -1]]
    nothing = oriented_pairs(dataset, np.zeros(0, dtype=np.int64))
    assert len(nothing) == 0 and nothing.average(np.zeros((2, 0))).shape == (2, 0)


def test_maxima_are_taken_over_the_bins_of_the_element_alone() -> None:
    tokens = np.array(
        [[[9, 9], [9, 9]], [[1, -4], [2, 0]], [[3, -5], [1, 7]], [[8, 8], [8, 8]]],
        dtype=np.float16,
    )
    store = ElementStore.of(tokens, np.array([1, 2, 1]), "made-up")
    table = motif_table(store, np.array([1, 2]))
    assert table.numbers.tolist() == [[[3, -4], [2, 7]], [[8, 8], [8, 8]]]
    assert motif_table(store, np.array([1]), np.array([1])).numbers.tolist() == [[[-4], [7]]]
    assert table.rows(np.array([2, 1, 2]))[:, 0, 0].tolist() == [8, 3, 8]
    with pytest.raises(IndexError, match="does not hold"):
        table.rows(np.array([0]))


def test_an_element_without_bins_is_at_the_floor() -> None:
    store = ElementStore.of(np.zeros((1, 2, 1), dtype=np.float16), np.array([0, 1]), "made-up")
    assert motif_table(store, np.array([0, 1])).numbers.ravel().tolist() == [FLOOR, FLOOR, 0, 0]


def test_elements_in_use_are_those_of_the_rows_given() -> None:
    dataset = made_up(["A"] * 5, [(0, 4, False, True), (1, 3, False, True), (0, 3, False, True)])
    assert elements_in_use(dataset, np.array([0, 2])).tolist() == [0, 3, 4]


def test_a_mirrored_pair_reads_the_other_strands() -> None:
    dataset = made_up(["A", "C"], [(0, 1, False, True), (0, 1, True, True)])
    upstream, downstream = oriented_maxima(maxima((5, 1), (2, 7)), oriented_pairs(dataset, np.array([0, 1])))
    assert upstream[:, :, 0].tolist() == [[5, 1], [1, 5]]
    assert downstream[:, :, 0].tolist() == [[2, 7], [7, 2]]


def test_convergence_is_forward_upstream_times_reverse_downstream() -> None:
    dataset = made_up(["A"] * 3, [(0, 1, False, True), (0, 1, True, True), (0, 1, False, False), (2, 2, False, True)])
    table = maxima((5, 1), (2, 7), (-3, -4))
    which = oriented_pairs(dataset, np.arange(4))
    assert which.average(convergence(table, which)).tolist() == [35, 2, 18.5, 0]


def test_ctcf_features_by_hand() -> None:
    dataset = made_up(["A"] * 3, [(0, 1, False, True), (0, 2, True, True)])
    features = ctcf_features(maxima((5, 1), (2, 7), (-3, 4)))(oriented_pairs(dataset, np.array([0, 1])))
    assert features.tolist() == [[5, 1, 2, 7, 35, 5, 2], [1, 5, 4, -3, 0, 0, 20]]


def test_motif_features_by_hand() -> None:
    values = np.array([[[5, -2], [1, 3]], [[2, 4], [7, 6]]], dtype=np.float32)
    dataset = made_up(["A", "C"], [(0, 1, False, True)])
    features = motif_features(ElementTable(np.arange(2), values), ctcf=1)(oriented_pairs(dataset, np.array([0])))
    maxima_of_both = [5, -2, 1, 3, 2, 4, 7, 6]
    products = [5 * 7, 0, 1 * 2, 3 * 4, 5 * 2, 0, 1 * 7, 3 * 6]
    assert features.tolist() == [[*maxima_of_both, *products, 0]]


def test_two_negative_sites_make_no_product() -> None:
    dataset = made_up(["A", "C"], [(0, 1, False, True)])
    which = oriented_pairs(dataset, np.array([0]))
    table = maxima((-9, -9), (-9, -9))
    assert convergence(table, which).tolist() == [0]
    assert ctcf_features(table)(which)[0, 4:].tolist() == [0, 0, 0]
    assert motif_features(table, 0)(which)[0, 4:].tolist() == [0] * 5


@pytest.mark.parametrize(("k", "classes"), [(1, 2), (2, 10), (3, 32), (5, 512)])
def test_a_kmer_and_its_reverse_complement_are_one_class(k: int, classes: int) -> None:
    kind = canonical_kmers(k)
    assert sorted(set(kind.tolist())) == list(range(classes))
    for number in range(4**k):
        digits = [number // 4**place % 4 for place in range(k)]  # last base first
        reverse = sum((3 - base) * 4 ** (k - 1 - place) for place, base in enumerate(digits))
        assert kind[number] == kind[reverse]


def test_kmer_frequencies_by_hand() -> None:
    # dimers AA=TT, AC=GT, AG=CT, AT, CA=TG, CC=GG, CG, GA=TC, GC, TA
    dataset = made_up(["AACNGT", "N", "AC"], [(0, 1, False, True)])
    shares = kmer_table(dataset, np.array([0, 1, 2]), k=2).numbers
    assert shares[0] == pytest.approx([1 / 3, 2 / 3, 0, 0, 0, 0, 0, 0, 0, 0])
    assert not shares[1].any()
    assert shares[2].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_kmers_longer_than_the_element_are_none() -> None:
    assert not kmer_table(made_up(["ACGT"], [(0, 0, False, True)]), np.array([0]), k=5).numbers.any()


def test_the_bank_names_ctcf_or_says_that_it_lacks_it(fold_task: FoldTask) -> None:
    bank = fold_task.bank
    index = ctcf_index(bank)
    assert bank.names[index] == "CTCF"
    others = [i for i in range(len(bank)) if i != index]
    ids, names = (tuple(part[i] for i in others) for part in (bank.ids, bank.names))
    without = MotifBank(ids, names, tuple(bank.probabilities[i] for i in others))
    with pytest.raises(EpisodeError, match="MA0139"):
        ctcf_index(without)


def test_convergent_sites_in_real_letters(fold_task: FoldTask) -> None:
    """CCACCAGGGGGCGC reads forward; a pair of such sites pointing at each other is convergent."""
    forward = "AATT" * 10 + "GCCACCAGGGGGCGC" + "AATT" * 10
    reverse = forward[::-1].translate(str.maketrans("ACGT", "TGCA"))
    rows = [(0, 1, False, True), (1, 0, False, True), (1, 0, True, True), (0, 0, False, True)]
    dataset = made_up([forward, reverse], rows)
    store = build_store(dataset, fold_task.bank, fold_task.config.stem.changed(bin=32))
    table = motif_table(store, np.array([0, 1]), np.array([ctcf_index(fold_task.bank)]))
    score = convergence(table, oriented_pairs(dataset, np.arange(4)))
    best = float(fold_task.bank.log_odds(ctcf_index(fold_task.bank)).max(axis=1).sum())
    assert score[0] == pytest.approx(best**2, rel=0.01)
    # mirrored: reverse-complemented in place, so the element with the reverse site reads forward
    assert score[2] == score[0]
    assert score[1] < score[0] / 4
    assert score[3] < score[0] / 2
