"""Fabricated folders, each reported once a session, and makers of others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fabricated_folders
from episode.report.page import write_report
from made_once import made_once
from report_drafts import ComparisonDraft, EvaluationDraft

Report = tuple[Path, list[Path]]


def reported(name: str, make: Callable[[Path], Path], title: str | None = None) -> Report:
    """A fabricated folder with its report, and what was written."""

    def make_report(path: Path) -> None:
        written = write_report(make(path), title=title)
        (path / "written.json").write_text(json.dumps([str(file) for file in written]))

    folder = made_once(name, make_report)
    return folder, [Path(file) for file in json.loads((folder / "written.json").read_text())]


@pytest.fixture(scope="session")
def full_report() -> Report:
    """Return an evaluation with everything in it, reported once, and what was written."""
    return reported(
        "full_report", lambda path: fabricated_folders.evaluation(path, environments=9, pairs=300), "A & <B>"
    )


@pytest.fixture(scope="session")
def comparison_report() -> Report:
    """Return a comparison of weak results with an allowed leak, reported once, and what was written."""
    return reported("comparison_report", fabricated_folders.comparison)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of evaluation folders below a fresh path."""

    def make(**options: Any) -> Path:
        return fabricated_folders.evaluation(tmp_path / "evaluation", **options)

    return make


@pytest.fixture(scope="session")
def evaluation_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the files of a small evaluation."""
    folder = fabricated_folders.evaluation(tmp_path_factory.mktemp("small"), environments=8, pairs=500)
    return json.dumps([json.loads((folder / name).read_text()) for name in ("metrics.json", "figures.json")])


@pytest.fixture
def evaluation(evaluation_text: str) -> EvaluationDraft:
    """Return a fresh copy of the small evaluation."""
    return EvaluationDraft(*json.loads(evaluation_text))


@pytest.fixture(scope="session")
def comparison_text(comparison_report: Report) -> str:
    """Return the files of the fabricated comparison."""
    folder = comparison_report[0]
    return json.dumps([json.loads((folder / name).read_text()) for name in ("results.json", "figures.json")])


@pytest.fixture
def comparison(comparison_text: str) -> ComparisonDraft:
    """Return a fresh copy of the fabricated comparison."""
    return ComparisonDraft(*json.loads(comparison_text))
