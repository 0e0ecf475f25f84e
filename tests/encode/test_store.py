"""The store: what it holds, when it is reused, and when it is built again."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from episode.config import StemConfig
from episode.encode import store as store_module
from episode.encode.bases import UNKNOWN, BaseLayout
from episode.encode.motifs import MotifBank
from episode.encode.stem import FLOOR, scan, scan_many
from episode.encode.store import ElementStore, build_store, mirror, row_shape

LENGTHS = (70, 16, 1, 33, 0, 64)
CONFIG = StemConfig(bin=16)
BASES = StemConfig(kind="kmer", bin=16)


@dataclass(frozen=True)
class Elements:
    elements: pd.DataFrame
    codes: np.ndarray


def make_bank(seed: int = 0) -> MotifBank:
    rng = np.random.default_rng(seed)
    matrices = tuple(rng.dirichlet(np.full(4, 0.3), size=length) for length in (4, 5, 9))
    return MotifBank(("A.1", "B.1", "C.1"), ("a", "b", "c"), matrices)


def make_dataset(seed: int = 0, lengths: tuple[int, ...] = LENGTHS) -> Elements:
    codes = np.random.default_rng(seed).integers(0, 5, sum(lengths)).astype(np.uint8)
    offset = np.cumsum((0, *lengths))[:-1]
    return Elements(pd.DataFrame({"length": lengths, "offset": offset}), codes)


def sequence(dataset: Elements, element: int) -> np.ndarray:
    row = dataset.elements.loc[element]
    return dataset.codes[row["offset"] : row["offset"] + row["length"]]


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often elements were really scanned."""
    calls: list[int] = []

    class Counting(store_module.Scanner):
        def __call__(self, elements):  # type: ignore[no-untyped-def]
            calls.append(len(elements))
            return super().__call__(elements)

    monkeypatch.setattr(store_module, "Scanner", Counting)
    return calls


@pytest.mark.parametrize("on_disk", [False, True])
def test_holds_every_element(tmp_path: Path, on_disk: bool) -> None:
    dataset, bank = make_dataset(), make_bank()
    store = build_store(dataset, bank, CONFIG, tmp_path / "cache" if on_disk else None)
    assert store.bins.tolist() == [5, 1, 1, 3, 0, 4]
    assert store.offset.tolist() == [0, 5, 6, 7, 10, 10]
    assert len(store) == 6 and store.n_motifs == 3
    for element in range(6):
        rows = slice(store.offset[element], store.offset[element] + store.bins[element])
        np.testing.assert_array_equal(store.tokens[rows], scan(sequence(dataset, element), bank, 16))


def test_elements_may_lie_anywhere_in_the_codes() -> None:
    dataset = make_dataset()
    scattered = Elements(dataset.elements.iloc[[3, 0]].reset_index(drop=True), dataset.codes)
    store = build_store(scattered, make_bank(), CONFIG)
    expected = scan_many([sequence(dataset, 3), sequence(dataset, 0)], make_bank(), 16)
    np.testing.assert_array_equal(store.tokens, expected)


def test_batches_of_elements_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build_store(make_dataset(), make_bank(), CONFIG)
    monkeypatch.setattr(store_module, "BATCH", 20)
    np.testing.assert_array_equal(build_store(make_dataset(), make_bank(), CONFIG).tokens, whole.tokens)


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
    assert store.tokens.dtype == np.uint8 and store.tokens.shape[1:] == row_shape(BASES, make_bank()) == (16,)
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
    for other in (replace(BASES, kmer=4), StemConfig(kind="conv", bin=16, filters=3)):
        assert build_store(make_dataset(), make_bank(1), other, tmp_path).hash == bases.hash, "bases are bases"
    assert build_store(make_dataset(), make_bank(), replace(BASES, bin=17)).hash != bases.hash


def test_a_valid_store_is_reused(tmp_path: Path, scans: list[int]) -> None:
    first = build_store(make_dataset(), make_bank(), CONFIG, tmp_path)
    again = build_store(make_dataset(), make_bank(), CONFIG, tmp_path)
    assert scans == [6]
    assert first.hash == again.hash
    np.testing.assert_array_equal(first.tokens, again.tokens)
    assert [path.name for path in tmp_path.iterdir()] == [first.hash]


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
    ]
    monkeypatch.setattr(store_module, "CODE_VERSION", 0)
    hashes.append(build_store(make_dataset(), make_bank(), CONFIG).hash)
    assert len(set(hashes)) == 6


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "tokens.npy").read_bytes())
    content[-1] ^= 1
    (folder / "tokens.npy").write_bytes(content)


def cut_short(folder: Path) -> None:
    content = (folder / "tokens.npy").read_bytes()
    (folder / "tokens.npy").write_bytes(content[:-100])


def wrong_shape(folder: Path) -> None:
    np.save(folder / "tokens.npy", np.zeros((2, 2, 3), np.float16))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"] = store_module.file_sha256(folder / "tokens.npy")
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        cut_short,
        wrong_shape,
        lambda folder: (folder / "tokens.npy").unlink(),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "manifest.json").write_text("{}"),
    ],
)
def test_a_damaged_store_is_built_again(tmp_path: Path, scans: list[int], damage) -> None:
    sound = np.array(build_store(make_dataset(), make_bank(), CONFIG, tmp_path).tokens)
    folder = next(tmp_path.iterdir())
    damage(folder)
    mended = build_store(make_dataset(), make_bank(), CONFIG, tmp_path)
    assert scans == [6, 6]
    np.testing.assert_array_equal(mended.tokens, sound)
    assert list(tmp_path.iterdir()) == [folder]
    build_store(make_dataset(), make_bank(), CONFIG, tmp_path)
    assert scans == [6, 6]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "_fill", full)
    with pytest.raises(OSError, match="No space left"):
        build_store(make_dataset(), make_bank(), CONFIG, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_later_of_two_builders_takes_the_earlier_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill = store_module._fill

    def overtaken(*arguments) -> None:  # type: ignore[no-untyped-def]
        monkeypatch.setattr(store_module, "_fill", fill)
        build_store(make_dataset(), make_bank(), CONFIG, tmp_path)
        fill(*arguments)

    monkeypatch.setattr(store_module, "_fill", overtaken)
    store = build_store(make_dataset(), make_bank(), CONFIG, tmp_path)
    np.testing.assert_array_equal(store.tokens, build_store(make_dataset(), make_bank(), CONFIG).tokens)
    assert [path.name for path in tmp_path.iterdir()] == [store.hash]


def _build_and_sum(folder: str) -> float:
    return float(np.asarray(build_store(make_dataset(), make_bank(), CONFIG, Path(folder)).tokens, float).sum())


def test_processes_building_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        sums = pool.map(_build_and_sum, [str(tmp_path)] * 4)
    assert len(set(sums)) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_dataset_without_elements_has_an_empty_store(tmp_path: Path) -> None:
    store = build_store(make_dataset(lengths=()), make_bank(), CONFIG, tmp_path)
    assert isinstance(store, ElementStore) and len(store) == 0 and store.tokens.shape == (0, 2, 3)


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    build_store(make_dataset(), make_bank(), CONFIG, progress=True)
    captured = capsys.readouterr()
    assert captured.out == "" and "scan" in captured.err
