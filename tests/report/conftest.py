"""Fabricated folders, each reported once a session, and makers of others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabricated_folders
import pytest
from report_drafts import ComparisonDraft, EvaluationDraft

from episode.report.page import write_report

Report = tuple[Path, list[Path]]


@pytest.fixture(scope="session")
def full_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return an evaluation with everything in it, reported once, and what was written."""
    folder = fabricated_folders.evaluation(tmp_path_factory.mktemp("full"), environments=9, pairs=300)
    return folder, write_report(folder, title="A & <B>")


@pytest.fixture(scope="session")
def comparison_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return a comparison of weak results with an allowed leak, reported once, and what was written."""
    folder = fabricated_folders.comparison(tmp_path_factory.mktemp("comparison"))
    return folder, write_report(folder)


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
