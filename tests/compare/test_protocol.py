from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_world
from episode.compare.folds import audit_folds, collapse, locus_masks, make_folds, subset_masks
from episode.compare.protocol import (
    CollapseConfig,
    HoldoutConfig,
    LeakageConfig,
    MatchConfig,
    Protocol,
    SelectionConfig,
    Subset,
    load_protocol,
    shipped_protocols,
)
from episode.data.dataset import Dataset
from episode.errors import ConfigError, EpisodeError
from episode.schema import Model, parse_model

NUMBERS = [
    pytest.param(section, key, id=f"{section}.{key}")
    for section, part in Protocol.model_fields.items()
    if isinstance(part.default, Model)
    for key, field in type(part.default).model_fields.items()
    if field.annotation in (int, float)
]
LINES = ("a", "b", "c")
CHROMOSOMES = ("chr1", "chr2")


def every_row(dataset: Dataset) -> np.ndarray:
    return np.ones(len(dataset.pairs), dtype=bool)


def table(n: int = 240, seed: int = 0, *, spacing: int = 1_000_000) -> Dataset:
    """Pairs of three cell lines on two chromosomes, some every `spacing` bp; every element stands once."""
    rng = np.random.default_rng(seed)
    place = np.arange(n)
    start = 10_000 + spacing * (place // 6) + 3000 * (place % 6)
    pairs = pd.DataFrame(
        {
            "cell_line": [LINES[i % 3] for i in place],
            "assay": "",
            "label": rng.integers(0, 2, n).astype(np.int8),
            "enhancer_name": [f"e{i}" for i in place],
            "promoter_name": [f"p{i}" for i in place],
            "enhancer_chrom": [CHROMOSOMES[i % 2] for i in place],
            "promoter_chrom": [CHROMOSOMES[i % 2] for i in place],
            "enhancer_start": start,
            "enhancer_end": start + 1000,
            "promoter_start": start + 20_000,
            "promoter_end": start + 20_000 + np.where(place % 4 == 0, 2000, 1000),
            "distance": rng.uniform(1e4, 1e6, n),
            "split": "",
            "types": [("pos" if i % 5 else "neg-hard") for i in place],
            "gene": [f"ENSG{i // 2}|x" for i in place],
        }
    )
    pairs["environment"] = pairs["cell_line"]
    pairs["enhancer_id"] = place.astype(np.int32)
    pairs["promoter_id"] = (n + place).astype(np.int32)
    pairs["locus"] = place.astype(np.int32)
    pairs["mirrored"] = False
    pairs["has_coordinates"] = True
    length = 12
    codes = rng.integers(0, 4, 2 * n * length).astype(np.uint8)
    elements = pd.DataFrame(
        {"kind": ["enhancer"] * n + ["promoter"] * n, "length": length, "offset": np.arange(2 * n) * length}
    )
    for column in ("chrom", "start", "end"):
        elements[column] = np.concatenate([pairs[f"enhancer_{column}"], pairs[f"promoter_{column}"]])
    manifest: Any = {"genome": {"sha256": None}}
    return Dataset(pairs, elements, codes, manifest)


def groups(**changes: object) -> Protocol:
    protocol = Protocol(
        name="test",
        holdout=HoldoutConfig(cell_lines=[["a"], ["b"], ["c"]], chromosomes=[["chr1"], ["chr2"]]),
    )
    return protocol.changed(**changes)


def test_every_pair_is_tested_once_and_no_fold_tests_what_it_learned() -> None:
    dataset = table()
    folds = make_folds(groups(), dataset)
    assert len(folds) == 6
    assert (np.sum([fold.test for fold in folds], axis=0) == 1).all()
    for fold in folds:
        test, train = dataset.pairs[fold.test], dataset.pairs[fold.train]
        assert not set(test["cell_line"]) & set(train["cell_line"])
        assert not set(test["enhancer_chrom"]) & set(train["enhancer_chrom"])


def test_what_is_chosen_on_is_another_cell_line_and_place_than_what_is_learned_from() -> None:
    dataset = table()
    pairs = dataset.pairs
    for fold in make_folds(groups(), dataset):
        assert fold.fit.any()
        assert fold.selection.any()
        assert not (fold.fit & ~fold.train).any()
        assert not (fold.selection & ~fold.train).any()
        assert not set(pairs["cell_line"][fold.fit]) & set(pairs["cell_line"][fold.selection])
        nearest = pairs["enhancer_start"][fold.selection].min() - pairs["promoter_end"][fold.fit].max()
        assert nearest >= 2_000_000


def test_the_held_out_part_is_the_asked_share_of_the_chromosome() -> None:
    dataset = table()
    for fold in make_folds(groups(), dataset):
        assert fold.held_out.sum() == pytest.approx(fold.train.sum() / 3, abs=2)
        assert not (fold.gap & fold.held_out).any()
        learned = fold.train & ~fold.gap & ~fold.held_out
        assert (
            dataset.pairs["promoter_end"][learned].max() <= dataset.pairs["enhancer_start"][fold.held_out].min() - 2e6
        )


def test_a_pair_across_two_chromosome_sets_is_neither_learned_nor_tested() -> None:
    dataset = table()
    dataset.pairs.loc[0, "promoter_chrom"] = "chr2"
    for fold in make_folds(groups(), dataset):
        assert not fold.test[0]
        assert not fold.train[0]


def test_the_split_column_is_taken_as_it_is() -> None:
    dataset = table()
    dataset.pairs["split"] = np.array(["train", "val", "test"])[np.arange(240) // 80]
    (fold,) = make_folds(groups(holdout=HoldoutConfig(by="split")), dataset)
    split = dataset.pairs["split"]
    assert (fold.train == (split == "train")).all()
    assert (fold.fit == fold.train).all()
    assert (fold.selection == (split == "val")).all()
    assert (fold.test == (split == "test")).all()
    assert not (fold.learnable & fold.test).any()


def by_line(**changes: Any) -> Protocol:
    """Each cell line by itself, a tenth of the training rows held out."""
    return Protocol(
        name="lines",
        holdout=HoldoutConfig(by="cell-lines", **changes),
        selection=SelectionConfig(by="row", share=0.1),
        leakage=LeakageConfig(policy="audit"),
    )


def test_every_cell_line_is_tested_once_by_all_others() -> None:
    dataset = table()
    line = dataset.pairs["cell_line"].to_numpy()
    folds = make_folds(by_line(), dataset)
    assert [(fold.name, fold.title) for fold in folds] == [("fold1", "a"), ("fold2", "b"), ("fold3", "c")]
    for fold, name in zip(folds, LINES, strict=True):
        np.testing.assert_array_equal(fold.test, line == name)
        np.testing.assert_array_equal(fold.train, line != name)
        assert fold.held_out.sum() == 16  # a tenth of 160 rows
        np.testing.assert_array_equal(fold.selection, fold.held_out)
        np.testing.assert_array_equal(fold.fit, fold.train & ~fold.held_out)
        assert not fold.gap.any()
        assert len(set(line[fold.held_out])) == 2
    again = make_folds(by_line(), dataset)
    assert all((one.held_out == other.held_out).all() for one, other in zip(folds, again, strict=True))


def test_a_fold_is_the_same_whichever_cell_lines_are_tested() -> None:
    dataset = table()
    every, (one,) = (
        make_folds(by_line(balance=True), dataset),
        make_folds(by_line(balance=True, test_cell_lines=["b"]), dataset),
    )
    assert (one.name, one.title) == (every[1].name, every[1].title) == ("fold2", "b")
    for part in ("train", "fit", "selection", "held_out", "test"):
        np.testing.assert_array_equal(getattr(one, part), getattr(every[1], part))


@pytest.mark.parametrize("protocol", [groups(), by_line()], ids=["groups", "cell-lines"])
def test_a_balanced_fold_keeps_the_smaller_class_and_as_many_rows_of_the_larger(protocol: Protocol) -> None:
    dataset = table(600)
    rng = np.random.default_rng(1)
    label = np.where(rng.random(600) < 0.1, -1, rng.random(600) < 0.3).astype(np.int8)
    dataset.pairs["label"] = label
    plain = make_folds(protocol, dataset)
    balanced = make_folds(protocol.changed(holdout=protocol.holdout.changed(balance=True)), dataset)
    for before, after in zip(plain, balanced, strict=True):
        for part in ("train", "test"):
            whole, kept = getattr(before, part), getattr(after, part)
            assert not (kept & ~whole).any()
            np.testing.assert_array_equal(kept & (label != 0), whole & (label != 0))
            assert (label[kept] == 0).sum() == (label[kept] == 1).sum() > 3
        assert not (after.learnable & ~after.train).any()


def test_a_balanced_split_balances_each_of_its_parts() -> None:
    dataset = table()
    dataset.pairs["split"] = np.array(["train", "val", "test"])[np.arange(240) // 80]
    dataset.pairs["label"] = (np.arange(240) % 4 != 0).astype(np.int8)
    (fold,) = make_folds(groups(holdout=HoldoutConfig(by="split", balance=True)), dataset)
    label = dataset.pairs["label"]
    for mask in (fold.train, fold.selection, fold.test):
        assert label[mask].tolist().count(0) == label[mask].tolist().count(1) == 20


def test_a_cell_line_that_is_not_there_or_alone_is_named() -> None:
    with pytest.raises(EpisodeError, match="cell line 'd' is not in the dataset, which has a, b, c"):
        make_folds(by_line(test_cell_lines=["d"]), table())
    dataset = table()
    dataset.pairs["cell_line"] = "a"
    with pytest.raises(EpisodeError, match="all of cell line 'a'; needed at least two"):
        make_folds(by_line(), dataset)


def test_rows_are_divided_by_what_their_own_fold_has_seen() -> None:
    """Row 4 (line b) has the promoter of row 0 (line a), row 7 (line b) that of row 1 (line b): one is seen."""
    dataset = table()
    promoter = dataset.pairs["promoter_id"].to_numpy().copy()
    promoter[[4, 7]] = promoter[[0, 1]]
    dataset.pairs["promoter_id"] = promoter
    masks = locus_masks(dataset, make_folds(by_line(), dataset))
    assert np.flatnonzero(masks["seen_loci"]).tolist() == [0, 4]
    np.testing.assert_array_equal(masks["unseen_loci"], ~masks["seen_loci"])
    only_c = locus_masks(dataset, make_folds(by_line(test_cell_lines=["c"]), dataset))
    assert only_c == {}


def test_what_balancing_leaves_out_is_neither_seen_nor_judged() -> None:
    dataset = table()
    label = np.zeros(240, dtype=np.int8)
    label[[1, 2, 3, 5, 6, 8]] = 1  # three pairs of line c, two of a, two of b, and as many negatives are kept
    dataset.pairs["label"] = label
    dataset.pairs["promoter_id"] = dataset.pairs["promoter_id"].to_numpy()[0]
    folds = make_folds(by_line(balance=True), dataset)
    tested = np.any([fold.test for fold in folds], axis=0)
    masks = locus_masks(dataset, folds)
    assert masks == {}  # every row has the one promoter
    assert tested.sum() == 2 * 6


def test_the_audit_and_the_subset_count_the_same_rows() -> None:
    dataset = tiny_world.dataset()
    folds = make_folds(by_line(balance=True), dataset)
    masks = locus_masks(dataset, folds)
    audit = audit_folds(by_line(), dataset, folds, allow=False)
    assert len(folds) == dataset.pairs["cell_line"].nunique()
    for fold, entry in zip(folds, audit.folds, strict=True):
        assert masks["seen_loci"][fold.test].mean() == pytest.approx(entry.locus)
        assert (masks["seen_loci"] ^ masks["unseen_loci"])[fold.test].all()


def test_a_missing_split_is_named() -> None:
    with pytest.raises(EpisodeError, match='no pair has split "train"'):
        make_folds(groups(holdout=HoldoutConfig(by="split")), table())


def test_training_pairs_of_one_class_are_refused() -> None:
    dataset = table()
    dataset.pairs["label"] = np.int8(1)
    with pytest.raises(EpisodeError, match="all of one class"):
        make_folds(groups(), dataset)


@settings(max_examples=25)
@given(st.integers(0, 239), st.integers(0, 239))
def test_a_shared_promoter_across_a_fold_is_always_found(one: int, other: int) -> None:
    dataset = table()
    pairs = dataset.pairs
    pairs.loc[other, "promoter_id"] = pairs["promoter_id"][one]
    folds = make_folds(groups(), dataset)
    shared = one != other and any(
        (fold.test[one] and fold.train[other]) or (fold.test[other] and fold.train[one]) for fold in folds
    )
    if shared:
        with pytest.raises(EpisodeError, match="leaks in"):
            audit_folds(groups(), dataset, folds, allow=False)
    audit = audit_folds(groups(), dataset, folds, allow=True)
    assert audit.locus_leak == shared
    assert audit.allowed == shared


def test_holding_out_the_cell_line_alone_leaks_and_is_refused() -> None:
    dataset = tiny_world.dataset()
    lines = sorted(dataset.pairs["cell_line"].unique())
    alone = Protocol(name="alone", holdout=HoldoutConfig(cell_lines=[lines[::2], lines[1::2]]))
    folds = make_folds(alone, dataset)
    with pytest.raises(EpisodeError, match=r"protocol alone leaks in 2 of 2 folds: .* --allow-leakage"):
        audit_folds(alone, dataset, folds, allow=False)
    assert audit_folds(alone, dataset, folds, allow=True).allowed


def test_the_policy_audit_marks_and_never_refuses() -> None:
    dataset = table()
    dataset.pairs.loc[1, "promoter_id"] = dataset.pairs["promoter_id"][6]
    folds = make_folds(groups(), dataset)
    protocol = groups(leakage=LeakageConfig(policy="audit"))
    audit = audit_folds(protocol, dataset, folds, allow=False)
    assert audit.locus_leak and not audit.allowed


def test_subsets_are_what_their_tests_say() -> None:
    dataset = table()
    pairs = dataset.pairs
    protocol = groups(
        subsets={
            "hard": Subset(column="types", contains="hard", with_positives=True),
            "equal": Subset(column="enhancer_length", same_as="promoter_length"),
            "named": Subset(column="types", equals="pos"),
        },
    )
    masks = subset_masks(protocol, dataset, every_row(dataset), seed=0)
    assert (masks["hard"] == ((np.arange(240) % 5 == 0) | (pairs["label"] == 1))).all()
    assert (masks["equal"] == (np.arange(240) % 4 != 0)).all()
    assert (masks["named"] == (np.arange(240) % 5 != 0)).all()


def test_an_unknown_subset_column_is_named() -> None:
    protocol = groups(subsets={"x": Subset(column="nowhere", contains="y")})
    with pytest.raises(EpisodeError, match="subset x: the pairs have no column 'nowhere'"):
        subset_masks(protocol, table(), every_row(table()), seed=0)


def test_distance_matching_leaves_as_many_negatives_as_positives_in_every_bin() -> None:
    dataset = table(600, seed=3)
    pairs = dataset.pairs
    pairs["distance"] = np.where(pairs["label"] == 1, pairs["distance"] / 5, pairs["distance"])
    protocol = groups(distance_matched=MatchConfig(bins=8))
    mask = subset_masks(protocol, dataset, every_row(dataset), seed=1)["distance_matched"]
    log = np.log10(pairs["distance"])
    place = np.minimum(((log - log.min()) / (log.max() - log.min()) * 8).astype(int), 7)
    signed = np.where(pairs["label"] == 1, 1, -1)[mask]
    surplus = pd.Series(signed).groupby([pairs["environment"][mask].to_numpy(), place[mask].to_numpy()]).sum()
    assert (surplus == 0).all()
    assert 100 < mask.sum() < 600
    assert (mask == subset_masks(protocol, dataset, every_row(dataset), seed=1)["distance_matched"]).all()


def test_distance_matching_looks_at_test_rows_only() -> None:
    dataset = table(600, seed=3)
    test = np.arange(600) % 4 == 0
    dataset.pairs["label"] = np.where(test, (np.arange(600) % 40 == 0), dataset.pairs["label"]).astype(np.int8)
    mask = subset_masks(groups(distance_matched=MatchConfig(bins=3)), dataset, test, seed=1)["distance_matched"]
    label = dataset.pairs["label"][mask]
    assert not (mask & ~test).any()
    assert (label == 1).sum() == (label == 0).sum() > 5


def test_collapsing_keeps_one_row_a_gene_positive_if_any_transcript_is() -> None:
    dataset = table(6)
    pairs = dataset.pairs
    pairs["enhancer_id"] = np.int32(0)
    pairs["environment"] = ["a", "a", "a", "b", "b", "b"]
    pairs["gene"] = ["ENSG1|t1", "ENSG1|t2", "ENSG2|t3", "ENSG1|t1", "ENSG1|t2", "ENSG1|t4"]
    pairs["promoter_start"] = [200, 100, 50, 300, 200, 100]
    pairs["label"] = np.array([1, 0, 0, 0, 0, -1], dtype=np.int8)
    protocol = groups(collapse=CollapseConfig(column="gene", pattern=r"(ENSG[0-9]+)"))
    kept = collapse(protocol, dataset).pairs
    assert kept[["environment", "promoter_start", "label"]].to_numpy().tolist() == [
        ["a", 100, 1],
        ["a", 50, 0],
        ["b", 100, 0],
    ]


def test_a_row_that_names_no_gene_is_shown() -> None:
    protocol = groups(collapse=CollapseConfig(column="types", pattern=r"(ENSG[0-9]+)"))
    with pytest.raises(EpisodeError, match="column types, pair 0: 'neg-hard' does not match"):
        collapse(protocol, table())


@pytest.mark.parametrize("name", sorted(shipped_protocols()))
def test_shipped_protocols_load(name: str) -> None:
    assert load_protocol(name).name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[holdout]\nby = 'x'", "holdout.by: needed one of groups, cell-lines, split, got 'x'"),
        ("[holdout]", "nothing is held out"),
        ("[holdout]\ncell_lines = [['a']]", "at least two groups"),
        ("[holdout]\ncell_lines = [['a'], ['a']]", "a name occurs twice"),
        ("[holdout]\ncell_lines = ['a']", "holdout.cell_lines.0: needed a list, got 'a'"),
        ("[hold]", "unknown key 'hold'; did you mean 'holdout'"),
        ("[holdout]\nby = 'split'\n[subsets.x]\ncolumn = 'a'", "needed column and one of contains"),
        ("[holdout]\nby = 'split'\n[subsets.pooled]\ncolumn = 'a'\nequals = 'b'", "the name is taken"),
        ("[holdout]\nby = 'split'\n[bootstrap]\ndraws = 0", "bootstrap.draws: needed at least 1, got 0"),
        ("[holdout]\nby = 'split'\n[collapse]\npattern = 'x'", "needed a group in 'x'"),
        ("[holdout]\nby = 'split'\n[collapse]\npattern = '('", "collapse.pattern"),
        ("[holdout", "not valid TOML"),
        ("holdout = 'x'", "holdout: needed a table of settings, got 'x'"),
        ("[holdout]\nby = 'split'\n[subsets]\nx = 3", "subsets.x: needed a table of settings, got 3"),
        ("[holdout]\nby = 'split'\n[subsets.auroc]\ncolumn = 'a'\nequals = 'b'", "the name is taken"),
        ("[holdout]\nby = 'split'\n[subsets.subsets]\ncolumn = 'a'\nequals = 'b'", "the name is taken"),
        ("[holdout]\nby = 'split'\ncell_lines = [['a'], ['b']]", "have no meaning beside"),
        ("[holdout]\nby = 'cell-lines'\nchromosomes = [['a'], ['b']]", 'have no meaning beside by = "cell-lines"'),
        ("[holdout]\nby = 'split'\ntest_cell_lines = ['a']", 'test_cell_lines has no meaning beside by = "split"'),
        ("[holdout]\nby = 'split'\n[subsets.seen_loci]\ncolumn = 'a'\nequals = 'b'", "the name is taken"),
        ("[holdout]\nby = 'split'\n[data]\nmax_unknown = 2", "data.max_unknown: needed less than 1.0, got 2"),
    ],
)
def test_a_wrong_protocol_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_protocol(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_protocol_may_be_json(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"holdout": {"by": "split"}, "settings": {"training": {"steps": 7}}}')
    protocol = load_protocol(str(path))
    assert protocol.name == "mine"
    assert protocol.settings == {"training": {"steps": 7}}


def test_an_unknown_protocol_lists_the_shipped_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"protocol 'M': no such file.*B, L, T, domain-kl, shared-loci-loops, shared-loci, simulated"
    ):
        load_protocol("M")


def test_selection_share_moves_the_border() -> None:
    dataset = table()
    small = make_folds(groups(selection=SelectionConfig(share=0.1, gap=0)), dataset)[0]
    large = make_folds(groups(selection=SelectionConfig(share=0.5, gap=0)), dataset)[0]
    assert small.held_out.sum() < large.held_out.sum()
    assert not small.gap.any()


@pytest.mark.parametrize("value", ["x", -1, 10**18, float("nan"), float("inf"), 1e300, None])
@pytest.mark.parametrize(("section", "key"), NUMBERS)
def test_every_number_of_a_protocol_has_a_domain(section: str, key: str, value: object) -> None:
    assert len(NUMBERS) == 8
    with pytest.raises(ConfigError, match=rf"{section}\.{key}: needed "):
        parse_model({section: {key: value}}, Protocol, where="protocol")
