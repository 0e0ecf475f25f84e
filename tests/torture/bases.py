"""The base inputs of all cases: a genome, tables, a dataset, a run, an evaluation, a comparison, a prediction.

Made once for one state of the source, by the commands themselves, and kept in the folder for temporary files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from torture.run import command
from torture.world import ROWS, TRAINING, fasta, genome, training_rows, tsv, twobit

__all__ = ["NEEDS", "SETTINGS", "ready"]

SETTINGS = tuple(part for key, value in TRAINING.items() for part in ("--set", f"{key}={value}"))
NEEDS = ("genome.fa", "genome.2bit", "rows.tsv", "pairs.tsv", "ds", "run", "ev", "pr", "ex", "cmp", "protocol.toml")
"""Names of the base inputs."""
WHOLE = ("--enhancer-window", "0", "--promoter-window", "0")
PROTOCOL = """\
name = "tiny"
[data]
enhancer_window = 0
promoter_window = 0
[holdout]
by = "split"
[bootstrap]
block = 10_000
draws = 50
[leakage]
policy = "audit"
"""
STEPS = (
    ("ds", ("data", "build", "pairs.tsv", "--genome", "genome.fa", *WHOLE)),
    ("run", ("train", "ds", *SETTINGS)),
    ("ev", ("evaluate", "run", "ds", "--split", "test")),
    ("pr", ("predict", "run", "rows.tsv", "--genome", "genome.fa")),
    ("ex", ("explain", "run", "ds", "--split", "test", "--pairs", "1", "--figures", "0")),
    ("cmp", ("compare", "protocol.toml", "ds", "--methods", "distance,promoter_degree", "--workers", "1")),
)


def ready() -> dict[str, Path]:
    """Return the base inputs by name; what this state of the source has not made yet is made."""
    folder = Path(tempfile.gettempdir()) / f"episode-torture-{os.getuid()}" / _state()
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _make(folder)
            (folder / "whole").touch()
    return {name: folder / name for name in NEEDS}


def _make(folder: Path) -> None:
    (folder / "genome.fa").write_text(fasta(genome()))
    (folder / "genome.2bit").write_bytes(twobit(genome()))
    (folder / "rows.tsv").write_text(tsv(ROWS))
    (folder / "pairs.tsv").write_text(tsv(training_rows()))
    (folder / "protocol.toml").write_text(PROTOCOL)
    for name, argv in STEPS:
        outcome = command((*argv, "--out", name), folder, seconds=300)
        if outcome.code:
            raise RuntimeError(f"{name}: exit code {outcome.code}\n{outcome.err}")


def _state() -> str:
    """Hash the source and what makes the inputs."""
    here = Path(__file__).resolve()
    source = here.parents[2] / "src"
    files = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    digest = hashlib.sha256()
    for path in sorted([*files, here, here.with_name("world.py")]):
        digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
