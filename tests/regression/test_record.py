"""Recording a few steps twice gives the same twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import episode
from compare_recordings import compare_recordings
from record import Recorder, record
from steps import STEPS, choose

NAMES = ["build-messy", "build-columns", "train", "predict-stream", "wrong-label"]


def test_steps_bring_what_they_need() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)
    found = [step.name for step in choose(["predict-few"])]
    assert found == ["world", "build", "train", "predict-few"]
    assert {step.name for step in choose(["wrong-col*"])} == {"world", "wrong-colon", "wrong-column"}
    for place, step in enumerate(STEPS):
        assert step.before() <= {earlier.name for earlier in STEPS[:place]}, step.name


@pytest.mark.slow
def test_two_recordings_are_equal(tmp_path: Path) -> None:
    source = Path(episode.__file__).parents[1]
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        recorder = Recorder(Path(sys.executable), source, folder, tmp_path / "no-real-data")
        assert record(recorder, choose(NAMES)) == []
    result = compare_recordings(*folders)
    assert result.differences == []
    assert result.steps == 7 and result.files["parquet"] >= 6 and result.files["tensors"] == 2
