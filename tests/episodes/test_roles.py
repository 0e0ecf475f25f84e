"""Roles: by cell line, disjoint, seeded, never a test row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from episode.episodes.roles import BUFFER, Roles, assign_roles
from episode.episodes.sampler import EnvironmentPool
from episode.errors import DatasetError
from small_systems import pair_table, small_config

CONFIG = small_config().episodes


def lines(pairs: pd.DataFrame, pools: Sequence[EnvironmentPool]) -> set[str]:
    return {str(name) for pool in pools for name in pairs["cell_line"].to_numpy()[pool.rows]}


def rows(pools: Sequence[EnvironmentPool]) -> list[int]:
    return [int(row) for pool in pools for row in pool.rows]


def everything(roles: Roles) -> list[int]:
    return rows(roles.training) + rows(roles.pseudo_ood) + rows(roles.validation)


@pytest.mark.parametrize("assays", [1, 3])
def test_cell_lines_go_as_a_whole_with_all_their_assays(assays: int) -> None:
    pairs = pair_table(12, 60, assays=assays)
    roles = assign_roles(pairs, CONFIG, 0)
    sets = [lines(pairs, pools) for pools in (roles.training, roles.pseudo_ood, roles.validation)]
    assert set.union(*sets) == {f"line{number}" for number in range(12)}
    assert sum(map(len, sets)) == 12, "no cell line in two roles"
    assert len(sets[2]) == 3 and len(sets[1]) == 2, "a quarter of 12, then a quarter of the 9 that are left"
    assert roles.unseen_validation
    assert len(roles.training) == assays * len(sets[0])


def test_rows_are_disjoint_and_pools_hold_their_own_environment() -> None:
    for count in (1, 2, 5, 12):
        pairs = pair_table(count, 90)
        roles = assign_roles(pairs, CONFIG, 0)
        used = everything(roles)
        assert len(used) == len(set(used))
        for pool in (*roles.training, *roles.pseudo_ood, *roles.validation):
            assert set(pairs["environment"].to_numpy()[pool.rows]) == {pool.name}
            np.testing.assert_array_equal(pool.label, pairs["label"].to_numpy()[pool.rows])
            np.testing.assert_array_equal(pool.locus, pairs["locus"].to_numpy()[pool.rows])


def test_the_teacher_numbers_training_environments_and_no_other() -> None:
    roles = assign_roles(pair_table(9, 60, assays=2), CONFIG, 0)
    assert [pool.teacher for pool in roles.training] == list(range(len(roles.training)))
    assert roles.names == tuple(pool.name for pool in roles.training)
    assert all(pool.teacher is None for pool in (*roles.pseudo_ood, *roles.validation))


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    pairs = pair_table(12, 60)
    one = assign_roles(pairs, CONFIG, 0)
    turned = pairs.iloc[::-1].reset_index(drop=True)
    two = assign_roles(turned, CONFIG, 0)
    for kind in ("training", "pseudo_ood", "validation"):
        assert lines(pairs, getattr(one, kind)) == lines(turned, getattr(two, kind))
        assert sorted(rows(getattr(one, kind))) == sorted(len(pairs) - 1 - row for row in rows(getattr(two, kind)))
    others = [assign_roles(pairs, CONFIG, seed) for seed in range(1, 6)]
    assert any(lines(pairs, other.validation) != lines(pairs, one.validation) for other in others)
    assert any(lines(pairs, other.pseudo_ood) != lines(pairs, one.pseudo_ood) for other in others)


@pytest.mark.parametrize(("count", "pseudo"), [(1, 0), (2, 1), (3, 1), (5, 1), (7, 2)])
def test_at_least_one_pseudo_ood_cell_line_where_there_are_two(count: int, pseudo: int) -> None:
    pairs = pair_table(count, 90)
    roles = assign_roles(pairs, CONFIG, 0)
    assert len(lines(pairs, roles.pseudo_ood)) == pseudo
    assert len(lines(pairs, roles.training)) == count - pseudo
    assert not roles.unseen_validation
    assert lines(pairs, roles.validation) == {f"line{number}" for number in range(count)}


def test_without_pseudo_ood_tasks_every_cell_line_is_known() -> None:
    pairs = pair_table(4, 60)
    roles = assign_roles(pairs, small_config("episodes.pseudo_ood=0.0").episodes, 0)
    assert roles.pseudo_ood == () and len(roles.training) == 4


def test_test_rows_have_no_role() -> None:
    pairs = pair_table(9, 90)
    pairs["split"] = np.where(np.arange(len(pairs)) % 4 == 0, "test", "train")
    assert not (pairs["split"].to_numpy()[everything(assign_roles(pairs, CONFIG, 0))] == "test").any()


def test_a_given_validation_split_is_used_as_it_is() -> None:
    pairs = pair_table(4, 90)
    pairs["split"] = np.where(np.arange(len(pairs)) % 5 == 0, "val", "train")
    roles = assign_roles(pairs, CONFIG, 0)
    assert set(rows(roles.validation)) == set(np.flatnonzero(pairs["split"] == "val").tolist())
    assert set(rows(roles.training) + rows(roles.pseudo_ood)) == set(np.flatnonzero(pairs["split"] == "train").tolist())


def test_a_split_that_is_not_trusted_is_learned_from() -> None:
    """As if rows of "val" were rows of "train": loci are held out instead, of the same roles."""
    pairs = pair_table(4, 90)
    pairs["split"] = np.where(np.arange(len(pairs)) % 5 == 0, "val", "train")
    pairs.loc[::7, "split"] = "test"
    roles = assign_roles(pairs, CONFIG, 0, trust_split=False)
    plain = assign_roles(pairs.assign(split=pairs["split"].replace("val", "train")), CONFIG, 0)
    for name in ("training", "pseudo_ood", "validation", "calibration", "unused"):
        assert rows(getattr(roles, name)) == rows(getattr(plain, name))
    learned, judged = rows(roles.training) + rows(roles.pseudo_ood), rows(roles.validation)
    splits = pairs["split"].to_numpy()
    assert {"val", "train"} == set(splits[learned]) == set(splits[judged])
    last = pairs.loc[learned].groupby("enhancer_chrom")["promoter_end"].max()
    first = pairs.loc[judged].groupby("enhancer_chrom")["enhancer_start"].min()
    assert (first - last).min() >= BUFFER


def test_a_split_that_is_not_trusted_on_short_chromosomes() -> None:
    """There the buffer leaves nothing; a twentieth of the chromosome does."""
    pairs = pair_table(4, 90, split="val")
    for column in ("enhancer_start", "enhancer_end", "promoter_start", "promoter_end"):
        pairs[column] //= 100
    pairs.loc[::2, "split"] = "train"
    roles = assign_roles(pairs, CONFIG, 0, trust_split=False)
    learned, judged = rows(roles.training) + rows(roles.pseudo_ood), rows(roles.validation)
    assert len(learned) > 0.6 * len(pairs)
    for chrom, here in pairs.groupby("enhancer_chrom"):
        span = here["promoter_end"].max() - here["enhancer_start"].min()
        mine = pairs["enhancer_chrom"] == chrom
        last = pairs.loc[learned].loc[mine, "promoter_end"].max()
        assert pairs.loc[judged].loc[mine, "enhancer_start"].min() - last >= span / 20


def test_no_cell_line_is_kept_from_training_where_none_is_asked_for() -> None:
    pairs = pair_table(12, 60)
    roles = assign_roles(pairs, small_config("episodes.validation_share=0.0").episodes, 0)
    everyone = {f"line{number}" for number in range(12)}
    assert lines(pairs, roles.training) | lines(pairs, roles.pseudo_ood) == everyone == lines(pairs, roles.validation)
    assert roles.unused == () and not roles.unseen_validation


def test_training_rows_of_validation_cell_lines_are_unused() -> None:
    pairs = pair_table(12, 60)
    roles = assign_roles(pairs, CONFIG, 0)
    assert lines(pairs, roles.unused) == lines(pairs, roles.validation) != set()
    assert not set(rows(roles.unused)) & set(everything(roles))
    starts = pairs["enhancer_start"].to_numpy()
    chroms = pairs["enhancer_chrom"].to_numpy()
    for chrom in np.unique(chroms):  # at the loci that others learn from
        unused = [starts[row] for row in rows(roles.unused) if chroms[row] == chrom]
        judged = [starts[row] for row in rows(roles.calibration) if chroms[row] == chrom]
        assert max(unused) < min(judged)


def test_cell_lines_that_only_validation_holds_are_judged_alone() -> None:
    pairs = pair_table(10, 60)
    foreign = pairs["cell_line"].isin(["line3", "line7"]).to_numpy()
    pairs["split"] = np.where(foreign, "val", "train")
    roles = assign_roles(pairs, CONFIG, 0)
    assert lines(pairs, roles.validation) == {"line3", "line7"}
    assert roles.unseen_validation
    assert len(lines(pairs, roles.training) | lines(pairs, roles.pseudo_ood)) == 8


def test_calibration_reads_the_held_out_rows_of_every_cell_line() -> None:
    pairs = pair_table(10, 60)
    held_out = np.arange(len(pairs)) % 4 == 0
    pairs["split"] = np.where(held_out, "val", "train")
    roles = assign_roles(pairs, CONFIG, 0)
    assert roles.unseen_validation and len(lines(pairs, roles.validation)) == 2
    assert sorted(rows(roles.calibration)) == np.flatnonzero(held_out).tolist()


@pytest.mark.parametrize("able", [{"line0"}, {"line2", "line5"}, {"line1", "line4", "line8"}])
def test_held_out_cell_lines_are_chosen_among_those_with_validation_rows(able: set[str]) -> None:
    pairs = pair_table(9, 60)
    judged = pairs["cell_line"].isin(able).to_numpy() & (np.arange(len(pairs)) % 3 == 0)
    pairs["split"] = np.where(judged, "val", "train")
    for seed in range(6):
        roles = assign_roles(pairs, CONFIG, seed)
        held_out = lines(pairs, roles.validation)
        assert held_out <= able and len(held_out) == min(2, len(able))
        assert roles.unseen_validation
        learning = lines(pairs, roles.training) | lines(pairs, roles.pseudo_ood)
        assert learning == {f"line{number}" for number in range(9)} - held_out
        assert set(pairs["split"].to_numpy()[rows(roles.validation)]) == {"val"}


def test_validation_pools_are_sorted_by_the_given_order() -> None:
    pairs = pair_table(9, 60)
    order = np.random.default_rng(1).permutation(len(pairs))
    plain, sorted_ = assign_roles(pairs, CONFIG, 0), assign_roles(pairs, CONFIG, 0, order=order)
    for one, two in zip(plain.validation, sorted_.validation, strict=True):
        assert one.name == two.name and set(one.rows) == set(two.rows)
        assert (np.diff(order[two.rows]) > 0).all()
        np.testing.assert_array_equal(two.label, pairs["label"].to_numpy()[two.rows])
        np.testing.assert_array_equal(two.locus, pairs["locus"].to_numpy()[two.rows])
    for one, two in zip((*plain.training, *plain.pseudo_ood), (*sorted_.training, *sorted_.pseudo_ood), strict=True):
        np.testing.assert_array_equal(one.rows, two.rows)


def test_with_an_order_of_content_the_table_may_be_turned_round() -> None:
    pairs = pair_table(9, 60)
    order = np.random.default_rng(1).permutation(len(pairs))
    turned = pairs.iloc[::-1].reset_index(drop=True)
    one = assign_roles(pairs, CONFIG, 0, order=order)
    two = assign_roles(turned, CONFIG, 0, order=order[::-1].copy())
    for first, second in zip(one.validation, two.validation, strict=True):
        assert first.rows.tolist() == (len(pairs) - 1 - second.rows).tolist()


def test_held_out_loci_lie_beyond_a_buffer() -> None:
    pairs = pair_table(3, 200)
    roles = assign_roles(pairs, CONFIG, 0)
    learning, judged = rows(roles.training) + rows(roles.pseudo_ood), rows(roles.validation)
    for chrom in np.unique(pairs["enhancer_chrom"]):
        here = pairs["enhancer_chrom"].to_numpy() == chrom
        left = [row for row in learning if here[row]]
        right = [row for row in judged if here[row]]
        last = pairs[["enhancer_end", "promoter_end"]].to_numpy()[left].max()
        first = pairs[["enhancer_start", "promoter_start"]].to_numpy()[right].min()
        assert first - last >= BUFFER
    assert len(judged) == pytest.approx(0.2 * len(pairs), rel=0.1)


def test_without_coordinates_whole_loci_are_held_out() -> None:
    pairs = pair_table(3, 300)
    pairs["has_coordinates"] = False
    pairs["locus"] = np.arange(len(pairs)) // 3 % 150
    roles = assign_roles(pairs, CONFIG, 0)
    loci = pairs["locus"].to_numpy()
    learning, judged = rows(roles.training) + rows(roles.pseudo_ood), rows(roles.validation)
    assert not set(loci[learning]) & set(loci[judged])
    assert 0.1 < len(judged) / len(pairs) < 0.3
    assert len(learning) + len(judged) == len(pairs)


def test_too_little_place_for_a_buffer_is_said() -> None:
    pairs = pair_table(2, 30)
    for column in ("enhancer_start", "enhancer_end", "promoter_start", "promoter_end"):
        pairs[column] = pairs[column] % 100_000
    with pytest.raises(DatasetError, match="validation"):
        assign_roles(pairs, CONFIG, 0)


@pytest.mark.parametrize("split", ["test", "val"])
def test_no_training_rows(split: str) -> None:
    with pytest.raises(DatasetError, match="no training rows"):
        assign_roles(pair_table(2, 30, split=split), CONFIG, 0)


@pytest.mark.parametrize("label", [0, 1, -1])
def test_training_rows_of_one_class(label: int) -> None:
    pairs = pair_table(2, 30)
    pairs["label"] = np.int8(label)
    with pytest.raises(DatasetError, match="both labels"):
        assign_roles(pairs, CONFIG, 0)


def test_one_class_left_for_training_after_loci_were_held_out() -> None:
    """Every positive lies at the end of its chromosome, where validation is."""
    pairs = pair_table(3, 60)
    pairs["label"] = (pairs["enhancer_start"] >= 85_000_000).astype(np.int8)
    assert set(pairs["label"]) == {0, 1}
    with pytest.raises(DatasetError, match="both labels"):
        assign_roles(pairs, CONFIG, 0)


def test_one_class_left_for_training_after_cell_lines_were_held_out() -> None:
    pairs = pair_table(9, 60)
    only = pairs["cell_line"] == "line4"
    pairs["label"] = (only & (np.arange(len(pairs)) % 2 == 0)).astype(np.int8)
    pairs["split"] = np.where(only & (np.arange(len(pairs)) % 3 == 0), "val", "train")
    with pytest.raises(DatasetError, match="both labels"):
        assign_roles(pairs, CONFIG, 0)
