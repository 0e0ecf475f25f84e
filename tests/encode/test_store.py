"""The store: what it holds and what is read from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from episode.config import StemConfig
from episode.dna import UNKNOWN, digest
from episode.encode import store as store_module
from episode.encode.bases import BaseLayout
from episode.encode.scanner import FLOOR, Scanner
from episode.encode.store import ElementStore, build_store, row_shape
from episode.inference.orientation import mirror
from episode.limits import POSITION
from random_elements import BASES, CONFIG, Elements, make_bank, make_dataset, sequence
from small_systems import all_rows, scan


@pytest.mark.parametrize("on_disk", [False, True])
def test_holds_every_element(tmp_path: Path, on_disk: bool) -> None:
    dataset, bank = make_dataset(), make_bank()
    store = build_store(dataset, bank, CONFIG, tmp_path / "cache" if on_disk else None)
    assert store.bins.tolist() == [5, 1, 1, 3, 0, 4]
    assert len(store) == 6 and store.n_motifs == 3
    assert store.row_shape == (2, 3) and store.dtype == np.float16
    for element in range(6):
        np.testing.assert_array_equal(store.rows(element), scan(sequence(dataset, element), bank, 16))


def test_elements_may_lie_anywhere_in_the_codes() -> None:
    dataset = make_dataset()
    scattered = Elements(dataset.elements.iloc[[3, 0]].reset_index(drop=True), dataset.codes)
    store = build_store(scattered, make_bank(), CONFIG)
    expected = Scanner(make_bank(), 16)([sequence(dataset, 3), sequence(dataset, 0)])
    np.testing.assert_array_equal(all_rows(store), expected)


def test_coordinates_save_work_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elements that overlap on their chromosome, but for one that is told to lie where it does not."""
    codes = np.random.default_rng(3).integers(0, 4, 900).astype(np.uint8)
    start = np.array([0, 300, 100, 200, 100])
    elements = pd.DataFrame({"length": 400, "offset": start})
    placed = elements.assign(chrom=["chr2", "chr2", "chr2", "chr1", "chr1"], start=[1000, 1300, 1100, 1200, 1150])
    places = []

    class Watching(store_module.Scanner):
        def __call__(self, elements, place=None):  # type: ignore[no-untyped-def]
            places.append(place)
            return super().__call__(elements, place)

    monkeypatch.setattr(store_module, "Scanner", Watching)
    stores = [build_store(Elements(frame, codes), make_bank(), CONFIG) for frame in (elements, placed)]
    np.testing.assert_array_equal(all_rows(stores[1]), all_rows(stores[0]))
    assert stores[0].hash == stores[1].hash
    assert places[0] is None
    assert (places[1] - places[1][3]).tolist() == [POSITION + x for x in (-200, 100, -100)] + [0]


def test_batches_of_elements_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build_store(make_dataset(), make_bank(), CONFIG)
    monkeypatch.setattr(store_module, "BATCH", 20)
    np.testing.assert_array_equal(all_rows(build_store(make_dataset(), make_bank(), CONFIG)), all_rows(whole))


def test_gather_pads_and_masks() -> None:
    dataset, bank = make_dataset(), make_bank()
    store = build_store(dataset, bank, CONFIG)
    ids = np.array([3, 1, 4, 3])
    tokens, mask = store.gather(ids)
    assert tokens.shape == (4, 3, 2, 3) and tokens.dtype == torch.float32
    assert mask.tolist() == [[True] * 3, [True, False, False], [False] * 3, [True] * 3]
    for row, element in enumerate(ids):
        expected = scan(sequence(dataset, int(element)), bank, 16).astype(np.float32)
        np.testing.assert_array_equal(tokens[row][mask[row]].numpy(), expected)
    assert (tokens[~mask] == FLOOR).all()


def test_gather_of_nothing_and_of_strangers() -> None:
    store = build_store(make_dataset(), make_bank(), CONFIG)
    tokens, mask = store.gather(np.array([], dtype=np.int32))
    assert tokens.shape == (0, 0, 2, 3) and mask.shape == (0, 0)
    for stranger in (-1, 6):
        with pytest.raises(IndexError, match=r"0\.\.5"):
            store.gather(np.array([0, stranger]))


def test_mirror_gives_the_tokens_of_the_reverse_complement() -> None:
    dataset, bank = make_dataset(), make_bank()
    turned = [
        np.where(codes < 4, 3 - np.minimum(codes, 3), 4).astype(np.uint8)[::-1]
        for codes in (sequence(dataset, element) for element in range(6))
    ]
    other = build_store(Elements(dataset.elements, np.concatenate(turned)), bank, CONFIG)
    store = build_store(dataset, bank, CONFIG)
    ids = np.array([0, 5, 3, 1, 4, 0])
    reverse = torch.tensor([True, True, True, True, True, False])
    tokens, mask = store.gather(ids)
    expected, _ = other.gather(ids)
    expected[5] = tokens[5]
    mirrored = mirror(tokens, mask, reverse)
    assert torch.equal(mirrored, expected)
    assert torch.equal(mirror(mirrored, mask, reverse), tokens)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_store_of_bases(tmp_path: Path, on_disk: bool) -> None:
    dataset = make_dataset()
    store = build_store(dataset, make_bank(), BASES, tmp_path / "cache" if on_disk else None)
    assert store.bins.tolist() == [5, 1, 1, 3, 0, 4]
    assert store.dtype == np.uint8 and store.row_shape == row_shape(BASES, make_bank()) == (16,)
    ids = np.array([3, 1, 4, 0])
    rows, mask = store.gather(ids)
    assert rows.shape == (4, 5, 16) and rows.dtype == torch.uint8
    for row, element in enumerate(ids):
        expected = BaseLayout(16)([sequence(dataset, int(element))])
        np.testing.assert_array_equal(rows[row][mask[row]].numpy(), expected)
    assert (rows[~mask] == UNKNOWN).all()
    empty, _ = store.gather(np.array([], dtype=np.int64))
    assert empty.shape == (0, 0, 16)


def test_mirror_of_bases_is_the_store_of_the_reverse_complements() -> None:
    dataset = make_dataset()
    turned = [
        np.where(codes < 4, 3 - np.minimum(codes, 3), 4).astype(np.uint8)[::-1]
        for codes in (sequence(dataset, element) for element in range(6))
    ]
    other = build_store(Elements(dataset.elements, np.concatenate(turned)), make_bank(), BASES)
    ids = np.arange(6)
    rows, mask = build_store(dataset, make_bank(), BASES).gather(ids)
    assert torch.equal(mirror(rows, mask, torch.ones(6, dtype=torch.bool)), other.gather(ids)[0])
    assert torch.equal(mirror(rows, mask, torch.zeros(6, dtype=torch.bool)), rows)


def test_scores_and_bases_do_not_share_a_store(tmp_path: Path) -> None:
    scores = build_store(make_dataset(), make_bank(), CONFIG, tmp_path)
    bases = build_store(make_dataset(), make_bank(), BASES, tmp_path)
    assert scores.hash != bases.hash and len(list(tmp_path.iterdir())) == 2
    for other in (BASES.changed(kmer=4), StemConfig(kind="conv", bin=16, filters=3)):
        assert build_store(make_dataset(), make_bank(1), other, tmp_path).hash == bases.hash, "bases are bases"
    assert build_store(make_dataset(), make_bank(), BASES.changed(bin=17)).hash != bases.hash


def test_whatever_changes_the_tokens_changes_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    one_base = make_dataset()
    one_base.codes[3] = (one_base.codes[3] + 1) % 4
    split = make_dataset(lengths=(60, 26, 1, 33, 0, 64))
    hashes = [
        build_store(make_dataset(), make_bank(), CONFIG).hash,
        build_store(one_base, make_bank(), CONFIG).hash,
        build_store(split, make_bank(), CONFIG).hash,
        build_store(make_dataset(), make_bank(1), CONFIG).hash,
        build_store(make_dataset(), make_bank(), StemConfig(bin=17)).hash,
        build_store(make_dataset(), make_bank(), CONFIG.changed(precision="float32")).hash,
    ]
    monkeypatch.setattr(store_module, "CODE_VERSION", 0)
    hashes.append(build_store(make_dataset(), make_bank(), CONFIG).hash)
    assert len(set(hashes)) == 7


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_float32_store_holds_what_float16_rounds(tmp_path: Path, on_disk: bool) -> None:
    cache = tmp_path if on_disk else None
    half = build_store(make_dataset(), make_bank(), CONFIG, cache)
    full = build_store(make_dataset(), make_bank(), CONFIG.changed(precision="float32"), cache)
    assert full.dtype == np.float32 and full.hash != half.hash
    np.testing.assert_array_equal(all_rows(full).astype(np.float16), all_rows(half))
    assert (all_rows(full) != all_rows(half).astype(np.float32)).any(), "else nothing is gained"
    assert full.gather(np.array([0, 3]))[0].dtype == torch.float32


@pytest.mark.parametrize("config", [CONFIG, BASES])
def test_equal_sequences_share_their_rows(config: StemConfig, tmp_path: Path, scanned: list[int]) -> None:
    dataset = make_dataset()
    repeated = Elements(dataset.elements.iloc[[0, 3, 0, 5, 3]].reset_index(drop=True), dataset.codes)
    for cache in (None, tmp_path):
        scanned.clear()
        store = build_store(repeated, make_bank(), config, cache)
        assert sum(scanned) == (3 if config is CONFIG else 0)
        assert store.tokens.shape[0] == 5 + 3 + 4 and len(store) == 5
        alone = build_store(dataset, make_bank(), config)
        for element, original in enumerate((0, 3, 0, 5, 3)):
            np.testing.assert_array_equal(store.rows(element), alone.rows(original))
        ids = np.array([2, 4, 0, 3, 1])
        expected, mask = alone.gather(np.array([0, 3, 0, 5, 3]))
        found, same = store.gather(ids)
        assert torch.equal(found, expected[ids]) and torch.equal(same, mask[ids])


def test_the_hash_is_that_of_the_elements_in_their_order() -> None:
    dataset = make_dataset()
    turned = Elements(dataset.elements.iloc[::-1].reset_index(drop=True), dataset.codes)
    codes = np.concatenate([np.zeros(7, np.uint8), dataset.codes])
    moved = Elements(dataset.elements.assign(offset=dataset.elements["offset"] + 7), codes)
    hash = build_store(dataset, make_bank(), CONFIG).hash
    assert build_store(moved, make_bank(), CONFIG).hash == hash
    assert build_store(turned, make_bank(), CONFIG).hash != hash


def test_digests_that_are_known_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset()
    known = [digest(sequence(dataset, element)) for element in range(6)]
    expected = build_store(dataset, make_bank(), CONFIG, tmp_path)
    monkeypatch.setattr(store_module, "digest", None)
    told = Elements(dataset.elements.assign(digest=known), dataset.codes)
    assert build_store(told, make_bank(), CONFIG, tmp_path).hash == expected.hash


def test_a_dataset_without_elements_has_an_empty_store(tmp_path: Path) -> None:
    for cache in (None, tmp_path):
        store = build_store(make_dataset(lengths=()), make_bank(), CONFIG, cache)
        assert isinstance(store, ElementStore) and len(store) == 0 and store.row_shape == (2, 3)
        assert store.gather(np.array([], dtype=np.int64))[0].shape == (0, 0, 2, 3)
    assert list(tmp_path.iterdir()) == []


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    build_store(make_dataset(), make_bank(), CONFIG, progress=True)
    captured = capsys.readouterr()
    assert captured.out == "" and "scan" in captured.err


def test_threads_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Watching(store_module.Scanner):
        def __call__(self, elements, place=None):  # type: ignore[no-untyped-def]
            seen.append(torch.get_num_threads())
            return super().__call__(elements, place)

    monkeypatch.setattr(store_module, "Scanner", Watching)
    for workers in (0, 2):
        build_store(make_dataset(), make_bank(), CONFIG, workers=workers)
    assert seen == [1, 2] and torch.get_num_threads() == 1
