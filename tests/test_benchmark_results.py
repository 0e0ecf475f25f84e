"""The committed results: small, and the page beside them is what they say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
RESULTS = BENCHMARKS / "results"


def run(script: str, *words: Path) -> None:
    done = subprocess.run([sys.executable, BENCHMARKS / script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_is_what_the_results_say(tmp_path: Path) -> None:
    for path in RESULTS.glob("*.json.gz"):
        shutil.copy(path, tmp_path)
    run("read_out.py", tmp_path)
    assert (tmp_path / "README.md").read_text() == (RESULTS / "README.md").read_text(), "run make benchmark-page"


def test_results_are_small() -> None:
    assert sum(path.stat().st_size for path in RESULTS.iterdir()) < 1_000_000


def test_six_digits_are_kept_and_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    content = {"value": 0.123456789, "small": -1.23456789e-9, "none": None, "n": 11208, "names": ["é", 2.0]}
    (tmp_path / "results.json").write_text(json.dumps(content, indent=1))
    for name in ("one", "other"):
        run("compact.py", tmp_path / "results.json", tmp_path / f"{name}.json.gz")
    assert (tmp_path / "one.json.gz").read_bytes() == (tmp_path / "other.json.gz").read_bytes()
    plain = subprocess.run(["gzip", "-dc", tmp_path / "one.json.gz"], capture_output=True, check=True).stdout
    assert json.loads(plain) == content | {"value": 0.123457, "small": -1.23457e-9}
