"""The content of results.json: the model is the schema, and reads files of older versions."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from episode.compare.results import Audit, ComparisonResults, FoldAudit
from episode.errors import EpisodeError
from episode.metrics.intervals import Estimate, MethodScores, summarise_methods
from episode.schema import parse_model, read_model, write_model

N = 120
BUDGET: dict[str, dict[str, Any]] = {
    "good": {
        "budget": [
            {"fold": "x", "pairs_drawn": 100, "seconds": 3.0},
            {"fold": "y", "pairs_drawn": 201, "seconds": 4.0},
        ]
    },
    "few": {"budget": [{"fold": "x", "pairs_drawn": None, "seconds": 0.5}]},
}


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """A whole results.json of three methods in two environments."""
    rng = np.random.default_rng(0)
    label = (rng.random(N) < 0.4).astype(np.int8)
    score = rng.normal(size=(2, N)) + label
    nothing = np.full((1, N), np.nan)
    summary = summarise_methods(
        label,
        np.repeat(["a", "b"], N // 2),
        rng.integers(0, 9, N),
        {
            "good": MethodScores(score, score, (score > 0).astype(float)),
            "few": MethodScores(score[:1], score[:1], nothing),
            "order": MethodScores(score[1:], nothing, nothing),
        },
        subsets={"hard": rng.random(N) < 0.5},
        claims=[("good", "few")],
        draws=20,
        rng=rng,
    )
    seen = dict.fromkeys(("enhancer", "promoter", "pair", "locus"), 0.0)
    provenance = dict.fromkeys(("episode", "python", "torch", "numpy", "scikit-learn", "lightgbm", "started"), "1")
    return {
        "format_version": 1,
        "protocol": {"name": "l", "title": "L", "sentence": "So.", "subsets": {"hard": "text"}},
        "methods": {
            name: numbers.model_dump() | {"group": "sequence", "note": "", "seconds": None} | BUDGET.get(name, {})
            for name, numbers in summary.methods.items()
        },
        "environments": {name: entry.model_dump() | {"known": False} for name, entry in summary.environments.items()},
        "differences": {name: entry.model_dump() for name, entry in summary.differences.items()},
        "intervals": summary.intervals.model_dump() | {"block_bp": 5_000_000, "unplaced": 0},
        "audit": {
            "policy": "refuse",
            "allowed": False,
            "locus_leak": False,
            "folds": [{"fold": "x", "title": "X", "train": 3, "test": 4, **seen}],
        },
        "alarms": [],
        "provenance": provenance
        | {"job_seconds": 1.0, "seeds": [0], "sources": [], "genome SHA-256": None, "pairs": N}
        | {"collapsed to genes": False, "protocol": {}, "config": {}},
    }


def parse(content: dict[str, Any]) -> ComparisonResults:
    return parse_model(content, ComparisonResults, where="results.json", error=EpisodeError)


def holder(content: dict[str, Any], path: tuple[str | int, ...]) -> Any:
    found: Any = content
    for key in path[:-1]:
        found = found[key]
    return found


def test_what_is_written_is_what_was_read(content: dict[str, Any], tmp_path: Path) -> None:
    results = parse(content)
    write_model(tmp_path / "results.json", results)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written == content
    assert list(written) == list(content)
    assert list(written["methods"]["good"]) == list(content["methods"]["good"])
    assert read_model(tmp_path / "results.json", ComparisonResults) == results


def test_files_of_older_versions_call_the_methods_rows(content: dict[str, Any]) -> None:
    older = copy.deepcopy(content)
    older["rows"] = older.pop("methods")
    for entry in older["environments"].values():
        entry["rows"] = entry.pop("methods")
    assert parse(older) == parse(content)


def test_files_of_older_versions_hold_no_budget(content: dict[str, Any]) -> None:
    older = copy.deepcopy(content)
    for entry in older["methods"].values():
        entry.pop("budget", None)
    results = parse(older)
    assert results.methods["good"].budget == []
    assert results.methods["good"].pairs_a_fold is results.methods["good"].seconds_a_fold is None


def test_the_budget_of_a_fold_is_the_mean_over_folds(content: dict[str, Any]) -> None:
    methods = parse(content).methods
    assert (methods["good"].pairs_a_fold, methods["good"].seconds_a_fold) == (150, 3.5)
    assert (methods["few"].pairs_a_fold, methods["few"].seconds_a_fold) == (None, 0.5)


@pytest.mark.parametrize(
    "path",
    [
        ("format_version",),
        ("protocol",),
        ("protocol", "sentence"),
        ("methods",),
        ("methods", "few", "macro"),
        ("methods", "few", "hard", "brier"),
        ("methods", "good", "spread", "ece"),
        ("methods", "good", "note"),
        ("environments", "a", "share_positive"),
        ("differences",),
        ("differences", "good-few", "recall_chosen"),
        ("differences", "good-few", "hard", "f1"),
        ("audit", "locus_leak"),
        ("audit", "folds", 0, "promoter"),
        ("intervals", "block_bp"),
        ("provenance",),
    ],
)
def test_a_missing_key_is_named(content: dict[str, Any], path: tuple[str | int, ...]) -> None:
    broken = copy.deepcopy(content)
    del holder(broken, path)[path[-1]]
    with pytest.raises(EpisodeError) as caught:
        parse(broken)
    assert str(caught.value) == f"results.json: {'.'.join(map(str, path))}: is missing"


@pytest.mark.parametrize(
    ("path", "needs"),
    [
        (("environments", "a", "methods", "order"), "environments.a"),
        (("methods", "few", "hard"), "methods.few"),
        (("differences", "good-few", "hard"), "differences.good-few"),
    ],
)
def test_a_method_or_subset_that_is_missing_somewhere_is_named(
    content: dict[str, Any], path: tuple[str, ...], needs: str
) -> None:
    broken = copy.deepcopy(content)
    del holder(broken, path)[path[-1]]
    with pytest.raises(EpisodeError, match=needs):
        parse(broken)


@pytest.mark.parametrize(
    ("path", "value", "need"),
    [
        (("format_version",), 2, "needed one of 1, got 2"),
        (("methods", "good", "macro", "auroc", "value"), "0.8", "needed a number, got"),
        (("methods", "good", "macro", "auroc", "high"), True, "needed a number, got"),
        (("environments",), [], "needed a table"),
        (("audit", "folds", 0, "promotor"), 0.1, "did you mean 'promoter'"),
    ],
)
def test_a_wrong_value_or_key_is_named(
    content: dict[str, Any], path: tuple[str | int, ...], value: Any, need: str
) -> None:
    broken = copy.deepcopy(content)
    holder(broken, path)[path[-1]] = value
    with pytest.raises(EpisodeError, match=need) as caught:
        parse(broken)
    assert ".".join(map(str, path[:-1])) in str(caught.value)


def test_a_difference_is_read_from_either_side(content: dict[str, Any]) -> None:
    results = parse(content)
    found = results.difference("good", "few", "pooled", "auroc")
    assert found.bounded and results.difference("few", "good", "pooled", "auroc") == -found
    assert results.difference("good", "few", "hard", "auroc") == results.differences["good-few"].subsets["hard"].auroc
    assert results.difference("good", "order", "macro", "auroc") == Estimate()
    assert results.estimate("nobody", "macro", "auroc") == results.estimate("good", "nowhere", "auroc") == Estimate()
    assert results.inside("a", "nobody", "auroc") == Estimate()


def test_the_worst_leak_is_taken_over_folds() -> None:
    one = FoldAudit(fold="1", title="", train=1, test=1, enhancer=0.5, promoter=0.0, pair=0.0, locus=0.1)
    two = FoldAudit(fold="2", title="", train=1, test=1, enhancer=0.2, promoter=0.0, pair=0.0, locus=0.3)
    audit = Audit(policy="audit", allowed=False, locus_leak=True, folds=[one, two])
    assert audit.worst() == {"enhancer": 0.5, "promoter": 0.0, "pair": 0.0, "locus": 0.3}
    assert one.leaks
