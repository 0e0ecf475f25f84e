"""The speed benchmark: that it counts what it says, and that its kill harness would see what it looks for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from episode.config import BackboneConfig, StemConfig, WindowConfig
from episode.data.build import build_dataset
from episode.data.storage import load_dataset, write_dataset
from episode.encode.motifs import load_bank
from episode.encode.store import build_store

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package of the rows, with all its modules."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import costs
    import costs.epoch
    import costs.growth
    import costs.heads
    import costs.kills
    import costs.page
    import costs.worlds

    return costs


@pytest.fixture
def context(costs: ModuleType, tmp_path: Path) -> Any:
    return costs.context.Context(tmp_path, threads=2, quick=True)


def test_operations_of_the_pair_head(costs: Any) -> None:
    config = BackboneConfig(width=4, heads=1, anchors=1, summary=2, bilinear=3, kan_inputs=2, kan_frequencies=1)
    flop = costs.heads.head_flop(config, (2, 3))
    # two directions x (likeness, reading) x 2 x 2 x 3 x 4
    assert flop["attention"] == 2 * 2 * 48
    assert flop["output"] == 2 * 5 * 16
    assert flop["pooling"] == 2 * 2 * 5 * 4
    assert flop["summary"] == 2 * 8 * 2
    assert flop["energy"] == 2 * 11 * 2 + 2 * 2 * 3


def test_operations_of_the_stem_leave_padding_out(costs: Any) -> None:
    class Bank:
        lengths = np.array([3, 5])

    # sites of 3 bp: 2 in 4 bp and 0 in 2 bp; of 5 bp: none
    assert costs.heads.stem_flop(Bank(), [4, 2]) == {"one_hot": 8 * 2 * 3 * 2, "chosen_base": 2 * 2 * 3 * 2}


def test_fit_finds_an_exponent(costs: Any) -> None:
    found = costs.growth.fit([1, 10, 100, 1000], [9.0, 300.0, 30_000.0, 3_000_000.0])
    assert found["last"]["exponent"] == pytest.approx(2)
    assert found["last"]["factor"] == pytest.approx(3)
    assert found["last"]["range"] == [10, 1000]
    assert found["all"]["exponent"] < 2


def test_cost_of_a_command_is_its_own(context: Any) -> None:
    held = np.ones(400 << 20, dtype=np.uint8)  # what this process holds is not the command's
    small = context.run([sys.executable, "-c", "pass"])
    large = context.run([sys.executable, "-c", "x = b'1' * (200 << 20)"])
    assert len(held) > small.peak_bytes
    assert 190 << 20 < large.peak_bytes - small.peak_bytes < 240 << 20


def test_cost_of_a_command_holds_its_workers(context: Any) -> None:
    worker = [sys.executable, "-c", "import time; x = b'1' * (200 << 20); time.sleep(1.6)"]
    code = f"import subprocess; [p.wait() for p in [subprocess.Popen({worker}) for _ in range(2)]]"
    cost = context.run([sys.executable, "-c", code])
    assert cost.processes == 3
    assert cost.peak_bytes > 400 << 20


def test_a_command_that_fails_is_named(context: Any) -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        context.run([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_pairs_are_distinct_and_lie_on_the_elements(costs: Any, tmp_path: Path) -> None:
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
def test_harness_sees_what_a_kill_leaves(
    costs: Any, context: Any, monkeypatch: pytest.MonkeyPatch, script: str, same: bool, clean: bool
) -> None:
    monkeypatch.setattr(costs.kills, "GRACE", 0.3)

    def first(folder: Path) -> list[str]:
        return [sys.executable, "-c", script, str(folder)]

    command = costs.kills.Command("made up", first, ("--resume",), costs.kills.everything)
    found = costs.kills._Harness(context, command).measure(5)
    trials = [trial for trial in found["trials"] if trial["killed"]]
    assert trials
    assert all(trial["code"] == 0 for trial in found["trials"])
    assert all(trial["same"] for trial in found["trials"]) == same
    assert all(trial["clean"] for trial in found["trials"]) == clean


@pytest.mark.parametrize(("every", "tries", "killed"), [(2, 6, 3), (100, 9, 0)], ids=["every second", "never"])
def test_times_are_drawn_until_enough_are_killed(
    costs: Any, context: Any, monkeypatch: pytest.MonkeyPatch, every: int, tries: int, killed: int
) -> None:
    def trial(number: int, after: float) -> Any:
        return costs.kills.Trial(after, number % every == every - 1, (), 0, True, True, 1.0, "")

    command = costs.kills.Command("short", lambda _: [sys.executable, "-c", "pass"], (), costs.kills.everything)
    harness = costs.kills._Harness(context, command)
    monkeypatch.setattr(harness, "_trial", trial)
    monkeypatch.setattr(costs.kills, "TRIES", 3)
    trials = harness.measure(3)["trials"]
    assert len({t["after"] for t in trials}) == len(trials) == tries
    assert costs.kills.count(trials)["killed"] == killed


def test_what_a_trial_lacks_is_told(costs: Any, context: Any) -> None:
    def lacks(folder: Path) -> None:
        raise RuntimeError(f"{folder.name}: lacks a row")

    command = costs.kills.Command("lacks", lambda _: [sys.executable, "-c", "pass"], (), lacks)
    harness = costs.kills._Harness(context, command)
    harness.base.mkdir()
    trial = harness._trial(0, 5.0)
    assert (trial.code, trial.same, trial.said) == (0, False, "kill0: lacks a row")


def test_trials_are_counted_by_what_came_of_them(costs: Any) -> None:
    def trial(killed: bool, left: tuple[str, ...], same: bool, clean: bool) -> dict[str, Any]:
        return vars(costs.kills.Trial(1.0, killed, left, 0, same, clean, 1.0, ""))

    trials = [
        trial(True, (), True, True),
        trial(True, ("a",), True, True),
        trial(True, ("a", "b"), True, False),
        trial(False, ("a",), True, True),
        trial(False, ("a",), False, True),
    ]
    assert costs.kills.count(trials) == {
        "tries": 5,
        "good": 3,
        "killed": 3,
        "killed_after_first_file": 2,
        "same_result_nothing_left": 2,
    }


@pytest.fixture
def stored(costs: Any, tmp_path: Path) -> tuple[Path, Callable[[Path], Any]]:
    """A folder of a store that is whole, and what `kills.stored` says of a folder."""
    elements, bank = costs.worlds.Elements(3, 3), load_bank(StemConfig())
    costs.worlds.write_pairs(tmp_path / "pairs.parquet", elements, 9, lines=1)
    genome = costs.worlds.simulated_genome({"chr1": elements.chromosome}, bank)
    dataset, folder = tmp_path / "dataset", tmp_path / "whole"
    write_dataset(build_dataset([tmp_path / "pairs.parquet"], genome, WindowConfig()), dataset)
    build_store(load_dataset(dataset), bank, StemConfig(), folder / "cache", workers=1)
    return folder, lambda folder: costs.kills.stored(folder, dataset)


def test_store_in_a_trial_is_only_read_and_what_it_lacks_is_seen(costs: Any, stored: Any, tmp_path: Path) -> None:
    whole, look = stored
    before = costs.kills.everything(whole)
    wanted = look(whole)
    assert costs.kills.everything(whole) == before
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RuntimeError, match="holds no store"):
        look(empty)
    left = tmp_path / "left"
    shutil.copytree(whole, left)
    recipe = next((left / "cache").iterdir())
    (recipe / "rows.npy.1.part").touch()
    assert set(look(left)) - set(wanted) == {f"cache/{recipe.name}/rows.npy.1.part"}
    assert (recipe / "rows.npy.1.part").exists()
    segment = next(path for path in recipe.iterdir() if path.is_dir())
    content = (segment / "rows.npy").read_bytes()
    (segment / "rows.npy").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RuntimeError, match="is not what its checksums say"):
        look(left)
    shutil.rmtree(segment)
    with pytest.raises(RuntimeError, match="lacks 6 of 6 elements"):
        look(left)


def test_an_epoch_is_scaled_up_and_never_down(costs: Any) -> None:
    assert costs.epoch.minutes_for_an_epoch(120.0, 0.8) == pytest.approx(2.5)
    assert costs.epoch.minutes_for_an_epoch(120.0, 1.5) == pytest.approx(2.0)


def test_page_without_results_is_refused_plainly(tmp_path: Path) -> None:
    script: list[str | Path] = [sys.executable, BENCHMARKS / "speed.py", "--rows", "", "--quick", "--work", tmp_path]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "speed.json is not there; measure a row first" in done.stderr
    assert "Traceback" not in done.stderr


def test_page_says_plainly_what_is_missed(costs: Any, tmp_path: Path) -> None:
    machine = {"cpu": "some", "cores": 2, "memory_gib": 8.0, "threads": 2, "python": "3", "versions": {}}
    value = {
        "help_seconds_best": 0.29,
        "help_seconds_median": 0.41,
        "predict_seconds_best": 2.0,
        "predict_seconds_median": 3.0,
        "predict_seconds_none_shared_median": 4.0,
    }
    found = {"seconds": [3.0, 3.5], "elements": 10, "bases": 100}
    row = costs.context.entry(
        "starting",
        bar="<= 0.3 s",
        value=value,
        met=False,
        n={"pairs": 1000},
        raw={"help_seconds": [0.29, 0.41, 0.5], "predict": {"shared": found, "none_shared": found}},
    )
    costs.page.write({"cold_start": row | {"machine": machine, "quick": False}}, tmp_path)
    text = (tmp_path / "speed.md").read_text()
    line = "- **MISSED**: starting. Target: <= 0.3 s. Measured: 0.41 s; 3.0 s (4.0 s where nothing is shared)."
    assert line in text.splitlines()
    assert "some, 2 cores, 8 GiB" in text
