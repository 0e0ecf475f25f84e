"""The cache under processes that die, and under several at once."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import episode.files as files_module
from episode.encode import store as store_module
from episode.encode.store import build_store
from random_elements import CONFIG, Elements, build, make_bank, make_dataset
from small_systems import all_rows

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["episode.encode.store"])
COUNT = 40


def dataset(first: int, last: int) -> Elements:
    """Elements `first` to `last` of a long list, 30 to 69 bp each."""
    return make_dataset(lengths=tuple(range(30, 30 + COUNT)), part=slice(first, last))


def build_slowly(cache: str, first: int, last: int, seconds: float) -> None:
    """Build in small segments with a scanner that takes its time and notes what it scanned."""
    store_module.SEGMENT, store_module.SEGMENTS = 1, 1 << 20  # of this process only

    class Slow(store_module.Scanner):
        def __call__(self, elements, place=None):  # type: ignore[no-untyped-def]
            time.sleep(seconds)
            with (Path(cache) / "scanned.log").open("a") as stream:
                stream.write("".join(f"{len(codes)}\n" for codes in elements))
            return super().__call__(elements, place)

    store_module.Scanner = Slow  # type: ignore[misc]
    build_store(dataset(first, last), make_bank(), CONFIG, Path(cache) / "cache")


def start(cache: Path, first: int, last: int, seconds: float) -> multiprocessing.process.BaseProcess:
    process = CONTEXT.Process(target=build_slowly, args=(str(cache), first, last, seconds))
    process.start()
    return process


def scanned(cache: Path) -> list[int]:
    path = cache / "scanned.log"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def segments(cache: Path) -> list[Path]:
    """Those that are whole: a folder that a kill left behind before its renaming is none."""
    found = [path.parent for path in (cache / "cache").rglob("segment.json")]
    return [path for path in found if not path.name.endswith(".part")]


def leftovers(cache: Path) -> list[Path]:
    return list((cache / "cache").rglob("*.part"))


def test_killed_at_any_time_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for _ in range(5):
        process = start(tmp_path, 0, COUNT, 0.01)
        deadline = time.monotonic() + 60
        before = len(scanned(tmp_path))
        while len(scanned(tmp_path)) == before and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.08))
        process.kill()
        process.join()
    kept = {len(np.load(path / "index.npy")) for path in segments(tmp_path)}
    assert kept == {1}, "each element lasts by itself"
    count = len(segments(tmp_path))
    assert count > 0
    noted = len(scanned(tmp_path))
    build_slowly_here(tmp_path)
    assert len(scanned(tmp_path)) - noted == COUNT - count, "what was whole is not scanned again"
    assert noted - count <= 5, "a kill costs one segment"
    assert leftovers(tmp_path) == []
    found = build_store(dataset(0, COUNT), make_bank(), CONFIG, tmp_path / "cache")
    np.testing.assert_array_equal(all_rows(found), all_rows(build_store(dataset(0, COUNT), make_bank(), CONFIG)))


def build_slowly_here(cache: Path) -> None:
    process = start(cache, 0, COUNT, 0)
    process.join()
    assert process.exitcode == 0


def test_processes_at_once_share_the_work(tmp_path: Path) -> None:
    ranges = [(0, 25), (15, COUNT), (0, 25)]
    processes = [start(tmp_path, first, last, 0.005) for first, last in ranges]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sorted(scanned(tmp_path)) == list(range(30, 30 + COUNT)), "each element once"
    assert leftovers(tmp_path) == []
    for first, last in ranges:
        found = build_store(dataset(first, last), make_bank(), CONFIG, tmp_path / "cache")
        np.testing.assert_array_equal(all_rows(found), all_rows(build_store(dataset(first, last), make_bank(), CONFIG)))
    assert len(scanned(tmp_path)) == COUNT


def test_without_locks_work_is_done_twice_and_nothing_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files_module.fcntl, "flock", unsupported)
    meeting = threading.Barrier(2, timeout=60)

    class Meeting(store_module.Scanner):
        def __call__(self, elements, place=None):  # type: ignore[no-untyped-def]
            meeting.wait()
            return super().__call__(elements, place)

    monkeypatch.setattr(store_module, "Scanner", Meeting)
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(all_rows(build(tmp_path)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    assert len(found) == 2
    for rows in found:
        np.testing.assert_array_equal(rows, all_rows(build()))
    assert len(list(tmp_path.rglob("segment.json"))) == 1 and not list(tmp_path.rglob("*.part"))


def test_a_living_builder_keeps_what_it_is_writing(tmp_path: Path) -> None:
    """A process that adds to the folder while another holds half a segment there."""
    build(tmp_path)
    (folder,) = tmp_path.iterdir()
    living = folder / f"{files_module._prefix(folder / ('a' * 32))}xyz.part"
    living.mkdir()
    (living / "rows.npy").write_bytes(b"half")
    build_store(dataset(0, 3), make_bank(), CONFIG, tmp_path)
    assert (living / "rows.npy").read_bytes() == b"half"


def test_what_the_dead_were_writing_is_removed_at_the_next_build(tmp_path: Path) -> None:
    build_store(dataset(0, 3), make_bank(), CONFIG, tmp_path)
    (segment,) = [path.parent for path in tmp_path.rglob("segment.json")]
    with subprocess.Popen(["true"]) as ended:
        pass
    name = files_module._prefix(Path("x")).replace(f"-{os.getpid()}-", f"-{ended.pid}-") + "xyz.part"
    (segment / name).write_text("{")
    (segment.parent / name).mkdir()
    build_store(dataset(0, 3), make_bank(), CONFIG, tmp_path)
    assert len(list(tmp_path.rglob("*.part"))) == 2, "reading removes nothing"
    build_store(dataset(0, 4), make_bank(), CONFIG, tmp_path)
    assert not list(tmp_path.rglob("*.part"))


def test_the_folder_tells_its_recipe(tmp_path: Path) -> None:
    build(tmp_path)
    (folder,) = tmp_path.iterdir()
    facts = json.loads((folder / "recipe.json").read_text())
    assert facts == {
        "format_version": 2,
        "code_version": 1,
        "bank": make_bank().hash,
        "bin": 16,
        "row": [2, 3],
        "dtype": "float16",
    }
    assert folder.name.startswith("scores-bin16-float16-")
