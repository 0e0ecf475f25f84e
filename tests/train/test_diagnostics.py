"""Each alarm rings where it should and nowhere else; validation checks an environment as prediction would."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from episode.inference.scoring import FrozenScorer, LiveScorer
from episode.inference.support import student_impedance
from episode.metrics.metrics import average_precision, oracle_impedance
from episode.train.diagnostics import (
    CompetitionTotals,
    idle_spectrum,
    student_slope,
    training_alarms,
    weak_potential,
)
from episode.train.validation import EnvironmentCheck, check_environments
from small_systems import make_pool, make_rows, make_store, make_system, small_config

BUSY = CompetitionTotals(pull_in=3, push_away=0, tasks=10, lead=0.0)
SPREAD = np.array([1.0, 2.0, 3.0])


def healthy(name: str = "a", *, student: float = 0.5, oracle: float = 0.5) -> EnvironmentCheck:
    label = np.arange(200) % 2
    potential = label + np.random.default_rng(0).normal(0, 0.8, 200)
    return EnvironmentCheck(name, potential, label.astype(np.int8), potential, student, oracle, 0.5, 0.7, 0.7, 0.0)


def course(slope: float) -> list[EnvironmentCheck]:
    return [healthy(str(x), student=0.5 + slope * (x - 1), oracle=float(x)) for x in (0, 1, 2)]


def names(
    checks: list[EnvironmentCheck],
    judged: list[EnvironmentCheck] | None = None,
    *,
    teacher: np.ndarray = SPREAD,
    competition: CompetitionTotals = BUSY,
    directions: int | None = None,
) -> list[str]:
    judged = course(1.0) if judged is None else judged
    alarms = training_alarms(checks, judged, 1.0, teacher, competition, directions=directions)
    return [alarm.name for alarm in alarms]


def test_a_healthy_run_raises_no_alarm() -> None:
    assert names([healthy()]) == []


@pytest.mark.parametrize("student", [-50.0, 50.0])
def test_collapse(student: float) -> None:
    assert names([healthy(student=student)]) == ["collapse"]


def test_mean_impedance_student() -> None:
    assert names([healthy()], course(0.1)) == ["mean_impedance_student"]
    assert names([healthy()], course(0.5)) == []
    assert names([healthy()], course(0.1), teacher=np.array([2.0, 2.01])) == [], "no spread, nothing to read"
    assert names([healthy()], course(0.1)[:2]) == [], "two environments are too few"


def test_weak_potential() -> None:
    noise = np.random.default_rng(1).normal(size=200)
    assert names([replace(healthy(), potential=noise)]) == ["weak_potential"]
    alarm = weak_potential([replace(healthy(), label=np.ones(200, dtype=np.int8))])
    assert alarm is not None and "not judged" in alarm.text
    assert weak_potential([healthy()]) is None


def test_idle_competition() -> None:
    assert names([healthy()], competition=replace(BUSY, pull_in=0)) == ["idle_competition"]
    assert names([healthy()], competition=replace(BUSY, pull_in=0, push_away=1)) == []
    assert names([healthy()], competition=CompetitionTotals(0, 0, 0, math.nan)) == []


def test_idle_spectrum() -> None:
    even = healthy()
    deviation = np.where(np.arange(200) % 4 < 2, 0.1, -0.1)
    busy = replace(even, ranked=even.potential - deviation)
    assert names([even]) == names([busy], directions=1) == []
    assert names([even], directions=1) == names([busy], directions=0) == ["idle_spectrum"]
    assert idle_spectrum([busy], 1.0, 1) is None
    alarm = idle_spectrum([busy], 4.0, 1)  # 0.1 / 4
    assert alarm is not None and "0.025 T" in alarm.text
    assert idle_spectrum([], 1.0, 1) is None
    assert all("impedance.channels = 1" in found.text for found in (alarm, idle_spectrum([], 1.0, 0)) if found)


def test_shortcut_dependence() -> None:
    assert names([healthy()], competition=replace(BUSY, lead=0.05)) == ["shortcut_dependence"]
    assert names([healthy()], competition=replace(BUSY, lead=math.nan)) == []


def test_slope_by_hand() -> None:
    assert student_slope(course(0.4)) == pytest.approx(0.4)
    assert math.isnan(student_slope(course(0.4)[:2]))
    unknown = healthy(student=99.0, oracle=math.nan)
    assert student_slope([*course(0.4), unknown]) == pytest.approx(0.4)
    assert math.isnan(student_slope([healthy()] * 3)), "all oracles alike"


def test_a_check_is_that_of_the_formula() -> None:
    system, table = make_system(small_config()), make_rows(80)
    score = LiveScorer(system.backbone, make_store(), table)
    with torch.no_grad():
        system.temperature.offset.fill_(0.7)
    pool = make_pool("a", np.arange(10, 80), table, None)
    pool.label[:5] = -1
    (check,) = check_environments(system, score, (pool,), support_max=1000, alpha=0.5)
    assert check.name == "a" and len(check.potential) == len(check.label) == 65
    np.testing.assert_array_equal(check.label, table.label[15:80])
    temperature = float(system.temperature().detach())
    assert check.aupr == pytest.approx(average_precision(check.label, check.potential))
    assert check.oracle == pytest.approx(oracle_impedance(check.potential, check.label, temperature))
    logit = torch.from_numpy((check.potential - check.student) / temperature)
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logit.double(), torch.from_numpy(check.label).double())
    assert check.task == pytest.approx(float(plain), rel=1e-5)


def test_a_check_does_not_read_labels_into_the_student() -> None:
    system, table = make_system(small_config()), make_rows(80)
    score = LiveScorer(system.backbone, make_store(), table)
    pools = [make_pool("a", np.arange(80), table, None) for _ in range(2)]
    pools[1].label[:] = 1 - pools[1].label
    one, two = check_environments(system, score, tuple(pools), support_max=64, alpha=0.5)
    assert one.student == two.student
    assert one.task != two.task


def test_an_environment_of_one_class_is_not_judged() -> None:
    system, table = make_system(small_config()), make_rows(80)
    score = LiveScorer(system.backbone, make_store(), table)
    pool = make_pool("a", np.arange(80), table, None)
    pool.label[:] = 0
    (check,) = check_environments(system, score, (pool,), support_max=64, alpha=0.5)
    assert math.isnan(check.task) and math.isnan(check.aupr) and math.isnan(check.oracle)
    assert check.student >= 0


def test_the_support_of_a_check_is_the_first_rows_of_its_pool() -> None:
    system, table = make_system(small_config()), make_rows(80)
    score = LiveScorer(system.backbone, make_store(), table)
    order = np.random.default_rng(0).permutation(80)
    plain, turned = (make_pool("a", rows, table, None) for rows in (np.arange(80), order))
    one, two = check_environments(system, score, (plain, turned), support_max=20, alpha=0.5)
    with torch.no_grad():
        expected = [float(student_impedance(system, score(rows[:20]))) for rows in (np.arange(80), order)]
    assert [one.student, two.student] == pytest.approx(expected, rel=1e-5)
    assert abs(one.student - two.student) > 1e-4
    np.testing.assert_allclose(two.potential, one.potential[order], atol=1e-5)
    np.testing.assert_array_equal(two.label, one.label[order])


def test_a_frozen_scorer_gives_the_same_check() -> None:
    system, table = make_system(small_config()), make_rows(80)
    live = LiveScorer(system.backbone, make_store(), table)
    pool = make_pool("a", np.arange(79, 9, -1), table, None)
    frozen = FrozenScorer(live, np.arange(10, 80))
    one, two = (check_environments(system, score, (pool,), support_max=30, alpha=0.5)[0] for score in (live, frozen))
    assert (one.student, one.task, one.aupr) == pytest.approx((two.student, two.task, two.aupr), rel=1e-4)
