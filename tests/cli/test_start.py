"""What a command imports before it works: each of these costs every start a good part of a second, or more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tiny_world import rows_of, run_folder, world

AFTER = "import sys; from episode.cli.main import main\ntry:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
SHOW = "print('MODULES', *sys.modules)"


def imported(*arguments: object) -> set[str]:
    code = AFTER.format(arguments=[str(argument) for argument in arguments]) + SHOW
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split("MODULES ")[1].split())


@pytest.mark.parametrize("line", [["--help"], ["train", "--help"], ["predict", "--help"]], ids=" ".join)
def test_help_imports_no_library(line: list[str]) -> None:
    assert not imported(*line) & {"numpy", "pandas", "torch", "scipy", "pyarrow", "matplotlib", "sklearn"}


def test_prediction_imports_what_it_uses(tmp_path: Path) -> None:
    table = tmp_path / "pairs.tsv"
    rows_of("unseen01").drop(columns="label").to_csv(table, sep="\t", index=False)
    modules = imported("predict", run_folder(), table, "--genome", world() / "genome.fa", "--out", tmp_path / "out")
    assert (tmp_path / "out" / "predictions.parquet").exists() and {"torch", "pandas"} <= modules
    unused = {"scipy.stats", "scipy.optimize", "sklearn", "matplotlib", "pyjaspar", "lightning_fabric", "ray", "captum"}
    assert not modules & unused
