"""Errors say where, what came and what is needed."""

from __future__ import annotations

import pickle

import pytest

from episode import errors
from episode.errors import EpisodeError, InputError, Problem


def test_every_error_is_an_episode_error() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
    assert len(kinds) >= 6
    assert all(issubclass(kind, EpisodeError) for kind in kinds)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("p.tsv", "is empty"), "p.tsv: is empty"),
        (
            Problem("p.tsv", "is not past promoter_start 120", row=17, column="promoter_end", value="90"),
            "p.tsv:17: promoter_end '90' is not past promoter_start 120",
        ),
        (Problem("p.tsv", "is missing", column="label"), "p.tsv: label is missing"),
        (Problem("p.tsv", "needed", row=2, column="label", value=""), "p.tsv:2: label '' needed"),
    ],
)
def test_a_problem_reads_as_a_sentence(problem: Problem, text: str) -> None:
    assert str(problem) == text


def problems(count: int) -> list[Problem]:
    """As many, each of a column of its own."""
    return [Problem("p.tsv", "bad", row=number, column=f"c{number}") for number in range(1, count + 1)]


def test_one_problem_alone() -> None:
    error = InputError(problems(1))
    assert str(error) == "p.tsv:1: c1 bad"


def test_a_few_problems_are_all_shown_and_counted() -> None:
    lines = str(InputError(problems(20), hint="mend them")).splitlines()
    assert lines[:2] == ["mend them", "p.tsv:1: c1 bad"]
    assert lines[1:21] == [f"p.tsv:{number}: c{number} bad" for number in range(1, 21)]
    assert lines[21:] == ["20 problems in all"]


def test_of_many_problems_twenty_are_shown_and_all_kept() -> None:
    error = InputError(problems(25))
    lines = str(error).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "... and 5 more; 25 problems in all"
    assert len(error.problems) == 25


def test_the_same_problem_of_many_rows_is_one_line() -> None:
    """Numbers and quoted text differ from row to row; the column and the file do not."""
    bad = [
        Problem("p.tsv", f"has {row} N, needs 0 in '{row}'", row, "label", str(row // 9)) for row in range(2, 500_000)
    ]
    found = InputError([*bad, Problem("p.tsv", "is empty", 7, "label"), Problem("q.tsv", bad[0].need, 2, "label", "0")])
    assert str(found).splitlines() == [
        "p.tsv:2: label '0' has 2 N, needs 0 in '2'; the same in 499,997 more rows: 3, 4, 5, 6, 7, ...",
        "p.tsv:7: label is empty",
        "q.tsv:2: label '0' has 2 N, needs 0 in '2'",
        "500,000 problems in all",
    ]


def test_values_that_differ_are_named_and_groups_join() -> None:
    """As the blocks of a large table are: what is joined already is joined again."""
    first = errors.group_problems([Problem("p", "bad", 2, "c", "x"), Problem("p", "bad", 3, "c", "x")])
    second = errors.group_problems([Problem("p", "bad", row, "c", "y") for row in range(9, 20)])
    (both,) = errors.group_problems([*first, *second])
    assert str(both) == "p:2: c 'x' bad; the same in 12 more rows: 3, 9 ('y'), 10 ('y'), 11 ('y'), 12 ('y'), ..."
    assert str(errors.group_problems([Problem("p", "bad", row) for row in (1, 2)])[0]).endswith("in 1 more row: 2")


def test_problems_of_whole_files_stay_apart() -> None:
    lacks = [Problem("p.tsv", f"has no column {name!r}") for name in ("label", "assay")]
    assert len(InputError(lacks).problems) == 2


@pytest.mark.parametrize("error", [InputError(problems(25)[:3], "mend them", total=25), errors.ConfigError("x: bad")])
def test_an_error_travels_between_processes(error: EpisodeError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_no_problem_is_no_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        InputError([])
