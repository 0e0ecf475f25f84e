"""``episode encode``: what it fills, what it says, and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from episode.checkpoint import load_run
from episode.encode.store import build_store
from tiny_world import as_options, config, dataset, dataset_folder, run_folder
from tiny_world import episode as command


def test_what_was_encoded_ahead_is_what_commands_read(tmp_path: Path, scanned: list[int]) -> None:
    run = run_folder()
    scanned.clear()
    outcome = command("encode", dataset_folder(), *as_options(), "--cache", tmp_path)
    assert outcome.code == 0, outcome.err
    assert outcome.err == "", "no progress bar where nobody looks"
    count = sum(scanned)
    distinct = len({dataset().sequence(i).tobytes() for i in range(len(dataset().elements))})
    assert count == distinct
    rows, width = sum(-(-len(dataset().sequence(i)) // 200) for i in range(len(dataset().elements))), 204
    assert outcome.out.splitlines() == [
        f"elements: {len(dataset().elements):,} ({distinct:,} distinct sequences)",
        f"rows: {rows:,} of 2x{width} float16",
        f"cache: {tmp_path}",
    ]
    from_run = command("encode", dataset_folder(), "--run", run, "--cache", tmp_path, "--json")
    assert from_run.code == 0 and sum(scanned) == count, "the run was trained with the same settings"
    content = json.loads(from_run.out)
    store = build_store(dataset(), load_run(run_folder()).bank, config().stem, tmp_path)
    assert sum(scanned) == count
    assert content == {
        "cache": str(tmp_path),
        "elements": len(store),
        "sequences": distinct,
        "rows": rows,
        "row": [2, width],
        "dtype": "float16",
        "hash": store.hash,
        "gate": None,
    }


def test_verify_mends(tmp_path: Path, scanned: list[int]) -> None:
    options = (dataset_folder(), "--cache", tmp_path, "--set", "stem.kind=kmer", "--set", "stem.bin=200")
    assert command("encode", *options).code == 0
    (path,) = tmp_path.rglob("rows.npy")
    content, state = bytearray(path.read_bytes()), path.stat()
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    outcome = command("encode", *options, "--verify", "--workers", "1")
    assert outcome.code == 0 and "verified: 0 segments valid, 1 damaged" in outcome.out
    assert f"warning: {path.parent}: the rows do not match their checksum; encoded again" in outcome.err
    content[-1] ^= 1
    assert np.array_equal(np.frombuffer(path.read_bytes(), np.uint8), np.frombuffer(content, np.uint8))
    again = json.loads(command("encode", *options, "--verify", "--json").out)
    assert again["verified"] == {"sound": 1, "damaged": []} and again["dtype"] == "uint8"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "-1"], "argument --workers: needed a whole number from 0 "),
        (["--run", "RUN", "--set", "stem.bin=64"], "--run brings its own settings"),
        (["--set", "stem.precision=float8"], "stem.precision: needed one of float16, float32, got 'float8'"),
        (["--set", "stem.precison=float32"], "did you mean 'precision'?"),
        (["--run", "nosuch"], "nosuch"),
    ],
)
def test_wrong_use(tmp_path: Path, options: list[str], message: str) -> None:
    words = [str(run_folder()) if word == "RUN" else word for word in options]
    outcome = command("encode", dataset_folder(), "--cache", tmp_path / "cache", *words)
    assert outcome.code == 2 and outcome.out == "" and message in outcome.err
    assert list(tmp_path.iterdir()) == []
