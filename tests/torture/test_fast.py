"""The fast part of the torture cases: none may be a fault."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_no_fault_in_the_fast_cases() -> None:
    here = Path(__file__).resolve().parents[1]
    path = os.pathsep.join((str(here), str(here.parent / "src"), os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, "-m", "torture", "--fast", "--jobs", "1"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " cases in " in done.stdout
