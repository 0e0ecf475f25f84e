"""Which runners fill the methods that are asked for."""

from __future__ import annotations

import pytest

from episode.compare.methods.registry import METHODS, RUNNERS, baselines_of, choose_runners

NETWORKS = ("cross_attention", "decoupled", "epivan", "sept")


def chosen(*asked: str) -> list[str]:
    return [runner.name for runner in choose_runners(asked)]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_matched_baseline_brings_the_training_run_that_it_is_matched_to(name: str) -> None:
    assert chosen(f"{name}.matched") == ["episode", f"{name}.matched"]
    assert chosen(name) == [name]


def test_matched_baselines_run_on_request_only() -> None:
    matched = {f"{name}.matched" for name in NETWORKS}
    assert matched.isdisjoint(chosen()) and matched.isdisjoint(chosen("sequence"))
    assert set(chosen("matched")) == matched | {"episode"}
    assert "locus_memory" in chosen() and "locus_memory" in chosen("shortcut")


def test_a_matched_baseline_is_the_runner_of_its_network() -> None:
    runners = {runner.name: runner for runner in RUNNERS}
    for name in NETWORKS:
        assert runners[f"{name}.matched"].load() is runners[name].load()
        assert METHODS[f"{name}.matched"].note == METHODS[name].note


def test_the_ranking_is_claimed_against_memory_and_every_network_at_both_budgets() -> None:
    both = {f"{name}{ending}" for name in NETWORKS for ending in ("", ".matched")}
    assert both | {"locus_memory", "distance"} <= set(baselines_of("episode.potential"))
