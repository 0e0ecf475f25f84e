"""A job goes on only as what it was begun; the message names what differs, and how."""

from __future__ import annotations

import pytest

from episode.errors import CheckpointError, EpisodeError
from episode.identity import check_identity

HELD = {"config": {"steps": 5, "stem": {"kind": "motif"}}, "seed": 0, "genome": "a" * 64, "tables": ["a.tsv"]}


def message(asked: dict[str, object], **options: object) -> str:
    with pytest.raises(EpisodeError) as refused:
        check_identity(HELD, asked, where="out: was begun with", need="give the same", **options)  # type: ignore[arg-type]
    return str(refused.value)


def test_the_same_goes_on_and_only_what_is_asked_counts() -> None:
    check_identity(HELD, HELD, where="out: was begun with", need="give the same")
    check_identity(HELD, {"seed": 0, "tables": ("a.tsv",)}, where="out: was begun with", need="give the same")
    check_identity({}, {}, where="out: was begun with", need="give the same")


def test_all_that_differs_is_named_with_what_is_short() -> None:
    asked = {"config": {"steps": 7, "stem": {"kind": "conv"}}, "seed": 1, "genome": "b" * 64, "tables": ["b.tsv"]}
    assert message(asked) == (
        "out: was begun with another config.steps (5, not 7), config.stem.kind ('motif', not 'conv'), seed (0, not 1), "
        "genome, tables (['a.tsv'], not ['b.tsv']); give the same"
    )


def test_what_is_not_there_differs() -> None:
    assert message({"roles": 3}) == "out: was begun with another roles (unknown, not 3); give the same"
    assert "another config;" in message({"config": {"steps": 5, "stem": {"kind": "motif"}, "losses": "x" * 60}})


def test_names_and_kind_of_the_error() -> None:
    assert "another --seed (0, not 1);" in message({"seed": 1}, names={"seed": "--seed"})
    with pytest.raises(CheckpointError):
        check_identity(HELD, {"seed": 1}, where="run: was started with", need="resume it", error=CheckpointError)
