"""Reading a support set: hidden labels, and the spread over loci drawn with replacement."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
import torch

from episode.inference.scoring import score_rows
from episode.inference.support import REPLICATES, bootstrap_sd, embed_support, student_impedance
from episode.model.backbone import PairOutput
from episode.model.energy import EnergySystem
from small_systems import make_rows, make_store, make_system, small_config


@pytest.fixture
def system() -> EnergySystem:
    return make_system(small_config())


def support(system: EnergySystem, count: int = 120) -> tuple[PairOutput, np.ndarray]:
    rows = make_rows(count)
    return score_rows(system.backbone, make_store(), rows), rows.locus


def test_every_label_is_hidden(system: EnergySystem) -> None:
    output, _ = support(system)
    hidden = torch.full((120,), -1)
    with torch.no_grad():
        embedding = system.set_encoder(output.representation, output.potential, hidden)
        assert torch.equal(embed_support(system, output), embedding)
        assert torch.equal(student_impedance(system, output), system.student(embedding))


def test_the_spread_is_repeatable_and_shrinks_with_the_support(system: EnergySystem) -> None:
    def spread(output: PairOutput, locus: np.ndarray, seed: int = 0) -> float:
        return bootstrap_sd(system, output, locus, np.random.default_rng(seed))

    output, _ = support(system, 400)
    few = PairOutput(output.potential[:12], output.representation[:12])
    assert spread(output, np.arange(400)) == spread(output, np.arange(400))
    assert 0 < spread(output, np.arange(400)) < spread(few, np.arange(12))


def test_the_spread_is_the_standard_deviation_over_supports_drawn_again(system: EnergySystem) -> None:
    output, _ = support(system, 6)
    rng = np.random.default_rng(4)
    drawn = [rng.integers(6, size=6) for _ in range(REPLICATES)]
    values = [float(student_impedance(system, output.take(rows)).mean()) for rows in drawn]
    found = bootstrap_sd(system, output, np.arange(6), np.random.default_rng(4))
    assert found == pytest.approx(statistics.stdev(values), rel=1e-4)


def test_loci_are_drawn_whole(system: EnergySystem) -> None:
    """Pairs that repeat inside a locus add nothing: the spread is that of the loci."""
    output, _ = support(system, 20)
    tripled = np.repeat(np.arange(20), 3)
    repeated = PairOutput(output.potential[tripled], output.representation[tripled])
    one = bootstrap_sd(system, output, np.arange(20), np.random.default_rng(0))
    two = bootstrap_sd(system, repeated, tripled, np.random.default_rng(0))
    assert two == pytest.approx(one, rel=1e-3)


def test_a_single_locus_has_no_spread(system: EnergySystem) -> None:
    output, _ = support(system, 10)
    assert bootstrap_sd(system, output, np.zeros(10, dtype=int), np.random.default_rng(0)) == 0
