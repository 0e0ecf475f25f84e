"""What the rows share: where they work, how large they are, how they start commands, and what an entry looks like.

This module does NOT know what any row measures.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Cost:
    """What one command cost.

    Parameters
    ----------
    seconds : float
        Wall time from start to end of the process.
    cpu_seconds : float
        Time on all cores, workers that were waited for included.
    peak_bytes : int
        Greatest resident memory of a process; where it has workers, at least the greatest sum seen (twice a second,
        shared pages counted once).
    processes : int
        Most processes seen at once.
    out : str
        Standard output.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    processes: int
    out: str

    def facts(self) -> dict[str, Any]:
        """Return what belongs in the results."""
        return {name: value for name, value in vars(self).items() if name != "out"}


@dataclass(frozen=True)
class Context:
    """Of one run of the benchmark.

    Parameters
    ----------
    work : Path
        Inputs that are there are used again; outputs are made anew.
    threads : int
        CPU threads of everything that is measured.
    quick : bool
        Sizes that show no more than that a row runs.
    """

    work: Path
    threads: int
    quick: bool

    def size(self, full: int, quick: int) -> int:
        """Choose a size."""
        return quick if self.quick else full

    def fresh(self, name: str) -> Path:
        """Return the path of an output that is not there yet; its parent is."""
        path = self.work / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def episode(self, *words: str | Path) -> list[str]:
        """Return the command line of an `episode` command."""
        return [sys.executable, "-m", "episode.cli.main", *map(str, words)]

    def limited(self, *words: str | Path) -> list[str]:
        """Return the same for a command that takes --threads."""
        return self.episode(*words, "--threads", str(self.threads))

    def encode(self, *words: str | Path) -> list[str]:
        """Return the command line of `episode encode`, which has --workers in place of --threads."""
        return self.episode("encode", *words, "--workers", str(self.threads))

    def environment(self, cache: str = "cache") -> dict[str, str]:
        """Return the environment of a command, with the folder that keeps indexes of genomes."""
        return os.environ | {"XDG_CACHE_HOME": str(self.work / cache)}

    def run(self, command: Sequence[str], *, cache: str = "cache") -> Cost:
        """Run a command to its end and say what it cost; indexes of genomes go to the folder `cache`.

        Raises
        ------
        RuntimeError
            If it fails, with the end of what it said.
        """
        with tempfile.TemporaryDirectory(prefix="episode-speed-") as folder:
            target = Path(folder) / "cost.json"
            launched = [sys.executable, "-I", str(LAUNCHER), str(target), *command]
            subprocess.run(launched, check=True, env=self.environment(cache))
            found = json.loads(target.read_text())
            out = Path(f"{target}.out").read_text()
            if found.pop("code"):
                said = Path(f"{target}.err").read_text().splitlines()[-12:]
                raise RuntimeError("\n".join([" ".join(command), *said]))
        return Cost(**found, out=out)


def entry(what: str, *, bar: str | None, value: Any, met: bool | None, n: Any, raw: dict[str, Any]) -> dict[str, Any]:
    """Return one key of the results: what was measured, what was asked for, what came, and every number behind it."""
    return {"what": what, "bar": bar, "value": value, "met": met, "n": n, "raw": raw}


def data_folder() -> Path | None:
    """Return the folder of real data, if it is there."""
    folder = os.environ.get("EPISODE_DATA")
    return Path(folder) if folder and Path(folder).is_dir() else None
