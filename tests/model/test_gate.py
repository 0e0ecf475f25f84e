"""The boundary gate, by hand and through the one road from stored elements to U_I."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from episode.config import StemConfig
from episode.encode.motifs import MotifBank, load_bank
from episode.encode.store import ElementStore
from episode.inference.scoring import LiveScorer, gate_presence, score_rows
from episode.model.backbone import Backbone
from episode.model.energy import EnergySystem
from episode.model.gate import GateEncoder, GateHead
from episode.train.step import step_losses
from small_systems import (
    ELEMENTS,
    MOTIFS,
    filled,
    make_context,
    make_rows,
    make_store,
    reverse_complement,
    small_config,
)

MATRICES = 3
LEVELS = torch.tensor([[8.0, 7.0, 7.0], [5.0, 4.0, 6.0]])


def gated_store(seed: int = 0) -> ElementStore:
    """The made-up store with made-up sites of three matrices in 2 to 6 bins an element."""
    rng = np.random.default_rng(seed)
    bins = rng.integers(2, 7, ELEMENTS)
    tokens = rng.normal(6, 4, (int(bins.sum()), 2, MATRICES)).astype(np.float16)
    return replace(make_store(), gate=ElementStore.of(tokens, bins, "sites"))


def turned(store: ElementStore) -> ElementStore:
    assert store.gate is not None
    return replace(reverse_complement(store), gate=reverse_complement(store.gate))


@pytest.fixture
def backbone() -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = EnergySystem(small_config(), torch.full((MOTIFS,), 2.0), 2, -0.4, LEVELS).backbone
        for parameter in backbone.parameters():
            parameter.requires_grad_(False).add_(0.1 * torch.randn(parameter.shape))
    return backbone


def test_an_element_by_hand() -> None:
    encoder = GateEncoder(LEVELS, bin=100)
    with torch.no_grad():
        encoder.partner.copy_(torch.tensor([0.5, 0.0]))
    scores = torch.full((1, 2, 2, MATRICES), -3.0)
    scores[0, 0, 0] = torch.tensor([9.0, 11.0, 2.0])  # a forward site in the first bin
    got = encoder(scores, torch.ones(1, 2, dtype=torch.bool), upstream=True)[0].detach()

    def occupied(*sites: float) -> float:
        total = math.log(sum(math.exp((z - 8.0) / 1.2) for z in sites)) - math.log(200 / 10_000)
        return math.log1p(math.exp(total + 1))

    empty = 0 + (0 - 4.0) / 3.5 * 0.5
    assert got[0] == pytest.approx(occupied(9.0 + (11.0 - 4.0) / 3.5 * 0.5, empty), rel=1e-5)
    assert got[1] == pytest.approx(occupied(empty, empty), rel=1e-5)
    down = encoder(scores, torch.ones(1, 2, dtype=torch.bool), upstream=False)[0].detach()
    torch.testing.assert_close(down, got.flip(0))


def test_padding_is_not_read() -> None:
    encoder = GateEncoder(LEVELS, bin=128)
    scores = torch.randn(1, 3, 2, MATRICES) * 5
    padded = torch.cat([scores, torch.full((1, 4, 2, MATRICES), 30.0)], dim=1)
    mask = torch.arange(7)[None] < 3
    torch.testing.assert_close(
        encoder(padded, mask, upstream=True), encoder(scores, torch.ones(1, 3, dtype=torch.bool), upstream=True)
    )


def test_length_alone_gives_nothing() -> None:
    """Twice the element with the same sites again is the same density of sites."""
    encoder = GateEncoder(LEVELS, bin=128)
    scores = torch.randn(4, 5, 2, MATRICES) * 5
    once, twice = torch.ones(4, 5, dtype=torch.bool), torch.ones(4, 10, dtype=torch.bool)
    torch.testing.assert_close(
        encoder(scores, once, upstream=True), encoder(torch.cat([scores, scores], dim=1), twice, upstream=True)
    )


@given(st.integers(0, 2**31))
def test_the_head_is_the_same_from_either_side(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = GateHead(4, 2)
    one, other = torch.randn(5, 2, generator=generator), torch.randn(5, 2, generator=generator)
    torch.testing.assert_close(head(one, other), head(other, one))


def test_before_training_facing_sites_raise_the_potential() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = GateHead(4, 2)
    strong, weak = torch.tensor([[4.0, 1.0]]), torch.tensor([[1.0, 4.0]])
    assert float(head(strong, strong).detach()) > float(head(weak, weak).detach()) + 1


def test_a_mirrored_pair_is_that_of_the_reverse_complements(backbone: Backbone) -> None:
    store, rows = gated_store(), make_rows(60)
    mirrored = replace(rows, mirrored=np.ones(60, dtype=bool))
    plain = replace(rows, mirrored=np.zeros(60, dtype=bool))
    one, two = score_rows(backbone, store, mirrored), score_rows(backbone, turned(store), plain)
    torch.testing.assert_close(one.potential, two.potential, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.representation, two.representation, atol=1e-5, rtol=1e-5)


def test_the_gate_moves_the_potential(backbone: Backbone) -> None:
    store, rows = gated_store(), make_rows(40)
    assert store.gate is not None
    silent = replace(store, gate=filled(store.gate, -30))
    moved = score_rows(backbone, store, rows).potential - score_rows(backbone, silent, rows).potential
    assert float(moved.std()) > 0.05


def test_inputs_are_standardised_by_the_elements_of_training(backbone: Backbone) -> None:
    presence = gate_presence(backbone, gated_store(), make_rows(50))
    assert backbone.gate_head is not None
    backbone.gate_head.standardise(presence)
    inside = (presence - backbone.gate_head.mean) / backbone.gate_head.spread
    assert inside.mean(0).abs().max() < 1e-5
    assert inside.std(0) == pytest.approx(torch.ones(2), abs=0.01)


def test_a_gate_without_its_sites_is_refused(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="needs the sites of its factor"):
        score_rows(backbone, make_store(), make_rows(3))


def test_the_bank_has_every_ctcf_matrix_and_keeps_them_in_json() -> None:
    bank = load_bank(StemConfig(gate="CTCF"))
    assert bank.gate is not None
    assert bank.gate.ids[0] == "MA0139.1"
    assert set(bank.gate.names) == {"CTCF"}
    assert len(bank.gate) > 4 and "MA0139.1" not in bank.ids
    again = MotifBank.from_content(bank.content())
    assert again.gate is not None
    assert (again.hash, again.gate.hash) == (bank.hash, bank.gate.hash)
    assert load_bank(StemConfig()).gate is None
    assert load_bank(StemConfig()).hash == bank.hash


def test_only_the_task_and_the_calibration_of_the_potential_reach_the_gate() -> None:
    def fresh() -> tuple[EnergySystem, dict[str, torch.Tensor]]:
        context, tasks = make_context(small_config())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            system = EnergySystem(small_config(), torch.full((MOTIFS,), 2.0), 2, -0.4, LEVELS)
        score = LiveScorer(system.backbone, gated_store(), context.rows)
        return system, step_losses(replace(context, system=system, score=score), tasks).losses

    reached = set()
    for name in fresh()[1]:
        system, losses = fresh()
        if losses[name].requires_grad:
            losses[name].backward()
        assert system.backbone.gate is not None and system.backbone.gate_head is not None
        mine = [*system.backbone.gate.parameters(), *system.backbone.gate_head.parameters()]
        if any(parameter.grad is not None and bool((parameter.grad != 0).any()) for parameter in mine):
            reached.add(name)
    assert "task" in reached
    assert reached <= {"task", "potential"}
