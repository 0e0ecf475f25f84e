"""What is kept on disk: what is reused, what never is, and what is mended."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from episode.config import StemConfig
from episode.encode import segments as segments_module
from episode.encode import store as store_module
from episode.encode.segments import Rows
from episode.encode.store import ElementStore, build_store, verify_stores
from episode.errors import EpisodeError
from episode.files import file_sha256
from episode.slices import ByteArray, RowFile
from random_elements import BASES, CONFIG, Elements, build, make_bank, make_dataset
from small_systems import all_rows


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """About one element a segment."""
    monkeypatch.setattr(store_module, "SEGMENT", 1)
    monkeypatch.setattr(store_module, "SEGMENTS", 1 << 20)


def parts(cache: Path) -> list[Path]:
    """Segments of the only recipe in a cache, longest rows first."""
    (folder,) = cache.iterdir()
    found = [path for path in folder.iterdir() if path.is_dir()]
    return sorted(found, key=lambda path: -(path / "rows.npy").stat().st_size)


def subset(*elements: int) -> Elements:
    whole = make_dataset()
    return Elements(whole.elements.iloc[list(elements)].reset_index(drop=True), whole.codes)


def same(one: ElementStore, other: ElementStore) -> None:
    assert one.hash == other.hash and one.bins.tolist() == other.bins.tolist()
    ids = np.array([4, 0, 3, 3, 1, 5, 2])[: len(one) + 1] % len(one)
    for a, b in zip(one.gather(ids), other.gather(ids), strict=True):
        assert torch.equal(a, b)
    for element in range(len(one)):
        np.testing.assert_array_equal(one.rows(element), other.rows(element))


# -- what is reused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [CONFIG, BASES, CONFIG.changed(precision="float32")])
def test_what_was_encoded_is_not_encoded_again(tmp_path: Path, config: StemConfig, scanned: list[int]) -> None:
    first = build(tmp_path, config)
    count = list(scanned)
    same(build(tmp_path, config), first)
    same(first, build(None, config))
    assert scanned == 2 * count
    assert len(parts(tmp_path)) == 1
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir() if not path.is_dir()) == ["lock", "recipe.json"]


def test_another_dataset_adds_what_is_new(tmp_path: Path, scanned: list[int]) -> None:
    build_store(subset(3, 5, 1), make_bank(), CONFIG, tmp_path)
    other = build_store(subset(0, 1, 2, 5), make_bank(), CONFIG, tmp_path)
    assert scanned == [3, 2] and len(parts(tmp_path)) == 2
    same(other, build_store(subset(0, 1, 2, 5), make_bank(), CONFIG))
    scanned.clear()
    same(build_store(subset(5, 0, 3), make_bank(), CONFIG, tmp_path), build_store(subset(5, 0, 3), make_bank(), CONFIG))
    assert scanned == [3], "only the one in memory scans"


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=5),
    st.sampled_from([1, 300, 1 << 20]),
)
def test_however_it_grew_it_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[int]], size: int
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "SEGMENT", size)
        for elements in steps:
            found = build_store(subset(*elements), make_bank(), CONFIG, cache)
            same(found, build_store(subset(*elements), make_bank(), CONFIG))
    digests = np.concatenate([np.load(path / "index.npy")["digest"] for path in parts(cache)])
    assert len(np.unique(digests)) == len(digests) == len({element for elements in steps for element in elements})


@pytest.mark.parametrize(("segments", "most"), [(2, 3), (64, 6)])
def test_segments_are_not_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segments: int, most: int) -> None:
    monkeypatch.setattr(store_module, "SEGMENT", 1)
    monkeypatch.setattr(store_module, "SEGMENTS", segments)
    same(build(tmp_path), build())
    assert 2 <= len(parts(tmp_path)) <= most


def test_the_gate_has_a_folder_of_its_own(tmp_path: Path, scanned: list[int]) -> None:
    bank = replace(make_bank(), gate=make_bank(1))
    first = build_store(make_dataset(), bank, CONFIG, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2 and first.gate is not None
    np.testing.assert_array_equal(
        all_rows(first.gate), all_rows(build_store(make_dataset(), make_bank(1), CONFIG.changed(bin=128)))
    )
    again = build_store(make_dataset(), bank, CONFIG, tmp_path)
    assert scanned == [6, 6, 6] and again.gate is not None and again.gate.hash == first.gate.hash != first.hash


def test_whatever_changes_rows_never_meets_old_ones(
    tmp_path: Path, scanned: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [
        (make_bank(), CONFIG),
        (make_bank(1), CONFIG),
        (make_bank(), CONFIG.changed(bin=17)),
        (make_bank(), CONFIG.changed(precision="float32")),
    ]
    for bank, config in kinds:
        same(build_store(make_dataset(), bank, config, tmp_path), build_store(make_dataset(), bank, config))
    monkeypatch.setattr(store_module, "CODE_VERSION", 0)
    build(tmp_path)
    assert len(list(tmp_path.iterdir())) == 5 and scanned == [6] * 9


def test_folders_of_the_former_layout_are_left_alone(tmp_path: Path, scanned: list[int]) -> None:
    old = tmp_path / ("a" * 64)
    old.mkdir()
    (old / "tokens.npy").write_bytes(b"mine")
    build(tmp_path)
    assert scanned == [6] and (old / "tokens.npy").read_bytes() == b"mine"
    assert verify_stores(make_bank(), CONFIG, tmp_path) == (1, [])


# -- damage -----------------------------------------------------------------------------------------------------------


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def flip_unseen(segment: Path) -> None:
    """A byte of the rows turned by the disk: size and times as before."""
    path = segment / "rows.npy"
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_rows(segment: Path) -> None:
    """Sound by checksum, but not rows of this recipe."""
    np.save(segment / "rows.npy", np.zeros((5, 2, 4), np.float16))
    facts = json.loads((segment / "segment.json").read_text())
    facts["sha256"]["rows.npy"] = file_sha256(segment / "rows.npy")
    (segment / "segment.json").write_text(json.dumps(facts))


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped byte of the rows": lambda segment: flip(segment / "rows.npy"),
    "rows cut short": lambda segment: os.truncate(segment / "rows.npy", (segment / "rows.npy").stat().st_size - 7),
    "rows empty": lambda segment: os.truncate(segment / "rows.npy", 0),
    "rows gone": lambda segment: (segment / "rows.npy").unlink(),
    "other rows": other_rows,
    "a flipped byte of the index": lambda segment: flip(segment / "index.npy"),
    "index cut short": lambda segment: os.truncate(segment / "index.npy", 40),
    "index gone": lambda segment: (segment / "index.npy").unlink(),
    "facts gone": lambda segment: (segment / "segment.json").unlink(),
    "facts not JSON": lambda segment: (segment / "segment.json").write_text("{"),
    "facts not UTF-8": lambda segment: (segment / "segment.json").write_bytes(b"\xff\xfe{}"),
    "facts a list": lambda segment: (segment / "segment.json").write_text("[]"),
    "facts empty": lambda segment: (segment / "segment.json").write_text("{}"),
    "nothing but a folder": empty,
}


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_segment_is_built_again_and_no_other(
    tmp_path: Path, scanned: list[int], damage: Callable[[Path], object]
) -> None:
    sound = build(tmp_path)
    expected = all_rows(sound).copy()
    before = parts(tmp_path)
    damage(before[0])
    scanned.clear()
    mended = build(tmp_path)
    np.testing.assert_array_equal(all_rows(mended), expected)
    assert scanned == [1] and parts(tmp_path) == before
    assert not [path for path in before[0].parent.iterdir() if path.name.endswith(".part")]
    build(tmp_path)
    assert scanned == [1]


@pytest.mark.usefixtures("small_segments")
def test_verifying_finds_what_opening_does_not(tmp_path: Path, scanned: list[int]) -> None:
    expected = all_rows(build(tmp_path)).copy()
    before = parts(tmp_path)
    assert verify_stores(make_bank(), CONFIG, tmp_path) == (len(before), [])
    flip_unseen(before[1])
    scanned.clear()
    assert (all_rows(build(tmp_path)) != expected).any() and scanned == [], "opening trusts an unchanged file"
    sound, (damaged,) = verify_stores(make_bank(), CONFIG, tmp_path)
    assert sound == len(before) - 1 and str(before[1]) in damaged and "do not match their checksum" in damaged
    assert not before[1].exists()
    np.testing.assert_array_equal(all_rows(build(tmp_path)), expected)
    assert scanned == [1]


def test_verifying_what_is_not_there(tmp_path: Path) -> None:
    assert verify_stores(make_bank(), CONFIG, tmp_path / "cache") == (0, [])
    assert list(tmp_path.iterdir()) == []


def test_a_copy_is_read_once_for_its_checksum(
    tmp_path: Path, scanned: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "cache")
    shutil.copytree(tmp_path / "cache", tmp_path / "copy", copy_function=shutil.copyfile)
    for path in (tmp_path / "copy").rglob("rows.npy"):
        os.utime(path, ns=(0, 0))
    read: list[Path] = []

    def counting(path: Path) -> str:
        read.append(path)
        return file_sha256(path)

    monkeypatch.setattr(segments_module, "file_sha256", counting)
    for _ in range(2):
        same(build(tmp_path / "copy"), build(tmp_path / "cache"))
    assert len(read) == 1 and scanned == [6]


# -- a cache that cannot be written -----------------------------------------------------------------------------------


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write to the store fails as on a file system mounted for reading (permissions do not bind root)."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("locked", "atomic_folder", "write_model", "remove_folder", "remove_leftovers"):
        monkeypatch.setattr(segments_module, name, refuse)


def test_a_cache_for_reading_is_read(tmp_path: Path, request: pytest.FixtureRequest, scanned: list[int]) -> None:
    expected = build(tmp_path)
    os.utime(parts(tmp_path)[0] / "rows.npy", ns=(0, 0))
    request.getfixturevalue("read_only")
    same(build(tmp_path), expected)
    assert scanned == [6]


def test_a_cache_for_reading_that_lacks_elements(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    build_store(subset(0, 3), make_bank(), CONFIG, tmp_path)
    request.getfixturevalue("read_only")
    rows = 1 + 1 + 0 + 4
    need = f"Read-only file system; 2 of 6 elements are there, the other 4 need {rows * 12} bytes"
    with pytest.raises(EpisodeError, match=need):
        build(tmp_path)


def test_a_cache_for_reading_is_verified_and_not_mended(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path)
    request.getfixturevalue("read_only")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert verify_stores(make_bank(), CONFIG, tmp_path) == (1, [])
    rows = parts(tmp_path)[0] / "rows.npy"
    content = bytearray(rows.read_bytes())
    content[-1] ^= 1
    rows.write_bytes(content)
    with pytest.raises(EpisodeError, match="needs the right to write in"):
        verify_stores(make_bank(), CONFIG, tmp_path)
    assert rows.read_bytes() == content


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_segments")
def test_no_room_says_what_is_there_and_what_is_missing(tmp_path: Path, scanned: list[int]) -> None:
    lengths = (16, 32, 16 * 400, 16)
    dataset = make_dataset(lengths=lengths)
    need = (400 + 1) * 12
    with (
        file_size_limit(4096),
        pytest.raises(
            EpisodeError, match=f"File too large; 2 of 4 elements are there, the other 2 need {need:,} bytes"
        ),
    ):
        build_store(dataset, make_bank(), CONFIG, tmp_path)
    assert len(parts(tmp_path)) == 2
    assert not list(tmp_path.rglob("*.part"))
    scanned.clear()
    store = build_store(dataset, make_bank(), CONFIG, tmp_path)
    assert sum(scanned) == 2
    np.testing.assert_array_equal(all_rows(store), all_rows(build_store(dataset, make_bank(), CONFIG)))


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(segments_module.os, "fsync", full)
    with pytest.raises(
        EpisodeError, match="No space left on device; 0 of 6 elements are there, the other 6 need 168 by"
    ):
        build(tmp_path)
    monkeypatch.undo()
    same(build(tmp_path), build())


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("mine")
    with pytest.raises(EpisodeError, match="0 of 6 elements are there"):
        build(tmp_path / "cache")
    assert (tmp_path / "cache").read_text() == "mine"


def test_too_many_open_files_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path)

    def exhausted(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(segments_module.np, "load", exhausted)
    with pytest.raises(OSError, match="Too many open files"):
        build(tmp_path)
    monkeypatch.undo()
    assert len(parts(tmp_path)) == 1


# -- rows of several files --------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.data())
def test_spans_of_several_parts_are_those_of_one(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, 7), min_size=1, max_size=5))
    whole = np.arange(sum(sizes) * 2, dtype=np.float16).reshape(-1, 2)
    parts: list[np.ndarray | RowFile] = list(np.split(whole, np.cumsum(sizes)[:-1]))
    folder = tmp_path_factory.mktemp("rows")
    for i in range(len(parts)):
        if data.draw(st.booleans()):
            np.save(folder / f"{i}.npy", np.asarray(parts[i]))
            parts[i] = RowFile(folder / f"{i}.npy", (sizes[i], 2), np.dtype(np.float16))
    rows = Rows(parts)
    spans, place, expected = [], [], np.full((40, 2), -1, dtype=np.float16)
    at = 0
    for _ in range(data.draw(st.integers(0, 5))):
        part = data.draw(st.integers(0, len(sizes) - 1))
        end = sum(sizes[: part + 1])
        first = data.draw(st.integers(end - sizes[part], end))
        spans.append((first, data.draw(st.integers(0, end - first))))
        place.append(at + data.draw(st.integers(0, 1)))
        at = place[-1] + spans[-1][1]
        expected[place[-1] : at] = whole[first : first + spans[-1][1]]
    found = np.full_like(expected, -1)
    starts, counts = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    rows.copy(starts, counts, np.array(place, dtype=np.int64), found)
    np.testing.assert_array_equal(found, expected)
    assert rows.shape == whole.shape and rows.dtype == whole.dtype


def test_a_file_that_shrinks_is_an_error_and_no_crash(tmp_path: Path) -> None:
    store = build(tmp_path)
    (path,) = tmp_path.rglob("rows.npy")
    os.truncate(path, path.stat().st_size - 12)
    assert torch.isfinite(store.gather(np.array([0]))[0]).all()
    with pytest.raises(EpisodeError, match=r"rows\.npy: has become shorter"):
        store.gather(np.array([5]))


def test_headers_of_other_versions_of_numpy_are_read(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.save(tmp_path / "a.npy", rows)
    content = (tmp_path / "a.npy").read_bytes()
    length = int.from_bytes(content[8:10], "little")
    longer = content[:8] + (length + 64).to_bytes(2, "little") + content[10 : 9 + length] + b" " * 64 + b"\n"
    (tmp_path / "a.npy").write_bytes(longer + content[10 + length :])
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), rows)
    file, found = RowFile(tmp_path / "a.npy", (3, 4), np.dtype(np.float32)), np.empty((2, 4), np.float32)
    file.read(1, found)
    np.testing.assert_array_equal(found, rows[1:])
    for shape, dtype in (((4, 4), np.float32), ((3, 4), np.float16), ((3, 2, 2), np.float32)):
        with pytest.raises(ValueError, match="the rows are not"):
            RowFile(tmp_path / "a.npy", shape, np.dtype(dtype))


def test_a_store_outlives_its_files(tmp_path: Path) -> None:
    store = build(tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    same(store, build())


def test_sequences_in_a_file_are_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_dataset()
    whole.codes.tofile(tmp_path / "codes.bin")
    monkeypatch.setattr(ByteArray, "__array__", None)
    longest = int(whole.elements["length"].max())
    read, counted = ByteArray.__getitem__, list[int]()

    def counting(array: ByteArray, span: slice) -> np.ndarray:
        counted.append(span.stop - span.start)
        return read(array, span)

    monkeypatch.setattr(ByteArray, "__getitem__", counting)
    codes = cast(np.ndarray, ByteArray(tmp_path / "codes.bin"))
    same(build_store(Elements(whole.elements, codes), make_bank(), CONFIG), build())
    assert max(counted) == longest and sum(counted) <= 2 * len(whole.codes)
