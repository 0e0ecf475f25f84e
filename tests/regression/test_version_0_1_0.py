"""The run, the dataset and the results of version 0.1.0 are read, and made again, by the code of today."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import tiny_world
from compare_recordings import TOLERANCE, Comparison, compare_folders, compare_said
from frozen import SAMPLE, STEPS

GOLDEN = SAMPLE / "golden"
FITTED = 1e-5
"""Tolerance where slopes are fitted: they magnify the rounding of another processor."""


def again(here: Path, name: str) -> Path:
    """Give a command of the sample to the code of today, in a copy of the sample; returns the folder of the step."""
    (step,) = (step for step in STEPS if step.name == name)
    folder = here / name
    folder.mkdir()
    outcome = tiny_world.episode(*step.arguments(here))
    assert outcome.code == 0, outcome.err
    (folder / "stdout.txt").write_text(outcome.out)
    (folder / "stderr.txt").write_text(outcome.err)
    return folder


def differences(before: Path, after: Path, tolerance: float = TOLERANCE) -> list[str]:
    """What differs between the outputs of two steps and what they said; bytes are those of one machine."""
    result = Comparison(tolerance, promised=False)
    compare_said(result, before.name, (before, after))
    if (before / "out").is_dir():
        compare_folders(result, before / "out", after / "out", f"{before.name}/")
        assert result.counted.total() > 100
    return [str(difference) for difference in result.differences]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sample, in which commands run."""
    folder = tmp_path / "sample"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("golden"))
    monkeypatch.chdir(folder)
    return folder


def without_alarms(text: str) -> str:
    """What is said without the alarms of the run, which version 0.1.0 left in the run folder."""
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith("warning: alarm of the run, ")]
    return re.sub(r"(; )?alarm of the run, [^\t\n]*", "", "".join(kept))


@pytest.mark.parametrize("name", [step.name for step in STEPS if step.name not in ("build", "evaluate")])
def test_same_results(here: Path, name: str) -> None:
    if name != "train":
        (here / "run" / "alarms.json").write_text("[]")
    found = again(here, name)
    if name == "explain":  # its last column is new: the alarms
        path = found / "out" / "pairs.tsv"
        path.write_text("".join(line.rpartition("\t")[0] + "\n" for line in path.read_text().splitlines()))
    assert differences(GOLDEN / name, found) == []


def test_same_evaluation(here: Path) -> None:
    found = again(here, "evaluate")
    log = (found / "out" / "training.jsonl").rename(here / "training.jsonl")
    assert log.read_bytes() == (SAMPLE / "run" / "metrics.jsonl").read_bytes()
    for path in (found / "stderr.txt", found / "out" / "environments.tsv"):
        path.write_text(without_alarms(path.read_text()))
    assert differences(GOLDEN / "evaluate", found, FITTED) == []


def test_same_dataset(here: Path) -> None:
    found, result = again(here, "build"), Comparison()
    compare_folders(result, SAMPLE / "dataset", found / "out")
    assert result.differences == []
    assert result.files["bytes"] == 1 and result.files["parquet"] == 2
    assert differences(GOLDEN / "build", found) == []


def test_no_place_or_name_of_a_machine_is_kept() -> None:
    for path in SAMPLE.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(word in content for word in (b"/tmp/", b"/home/", b"/root/", b"/Users/")), path


def _nudge_weight(folder: Path) -> None:
    path = folder / "run" / "model.safetensors"
    weights = load_file(path)
    weights["backbone.energy.linear.weight"][0, 0] += 1e-3
    save_file(weights, path)


def _turn_base(folder: Path) -> None:
    path = folder / "dataset" / "codes.npy"
    codes = np.load(path)
    pairs = pd.read_parquet(folder / "dataset" / "pairs.parquet")
    elements = pd.read_parquet(folder / "dataset" / "elements.parquet")
    element = elements.loc[pairs.loc[pairs["split"] == "test", "enhancer_id"].iloc[0]]
    codes[element["offset"] : element["offset"] + 100] = 0
    np.save(path, codes)


@pytest.mark.parametrize(
    ("name", "change"), [("predict", _nudge_weight), ("evaluate", _nudge_weight), ("evaluate", _turn_base)]
)
def test_other_weights_or_bases_are_found(here: Path, name: str, change: Callable[[Path], None]) -> None:
    change(here)
    assert any("potential" in line for line in differences(GOLDEN / name, again(here, name)))
