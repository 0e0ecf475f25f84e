"""Support and query: disjoint by locus, of the wanted sizes, the same from the same generator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from episode.episodes.sampler import (
    KINDS,
    EnvironmentPool,
    Task,
    draw_kind,
    draw_shown,
    draw_sizes,
    split_by_locus,
)
from episode.episodes.tasks import TaskSource
from small_systems import make_pool, make_rows, small_config

CONFIG = small_config("episodes.support_min=8", "episodes.support_max=60", "episodes.query=40").episodes
TABLE = make_rows(900, seed=5)
IMPEDANCE = np.array([2.0, 3.0, 4.0])


def source(*settings: str) -> TaskSource:
    episodes = small_config(
        "episodes.support_min=8", "episodes.support_max=60", "episodes.query=40", *settings
    ).episodes
    training = [make_pool(name, np.arange(i * 200, (i + 1) * 200), TABLE, i) for i, name in enumerate("abc")]
    pseudo = [make_pool("d", np.arange(600, 900), TABLE, None)]
    return TaskSource(training, pseudo, episodes)


def draw_many(tasks: TaskSource, count: int = 300) -> list[Task]:
    return [tasks.draw(np.random.default_rng(seed), IMPEDANCE, 1.0) for seed in range(count)]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 25), min_size=1, max_size=200),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(0, 2**32 - 1),
)
def test_support_and_query_share_no_locus(loci: list[int], query: int, support: int, seed: int) -> None:
    locus = np.array(loci)
    left, right = split_by_locus(np.random.default_rng(seed), locus, query=query, support=support)
    assert not set(locus[left]) & set(locus[right])
    assert 1 <= len(right) <= query
    assert len(left) <= support
    assert bool(len(left)) == (len(set(loci)) > 1), "two loci are enough for a support"
    for side in (left, right):
        assert (np.diff(side) > 0).all(), "ascending, without repeats"
        assert len(side) == 0 or (side[0] >= 0 and side[-1] < len(locus))


def test_sizes_are_met_where_there_are_enough_loci() -> None:
    locus = np.arange(500) // 2
    support, query = split_by_locus(np.random.default_rng(0), locus, query=100, support=150)
    assert (len(support), len(query)) == (150, 100)


def test_either_side_spreads_over_its_share_of_the_loci() -> None:
    """Ten rows a locus: to fill a side locus by locus would take five of the hundred."""
    locus = np.arange(1000) // 10
    support, query = split_by_locus(np.random.default_rng(0), locus, query=50, support=50)
    assert (len(support), len(query)) == (50, 50)
    assert min(len(set(locus[support])), len(set(locus[query]))) > 25


def test_a_small_environment_is_shared_out() -> None:
    support, query = split_by_locus(np.random.default_rng(0), np.arange(40), query=100, support=300)
    assert (len(support), len(query)) == (30, 10)


def test_every_locus_can_stand_on_either_side() -> None:
    locus = np.arange(20)
    sides = [split_by_locus(np.random.default_rng(seed), locus, query=10, support=10) for seed in range(60)]
    assert {int(row) for support, _ in sides for row in support} == set(range(20))
    assert {int(row) for _, query in sides for row in query} == set(range(20))


def test_one_locus_alone_leaves_the_support_empty() -> None:
    support, query = split_by_locus(np.random.default_rng(0), np.zeros(30, dtype=int), query=10, support=10)
    assert (len(support), len(query)) == (0, 10)


@pytest.mark.parametrize("sizes", [(10, 1000), (1000, 10), (1, 1)])
def test_two_loci_leave_a_support_whatever_their_sizes(sizes: tuple[int, int]) -> None:
    locus = np.repeat([4, 9], sizes)
    for seed in range(20):
        support, query = split_by_locus(np.random.default_rng(seed), locus, query=256, support=256)
        assert set(locus[support]) | set(locus[query]) == {4, 9}
        assert len(set(locus[support])) == len(set(locus[query])) == 1


def test_the_same_generator_gives_the_same_task() -> None:
    tasks = source()
    different = 0
    for seed in range(40):
        one, two = (tasks.draw(np.random.default_rng(seed), IMPEDANCE, 1.0) for _ in range(2))
        other = tasks.draw(np.random.default_rng(seed + 1000), IMPEDANCE, 1.0)
        assert (one.environment.name, one.kind, one.two_way) == (two.environment.name, two.kind, two.two_way)
        for name in ("support", "query", "shown"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        different += not np.array_equal(one.support, other.support)
    assert different > 35


def test_drawn_tasks_are_disjoint_by_locus_and_stay_in_their_environment() -> None:
    kinds = set()
    for task in draw_many(source()):
        kinds.add(task.kind)
        pool = set(task.environment.rows.tolist())
        if task.kind != "mixed":
            assert set(task.support.tolist()) | set(task.query.tolist()) <= pool
            assert len(task.query) and len(task.support)
        assert not set(TABLE.locus[task.support]) & set(TABLE.locus[task.query])
        assert len(task.shown) == len(task.support)
        assert len(task.query) <= 40 and len(task.support) <= 60
    assert kinds == set(KINDS)


def test_kinds_come_from_the_right_environments() -> None:
    for task in draw_many(source()):
        if task.kind == "pseudo_ood":
            assert task.environment.name == "d" and task.environment.teacher is None
        else:
            assert task.environment.teacher is not None


def test_labels_are_shown_in_training_environments_only_and_mostly_hidden() -> None:
    tasks = draw_many(source())
    assert not any(task.shown.any() for task in tasks if task.kind != "train")
    shown = [bool(task.shown.any()) for task in tasks if task.kind == "train"]
    assert 0.1 < np.mean(shown) < 0.4
    assert not any(task.shown.any() for task in draw_many(source("episodes.label_shown=0.0"), 60))


def test_two_way_tasks_have_equal_halves_and_their_configured_share() -> None:
    ordinary = [task for task in draw_many(source()) if task.kind == "train"]
    assert 0.35 < np.mean([task.two_way for task in ordinary]) < 0.65
    assert all(len(task.support) == len(task.query) for task in ordinary if task.two_way)
    assert not any(task.two_way for task in draw_many(source("episodes.two_way=0.0"), 60))
    tasks = draw_many(source("episodes.two_way=1.0"), 60)
    assert all(task.two_way for task in tasks if task.kind != "mixed")


def test_a_mixed_task_holds_its_share_of_each_environment() -> None:
    tasks = [task for task in draw_many(source()) if task.kind == "mixed"]
    shares = []
    for task in tasks:
        assert task.other is not None and task.other.name != task.environment.name
        first = np.isin(task.support, task.environment.rows).sum()
        second = np.isin(task.support, task.other.rows).sum()
        assert first + second == len(task.support) == len(np.unique(task.support))
        assert task.fraction == pytest.approx(first / len(task.support))
        assert len(task.query) == 0 and not task.two_way
        shares.append(task.fraction)
    assert min(shares) < 0.2 and max(shares) > 0.8


def test_a_mixed_task_of_small_environments_says_its_real_share() -> None:
    training = [make_pool("a", np.arange(4), TABLE, 0), make_pool("b", np.arange(10, 40), TABLE, 1)]
    episodes = small_config(
        "episodes.train=0.001", "episodes.mixed=1.0", "episodes.prior_shift=0.0", "episodes.support_min=50"
    ).episodes
    for task in draw_many(TaskSource(training, [], episodes), 40):
        if task.kind == "mixed":
            assert task.fraction == pytest.approx(np.isin(task.support, task.environment.rows).mean())


def test_a_prior_shift_task_has_the_drawn_share_of_positives() -> None:
    tasks = draw_many(source("episodes.query=1000", "episodes.support_max=1000"), 200)
    shifted = [task for task in tasks if task.kind == "prior_shift"]
    assert len(shifted) > 5
    for task in shifted:
        label = TABLE.label[np.concatenate([task.support, task.query])]
        assert label.mean() == pytest.approx(task.fraction, abs=0.02)
    assert np.std([task.fraction for task in shifted]) > 0.05


def test_prior_shift_of_one_class_falls_back_to_an_ordinary_task() -> None:
    rows = np.flatnonzero(TABLE.label == 0)[:80]
    tasks = TaskSource([make_pool("a", rows, TABLE, 0)], [], CONFIG)
    assert {task.kind for task in draw_many(tasks, 60)} == {"train"}


def test_kinds_are_drawn_by_their_shares() -> None:
    config = small_config(
        "episodes.train=0.1", "episodes.pseudo_ood=0.2", "episodes.prior_shift=0.3", "episodes.mixed=0.4"
    ).episodes
    rng = np.random.default_rng(0)
    drawn = [draw_kind(rng, config, pseudo_ood=True, several=True) for _ in range(4000)]
    for kind, share in zip(KINDS, (0.1, 0.2, 0.3, 0.4), strict=True):
        assert drawn.count(kind) / 4000 == pytest.approx(share, abs=0.03)
    poor = {draw_kind(rng, config, pseudo_ood=False, several=False) for _ in range(200)}
    assert poor == {"train", "prior_shift"}


def test_support_sizes_are_log_uniform_between_their_bounds() -> None:
    config = small_config("episodes.support_min=32", "episodes.support_max=2048", "episodes.two_way=0.0").episodes
    rng = np.random.default_rng(0)
    sizes = np.array([draw_sizes(rng, config)[0] for _ in range(4000)])
    assert sizes.min() >= 32 and sizes.max() <= 2048
    assert np.median(sizes) == pytest.approx(256, rel=0.12)


def test_both_bounds_of_the_support_size_are_drawn() -> None:
    config = small_config("episodes.support_min=2", "episodes.support_max=4", "episodes.two_way=0.0").episodes
    rng = np.random.default_rng(0)
    assert {draw_sizes(rng, config)[0] for _ in range(200)} == {2, 3, 4}


def test_shown_labels_cover_all_shares() -> None:
    config = small_config("episodes.label_shown=1.0").episodes
    rng = np.random.default_rng(0)
    shares = [draw_shown(rng, config, 500).mean() for _ in range(300)]
    assert min(shares) < 0.1 and max(shares) > 0.9
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)


def test_pool_share_and_classes() -> None:
    def pool(*label: int) -> EnvironmentPool:
        rows = np.arange(len(label))
        return EnvironmentPool("a", rows, rows, np.array(label, dtype=np.int8), None)

    assert pool(1, 0, -1, 0, 0).prevalence == 0.25
    assert np.isnan(pool(-1, -1).prevalence)
    assert pool(1, 0, -1).two_classes
    assert not pool(1, 1, -1).two_classes
