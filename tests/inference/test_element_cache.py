"""Codes of elements, encoded once: the same numbers whoever asks, and in whatever order."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from episode.encode.store import ElementStore
from episode.errors import EpisodeError
from episode.inference import element_cache as codes
from episode.inference import scoring as batch
from episode.inference.element_cache import ElementCache, encode_elements
from episode.inference.scoring import score_rows
from episode.model.backbone import Backbone, ElementCodes
from episode.model.energy import EnergySystem
from episode.threads import torch_threads
from small_systems import MOTIFS, make_rows, make_store, make_system, small_config

STORE = make_store()


@pytest.fixture
def backbone() -> Backbone:
    return make_system(small_config()).backbone


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "BLOCK", 7)


def real(found: ElementCodes) -> list[torch.Tensor]:
    """Everything but the padding."""
    bins = [found.tokens, *(x.transpose(1, 2).flatten(2) for x in (found.query, found.key, found.value))]
    return [x[found.mask] for x in bins] + [found.mask.sum(1), found.presence, found.factors, found.gate]


@pytest.mark.parametrize("kind", ["enhancer", "promoter"])
def test_codes_are_those_of_encoding(backbone: Backbone, kind: str) -> None:
    element = np.array([3, 39, 3, 0, 21, 20, 6, 7])
    mirrored = np.array([0, 1, 1, 0, 0, 1, 0, 0], dtype=bool)
    found = ElementCache(backbone, STORE).codes(kind, element, mirrored)
    with torch.no_grad():
        wanted = encode_elements(backbone, STORE, kind, element, mirrored)
    assert found.mask.shape == wanted.mask.shape
    for one, two in zip(real(found), real(wanted), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_codes_do_not_depend_on_what_else_is_asked_for(backbone: Backbone) -> None:
    """To the last bit: alone from a new cache, and together, in two orders, from one that was used before."""
    rng = np.random.default_rng(5)
    element, mirrored = rng.permutation(40), rng.random(40) < 0.5
    used = ElementCache(backbone, STORE)
    used.codes("promoter", np.arange(30, 35), np.ones(5, dtype=bool))
    together = used.codes("promoter", element, mirrored)
    again = used.codes("promoter", element[::-1], mirrored[::-1]).take(torch.arange(39, -1, -1))
    for one, two in zip(real(together), real(again), strict=True):
        assert torch.equal(one, two)
    for i in (0, 11, 39):
        alone = ElementCache(backbone, STORE).codes("promoter", element[i : i + 1], mirrored[i : i + 1])
        for one, two in zip(real(alone), real(together.take(torch.tensor([i]))), strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize("oriented", [True, False])
def test_scores_from_a_cache_are_those_from_the_store(backbone: Backbone, oriented: bool) -> None:
    rows = make_rows(60, oriented=oriented)
    cache = ElementCache(backbone, STORE)
    for block in (4096, 9):
        one, two = score_rows(backbone, cache, rows, block=block), score_rows(backbone, STORE, rows)
        torch.testing.assert_close(one.potential, two.potential, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(one.representation, two.representation, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("budget", [0, 5000, 10**9])
def test_codes_are_the_same_from_memory_and_from_a_file(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, budget: int
) -> None:
    monkeypatch.setattr(codes, "BUDGET", budget)
    element = np.random.default_rng(2).integers(0, 40, 100)
    mirrored = np.arange(100) % 3 == 0
    cache, other = ElementCache(backbone, STORE, tmp_path / "new"), ElementCache(backbone, STORE)
    for _ in range(2):
        found, wanted = cache.codes("enhancer", element, mirrored), other.codes("enhancer", element, mirrored)
        for one, two in zip(real(found), real(wanted), strict=True):
            assert torch.equal(one, two)
    assert (tmp_path / "new").exists() == (budget < 10**9)
    assert not any(tmp_path.glob("new/*")), "a kill would leave it behind"


def test_codes_and_scores_are_the_same_bits_for_any_number_of_threads(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Encoded block by block, or with many at a time; from memory and from a file."""
    monkeypatch.setattr(batch, "PIECE", 16)
    monkeypatch.setattr(codes, "AHEAD", 1)
    monkeypatch.setattr(codes, "BUDGET", 5000)
    rows, element = make_rows(150), np.arange(40)
    found = []
    for threads in (1, 2, 3):
        with torch_threads(threads):
            cache = ElementCache(backbone, STORE, tmp_path / str(threads))
            output = score_rows(backbone, cache, rows)
            assert not output.potential.requires_grad
            found.append(
                [output.potential, output.representation, *real(cache.codes("promoter", element, element < 9))]
            )
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_what_encoding_raises_comes_through(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(self: ElementStore, ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        raise EpisodeError("a segment has become shorter") if 20 in ids else AssertionError

    monkeypatch.setattr(ElementStore, "gather", damaged)
    with torch_threads(2), pytest.raises(EpisodeError, match="has become shorter"):
        ElementCache(backbone, STORE).codes("enhancer", np.arange(20, 40), np.zeros(20, dtype=bool))


def test_where_there_is_no_room_it_is_said(backbone: Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(file: object, rows: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(codes, "BUDGET", 0)
    monkeypatch.setattr(codes, "_write", full)
    with pytest.raises(
        EpisodeError, match=r"No space left on device; [\d,]+ bytes more were needed for 7 of 40 elements"
    ):
        ElementCache(backbone, STORE, tmp_path).codes("enhancer", np.arange(3), np.zeros(3, dtype=bool))


def test_gates_are_kept_with_the_rest() -> None:
    levels = torch.tensor([[8.0, 7, 7, 6, 6, 5], [5.0, 4, 6, 3, 3, 4]])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = EnergySystem(small_config(), torch.full((MOTIFS,), 2.0), 2, -0.4, levels).backbone
    store = replace(STORE, gate=make_store(seed=1))
    element, mirrored = np.arange(30), np.arange(30) % 2 == 0
    found = ElementCache(backbone, store).codes("promoter", element, mirrored)
    with torch.no_grad():
        wanted = encode_elements(backbone, store, "promoter", element, mirrored)
    assert found.gate.shape == (30, 2)
    for one, two in zip(real(found), real(wanted), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_each_element_is_encoded_once(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counting(self: ElementStore, ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        asked.extend(ids.tolist())
        return gather(self, ids)

    gather = ElementStore.gather
    monkeypatch.setattr(ElementStore, "gather", counting)
    cache, rows = ElementCache(backbone, STORE), replace(make_rows(200), mirrored=np.zeros(200, dtype=bool))
    for _ in range(2):
        score_rows(backbone, cache, rows, block=20)
    repeated = {i for i in asked if asked.count(i) > 1}
    assert repeated == set(range(14, 21))  # the one block that holds both kinds, encoded as either
    assert len(asked) == 40 + 7


def test_a_cache_has_no_gradient_and_one_backbone(backbone: Backbone) -> None:
    cache, rows = ElementCache(backbone, STORE), make_rows(5)
    with pytest.raises(ValueError, match="no gradient"):
        score_rows(backbone, cache, rows, gradient=True)
    with pytest.raises(ValueError, match="Backbone that filled it"):
        score_rows(make_system(small_config(), seed=3).backbone, cache, rows)
