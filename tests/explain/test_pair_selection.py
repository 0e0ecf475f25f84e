"""Which pairs are explained, and where their elements lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from episode.config import WindowConfig
from episode.data.dataset import Dataset, assemble
from episode.data.genome import open_genome
from episode.data.readers import read_pairs
from episode.errors import EpisodeError, InputError
from episode.explain.pair_selection import choose_pairs, distinct_pairs, read_pair_list
from handmade_runs import with_run
from tiny_world import lively_run, world


@pytest.fixture(scope="module")
def parts() -> tuple:
    return with_run(lively_run())


def test_a_pair_of_several_cell_lines_is_one(parts: tuple) -> None:
    _, content, _ = parts
    distinct = distinct_pairs(content).pairs
    keys = distinct[["enhancer_id", "promoter_id"]]
    assert not keys.duplicated().any()
    assert len(keys) == len(content.pairs[["enhancer_id", "promoter_id"]].drop_duplicates()) < len(content.pairs)


def test_a_seed_decides_what_is_drawn(parts: tuple) -> None:
    run, content, store = parts
    first, again, other = (
        [one.pair for one in choose_pairs(run, content, store, 12, by="random", seed=seed)] for seed in (0, 0, 1)
    )
    assert first == again != other
    assert len(set(first)) == 12


def test_no_more_pairs_than_there_are(parts: tuple) -> None:
    run, content, store = parts
    few = content.select(np.arange(len(content.pairs)) < 3)
    assert len(choose_pairs(run, few, store, 10)) == len(distinct_pairs(few).pairs)
    with pytest.raises(EpisodeError, match="0 pairs to explain: needed at least 1"):
        choose_pairs(run, content, store, 0)


def windowed(window: WindowConfig) -> Dataset:
    return assemble(read_pairs(world() / "pairs.tsv"), open_genome(world() / "genome.fa"), window)


@pytest.mark.parametrize(
    "window",
    [
        WindowConfig(enhancer=0, promoter=0),
        WindowConfig(enhancer=301, promoter=150),
        WindowConfig(enhancer=900, promoter=12_001),
    ],
)
def test_the_first_stored_base_lies_at_its_origin(window: WindowConfig) -> None:
    content = windowed(window)
    genome = open_genome(world() / "genome.fa")
    run, _, store = with_run(lively_run())
    overhanging = 0
    for chosen in choose_pairs(run, content, store, 60, by="random"):
        for kind, placed in chosen.elements.items():
            codes = content.sequence(chosen.pair.element(kind))
            assert placed.length == len(codes)
            known = np.flatnonzero(codes < 4)[[0, -1]]
            overhanging += len(codes) != known[-1] - known[0] + 1
            text = genome.fetch(placed.chrom, placed.origin + int(known[0]), placed.origin + int(known[-1]) + 1)
            assert ["ACGTN".index(letter) for letter in text.upper()] == codes[known[0] : known[-1] + 1].tolist()
    assert (overhanging > 0) == (window.promoter > 12_000)


# -- a table of pairs -------------------------------------------------------------------------------------------------


def table(folder: Path, rows: list[tuple[str, str]], columns: tuple[str, str] = ("enhancer", "promoter")) -> Path:
    path = folder / "mine.tsv"
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, sep="\t", index=False)
    return path


def test_a_table_names_pairs_once_each_in_its_order(parts: tuple, tmp_path: Path) -> None:
    _, content, _ = parts
    rows = [tuple(content.pairs[["enhancer_name", "promoter_name"]].iloc[i]) for i in (5, 0, 5)]
    found = read_pair_list(table(tmp_path, rows), content)
    assert [(c.elements["enhancer"].name, c.elements["promoter"].name) for c in found] == rows[:2]
    assert [c.name for c in found] == ["pair001", "pair002"]
    assert found[0].pair.enhancer == content.pairs["enhancer_id"].iloc[5]


def test_an_interval_of_two_names_is_found_by_either(parts: tuple, tmp_path: Path) -> None:
    _, content, _ = parts
    again = int(np.flatnonzero(content.pairs.duplicated(["enhancer_id", "promoter_id"]))[0])
    names = content.pairs["promoter_name"].to_numpy(object, copy=True)
    enhancer, first = content.pairs["enhancer_name"].iloc[again], names[again]
    names[again] = "other transcript"
    renamed = replace(content, pairs=content.pairs.assign(promoter_name=names))
    found = read_pair_list(table(tmp_path, [(enhancer, "other transcript"), (enhancer, first)]), renamed)
    assert len(found) == 1 and found[0].elements["promoter"].name == "other transcript"
    assert found[0].pair == read_pair_list(table(tmp_path, [(enhancer, first)]), content)[0].pair


def test_unknown_elements_and_pairs_are_named_with_their_rows(parts: tuple, tmp_path: Path) -> None:
    _, content, _ = parts
    pairs = content.pairs
    enhancer, promoter = pairs[["enhancer_name", "promoter_name"]].iloc[0]
    strange = next(
        name
        for name in pairs["promoter_name"]
        if name not in set(pairs.loc[pairs["enhancer_name"] == enhancer, "promoter_name"])
    )
    path = table(tmp_path, [(enhancer, promoter), ("nobody", promoter), (enhancer, strange)])
    with pytest.raises(InputError) as caught:
        read_pair_list(path, content)
    assert [str(problem) for problem in caught.value.problems] == [
        f"{path}:3: enhancer 'nobody' names no enhancer of the pairs to choose from",
        f"{path}:4: promoter {strange!r} is no pair with the enhancer {enhancer!r} in the dataset",
    ]
    assert "columns enhancer and promoter" in str(caught.value) and "such as chr20:250000-251200" in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "columns", "need"),
    [
        ([("a", "b")], ("enhancer", "gene"), "has no column 'promoter'; it has enhancer, gene"),
        (
            [("a", "b")],
            ("enhancer_name", "promoter_name"),
            "has no column 'enhancer'; it has enhancer_name, promoter_name",
        ),
        ([], ("enhancer", "promoter"), "has a header but no rows"),
    ],
)
def test_a_table_of_another_kind(parts: tuple, tmp_path: Path, rows: list, columns: tuple, need: str) -> None:
    with pytest.raises(InputError, match=need) as caught:
        read_pair_list(table(tmp_path, rows, columns), parts[1])
    assert "--only takes a table with the columns enhancer and promoter" in str(caught.value)
    with pytest.raises(InputError, match=r"absent.tsv: no such file"):
        read_pair_list(tmp_path / "absent.tsv", parts[1])


def test_a_row_with_a_field_too_many_is_no_pair(parts: tuple, tmp_path: Path) -> None:
    """It would move names into the wrong columns."""
    enhancer, promoter = parts[1].pairs[["enhancer_name", "promoter_name"]].iloc[0]
    path = tmp_path / "mine.tsv"
    path.write_text(f"enhancer\tpromoter\n{enhancer}\t{promoter}\n{enhancer}\t{promoter}\tmore\n")
    with pytest.raises(InputError, match=r"mine\.tsv:3: has 3 tab-separated fields, needs 2"):
        read_pair_list(path, parts[1])


def test_commas_separate_names_too(parts: tuple, tmp_path: Path) -> None:
    enhancer, promoter = parts[1].pairs[["enhancer_name", "promoter_name"]].iloc[0]
    path = tmp_path / "mine.csv"
    path.write_bytes(f"\ufeffenhancer,note,promoter\r\n{enhancer},x,{promoter}\r\n".encode())
    (found,) = read_pair_list(path, parts[1])
    assert [found.elements[kind].name for kind in ("enhancer", "promoter")] == [enhancer, promoter]


def test_all_pairs_of_names_that_are_shared(parts: tuple, tmp_path: Path) -> None:
    """A gene with two promoters: both pairs are explained, each where it lies."""
    _, content, _ = parts
    pairs = content.pairs
    enhancer = pairs["enhancer_id"].value_counts().index[0]
    mine = pairs[pairs["enhancer_id"] == enhancer].drop_duplicates("promoter_id").head(2)
    assert len(mine) == 2
    named = pairs.assign(enhancer_name="E", promoter_name="P")
    named.loc[mine.index, ["enhancer_name", "promoter_name"]] = ["E1", "GENE1"]
    found = read_pair_list(table(tmp_path, [("E1", "GENE1")] * 2), replace(content, pairs=named))
    assert [one.pair.promoter for one in found] == mine["promoter_id"].tolist()
    for one, row in zip(found, mine.to_dict("records"), strict=True):
        for kind, placed in one.elements.items():
            wanted = (row[f"{kind}_chrom"], row[f"{kind}_start"], row[f"{kind}_end"])
            assert (placed.chrom, placed.start, placed.end) == wanted
