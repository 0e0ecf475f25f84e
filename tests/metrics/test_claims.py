"""A gain is claimed only where interval, size, blocks, draws and environments all allow it; each alone can forbid."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from episode.metrics.claims import Ground, direction, judge, lead
from episode.metrics.intervals import METRICS, Estimate

GROUND = Ground(blocks=10, draws=40, environments=2, oracle_gain=0.05)
GAIN = Estimate(value=-0.006, low=-0.009, high=-0.001)
"""Of log-loss, nats: just enough."""


def test_where_all_hold_there_is_a_claim_and_its_mirror_is_a_loss() -> None:
    assert judge(GAIN, "log_loss", GROUND).standing == "better"
    assert judge(-GAIN, "log_loss", GROUND).standing == "worse"
    ranking = Estimate(value=0.005, low=0.001, high=0.009)
    for metric in ("auroc", "aupr"):
        assert judge(ranking, metric, GROUND).standing == "better"
        assert judge(-ranking, metric, GROUND).standing == "worse"


@pytest.mark.parametrize(
    ("changed", "ground", "why"),
    [
        ({"high": 0.0001}, {}, "the interval includes zero"),
        ({"high": 0.0}, {}, "the interval includes zero"),
        ({"value": -0.0019}, {"oracle_gain": 0.0}, "smaller than 0.002"),
        ({"value": -0.0049}, {}, "less than 10 % of what the oracle gains, 0.050"),
        ({}, {"oracle_gain": None}, "what the oracle gains is not known"),
        ({}, {"blocks": 9}, "9 blocks, a claim needs 10"),
        ({"blocks": 3}, {}, "3 blocks, a claim needs 10"),
        ({}, {"draws": 39}, "39 draws, a claim needs 40"),
        ({"draws": 7}, {}, "7 draws, a claim needs 40"),
        ({}, {"environments": 1}, "1 environment, a claim needs 2"),
    ],
)
def test_each_condition_alone_forbids_a_claim(changed: dict[str, Any], ground: dict[str, Any], why: str) -> None:
    found = judge(GAIN.changed(**changed), "log_loss", replace(GROUND, **ground))
    assert (found.standing, found.why) == ("open", why)
    mirrored = judge(-GAIN.changed(**changed), "log_loss", replace(GROUND, **ground))
    assert (mirrored.standing, mirrored.why, mirrored.leans) == ("open", why, -found.leans)


def test_a_lead_of_nothing_out_of_two_blocks_is_no_gain() -> None:
    small = Estimate(value=-0.0003, low=-0.0005, high=-0.0001)
    assert judge(small, "log_loss", Ground(2, 100, 7, 0.01)).standing == "open"
    assert judge(small, "log_loss", Ground(34, 2000, 7, 0.001)).why == "smaller than 0.002"


@pytest.mark.parametrize("metric", METRICS)
def test_what_is_no_number_is_never_a_claim(metric: str) -> None:
    for number in (Estimate(), Estimate(value=0.9), Estimate(value=0.9, low=0.8)):
        assert judge(number, metric, GROUND).standing == "unknown"
    broken = Estimate.model_construct(value=0.9, low=math.nan, high=0.95, draws=None, blocks=None)
    assert judge(broken, metric, GROUND).standing == "unknown"


def test_a_number_on_the_other_side_of_zero_than_its_interval_is_not_claimed() -> None:
    assert judge(Estimate(value=-0.02, low=0.01, high=0.03), "auroc", GROUND).standing == "open"


@given(st.floats(-1, 1), st.floats(0, 1), st.sampled_from(METRICS))
def test_zero_inside_is_open_and_sides_mirror(low: float, width: float, metric: str) -> None:
    number = Estimate(value=low + width / 2, low=low, high=low + width)
    found, mirrored = judge(number, metric, GROUND), judge(-number, metric, GROUND)
    if low <= 0 <= low + width:
        assert found.standing == "open"
    opposite = {"better": "worse", "worse": "better", "open": "open"}
    assert mirrored.standing == opposite[found.standing]
    side = 1 if low > 0 else -1
    if found.standing != "open":
        assert found.standing == ("better" if side * direction(metric) > 0 else "worse")


def test_a_lead_over_chance_keeps_what_is_behind_it() -> None:
    number = lead(Estimate(value=0.6, low=0.55, high=0.7, draws=40, blocks=12), 0.5)
    assert (number.value, number.low, number.high) == pytest.approx((0.1, 0.05, 0.2))
    assert (number.draws, number.blocks) == (40, 12)
    assert lead(Estimate(), 0.5) == Estimate()
