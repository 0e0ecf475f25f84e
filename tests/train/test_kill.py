"""The command, killed for good at random points: each start goes on, and the end is that of no interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from episode import files
from tiny_world import SETTINGS, as_options, dataset_folder, episode

CHANGED = ("training.steps=10", "training.settle_steps=6", "stem.min_information=19")
KEYS = {setting.partition("=")[0] for setting in CHANGED}
LONGER = (*(setting for setting in SETTINGS if setting.partition("=")[0] not in KEYS), *CHANGED)
KILLS = 2


def arguments(folder: Path) -> list[str]:
    cache = dataset_folder() / "store"
    options = ["--out", folder, "--cache", cache, "--threads", 1, "--resume", *as_options(LONGER)]
    return [str(part) for part in ("train", dataset_folder(), *options)]


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def changed(folder: Path) -> float:
    """When a state was last saved."""
    state = folder / "resume.safetensors"
    return state.stat().st_mtime if state.exists() else 0.0


@pytest.mark.slow
def test_killed_at_random_points_through_the_command(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert episode(*arguments(whole)).code == 0
    command = [sys.executable, "-m", "episode.cli.main", *arguments(folder)]
    rng, codes = np.random.default_rng(3), []
    for _ in range(KILLS):
        before = changed(folder)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and changed(folder) == before:
                time.sleep(0.005)
            time.sleep(float(rng.uniform(0, 0.2)))
            process.kill()
        codes.append(process.returncode)
        own = files._prefix(folder / "run.json")
        (folder / (own.replace(f"-{os.getpid()}-", f"-{process.pid}-") + "x.part")).write_bytes(b"half")
    assert -signal.SIGKILL in codes
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert content_of(folder) == content_of(whole)
    assert not list(folder.glob(".*"))
