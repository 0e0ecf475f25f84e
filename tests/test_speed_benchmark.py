"""The speed benchmark: that it counts what it says, and that its kill harness would see what it looks for."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from episode.config import BackboneConfig

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package of the rows, with all its modules."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import costs
    import costs.growth
    import costs.heads
    import costs.kills
    import costs.page
    import costs.worlds

    return costs


@pytest.fixture
def context(costs: ModuleType, tmp_path: Path) -> Any:
    return costs.context.Context(tmp_path, threads=2, quick=True)


def test_operations_of_the_pair_head(costs):
    config = BackboneConfig(width=4, heads=1, anchors=1, summary=2, bilinear=3, kan_inputs=2, kan_frequencies=1)
    flop = costs.heads.head_flop(config, (2, 3))
    # two directions x (likeness, reading) x 2 x 2 x 3 x 4
    assert flop["attention"] == 2 * 2 * 48
    assert flop["output"] == 2 * 5 * 16
    assert flop["pooling"] == 2 * 2 * 5 * 4
    assert flop["summary"] == 2 * 8 * 2
    assert flop["energy"] == 2 * 11 * 2 + 2 * 2 * 3


def test_operations_of_the_stem_leave_padding_out(costs):
    class Bank:
        lengths = np.array([3, 5])

    # sites of 3 bp: 2 in 4 bp and 0 in 2 bp; of 5 bp: none
    assert costs.heads.stem_flop(Bank(), [4, 2]) == {"one_hot": 8 * 2 * 3 * 2, "chosen_base": 2 * 2 * 3 * 2}


def test_fit_finds_an_exponent(costs):
    found = costs.growth.fit([1, 10, 100, 1000], [9.0, 300.0, 30_000.0, 3_000_000.0])
    assert found["last"]["exponent"] == pytest.approx(2)
    assert found["last"]["factor"] == pytest.approx(3)
    assert found["last"]["range"] == [10, 1000]
    assert found["all"]["exponent"] < 2


def test_cost_of_a_command_is_its_own(context):
    held = np.ones(400 << 20, dtype=np.uint8)  # what this process holds is not the command's
    small = context.run([sys.executable, "-c", "pass"])
    large = context.run([sys.executable, "-c", "x = b'1' * (200 << 20)"])
    assert len(held) > small.peak_bytes
    assert 190 << 20 < large.peak_bytes - small.peak_bytes < 240 << 20


def test_cost_of_a_command_holds_its_workers(context):
    worker = [sys.executable, "-c", "import time; x = b'1' * (200 << 20); time.sleep(1.6)"]
    code = f"import subprocess; [p.wait() for p in [subprocess.Popen({worker}) for _ in range(2)]]"
    cost = context.run([sys.executable, "-c", code])
    assert cost.processes == 3
    assert cost.peak_bytes > 400 << 20


def test_a_command_that_fails_is_named(context):
    with pytest.raises(RuntimeError, match="no such thing"):
        context.run([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_pairs_are_distinct_and_lie_on_the_elements(costs, tmp_path):
    elements = costs.worlds.Elements(20, 30)
    met = costs.worlds.write_pairs(tmp_path / "pairs.parquet", elements, 400, row_group=70)
    frame = pd.read_parquet(tmp_path / "pairs.parquet")
    assert len(frame) == 400
    assert not frame.duplicated().any()
    assert set(frame["enhancer_start"]) <= set(elements.starts(0, np.arange(20)))
    assert set(frame["promoter_start"]) <= set(elements.starts(1, np.arange(30)))
    assert met == frame["enhancer_start"].nunique() + frame["promoter_start"].nunique() == 50
    assert frame["promoter_end"].max() < elements.chromosome
    groups = [group.drop(columns="cell_line").reset_index(drop=True) for _, group in frame.groupby("cell_line")]
    assert all(group.equals(groups[0]) for group in groups)


STEADY = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
for step in range(4):
    part, done = folder / f"{step}.part", folder / f"{step}"
    if not done.exists():
        part.write_text("half")
        time.sleep(0.12)
        part.write_text("whole")
        part.rename(done)
"""
"""Goes on where it stopped, writes by renaming, cleans up."""
LEAVES = STEADY.replace('folder / f"{step}.part"', 'folder / f"{step}.{time.time_ns()}.part"')
"""A kill leaves a file that the next start does not know."""
FORGETS = STEADY.replace(
    'part.write_text("whole")', 'part.write_text("after a restart" if "--resume" in sys.argv else "whole")'
)
"""What comes of it depends on the kill."""
STRAYS = STEADY.replace(
    "for step", 'import subprocess\nsubprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])\nfor step'
)
"""Its worker does not see that it is dead."""


@pytest.mark.parametrize(
    ("script", "same", "clean"),
    [(STEADY, True, True), (LEAVES, True, False), (FORGETS, False, True), (STRAYS, True, False)],
    ids=["steady", "leaves", "forgets", "strays"],
)
def test_harness_sees_what_a_kill_leaves(costs, context, monkeypatch, script, same, clean):
    monkeypatch.setattr(costs.kills, "GRACE", 0.3)

    def first(folder):
        return [sys.executable, "-c", script, str(folder)]

    command = costs.kills.Command("made up", first, ("--resume",), costs.kills.everything)
    found = costs.kills._Harness(context, command).measure(5)
    trials = [trial for trial in found["trials"] if trial["killed"]]
    assert trials
    assert all(trial["code"] == 0 for trial in found["trials"])
    assert all(trial["same"] for trial in found["trials"]) == same
    assert all(trial["clean"] for trial in found["trials"]) == clean


def test_page_says_plainly_what_is_missed(costs, tmp_path):
    machine = {"cpu": "some", "cores": 2, "memory_gib": 8.0, "threads": 2, "python": "3", "versions": {}}
    value = {
        "help_seconds": 0.41,
        "help_seconds_median": 0.5,
        "predict_seconds": 3.0,
        "predict_seconds_none_shared": 4.0,
    }
    found = {"seconds": [3.0, 3.5], "elements": 10, "bases": 100}
    row = costs.context.entry(
        "starting",
        bar="<= 0.3 s",
        value=value,
        met=False,
        n={"pairs": 1000},
        raw={"help_seconds": [0.41, 0.5], "predict": {"shared": found, "none_shared": found}},
    )
    costs.page.write({"cold_start": row | {"machine": machine, "quick": False}}, tmp_path)
    text = (tmp_path / "speed.md").read_text()
    assert "| starting | <= 0.3 s | 0.41 s; 3.0 s | **MISSED** |" in text
    assert "some, 2 cores, 8 GiB" in text
