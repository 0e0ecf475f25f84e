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
    return [Problem("p.tsv", "bad", row=number) for number in range(1, count + 1)]


def test_one_problem_alone() -> None:
    error = InputError(problems(1))
    assert str(error) == "p.tsv:1: bad"


def test_a_few_problems_are_all_shown_and_counted() -> None:
    lines = str(InputError(problems(20), hint="mend them")).splitlines()
    assert lines[:20] == [f"p.tsv:{number}: bad" for number in range(1, 21)]
    assert lines[20:] == ["20 problems in all", "hint: mend them"]


def test_of_many_problems_twenty_are_shown_and_all_kept() -> None:
    error = InputError(problems(25))
    lines = str(error).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "... and 5 more; 25 problems in all"
    assert len(error.problems) == 25


@pytest.mark.parametrize("error", [InputError(problems(25)[:3], "mend them", total=25), errors.ConfigError("x: bad")])
def test_an_error_travels_between_processes(error: EpisodeError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_no_problem_is_no_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        InputError([])
