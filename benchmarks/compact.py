"""Committed results in little space: the same JSON with six digits to a number, compressed.

    python benchmarks/compact.py benchmark-out/protocol_l/results.json benchmarks/results/protocol_l.json.gz

An interval of some thousand draws has no more than four digits to say. Equal results give equal bytes.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

from episode.documents import read_json
from episode.files import atomic_file

DIGITS = 6


def write_compact(content: Any, path: Path) -> None:
    """Write JSON, rounded and compressed."""
    text = json.dumps(_rounded(content), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    with atomic_file(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))


def read_compact(path: Path) -> Any:
    """Read what `write_compact` wrote."""
    return json.loads(gzip.decompress(path.read_bytes()))


def _rounded(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_rounded(value) for value in content]
    return float(f"{content:.{DIGITS}g}") if isinstance(content, float) else content


if __name__ == "__main__":
    write_compact(read_json(Path(sys.argv[1])), Path(sys.argv[2]))
