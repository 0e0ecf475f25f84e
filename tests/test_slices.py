"""Bytes in a file, read slice by slice."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from episode import slices
from episode.errors import EpisodeError
from episode.slices import ByteArray

CODES = np.arange(100, dtype=np.uint8)


@pytest.fixture(params=["a.npy", "a.bin"])
def array(request: pytest.FixtureRequest, tmp_path: Path) -> ByteArray:
    path = tmp_path / str(request.param)
    if path.suffix == ".npy":
        np.save(path, CODES)
    else:
        CODES.tofile(path)
    return ByteArray(path)


@given(first=st.integers(-120, 120), last=st.integers(-120, 120))
def test_slices_are_those_of_an_array(tmp_path_factory: pytest.TempPathFactory, first: int, last: int) -> None:
    path = tmp_path_factory.getbasetemp() / "codes.bin"
    if not path.exists():
        CODES.tofile(path)
    assert ByteArray(path)[first:last].tolist() == CODES[first:last].tolist()


def test_all_of_it(array: ByteArray, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(array) == 100 and array.shape == (100,)
    assert np.array_equal(array, CODES) and np.asarray(array).dtype == np.uint8
    monkeypatch.setattr(slices, "SLICE", 30)
    parts = list(array.slices())
    assert [len(part) for part in parts] == [30, 30, 30, 10] and np.concatenate(parts).tolist() == CODES.tolist()


def test_a_file_that_has_become_shorter_is_an_error(array: ByteArray, tmp_path: Path) -> None:
    (path,) = tmp_path.iterdir()
    os.truncate(path, path.stat().st_size - 10)
    assert array[:90].tolist() == CODES[:90].tolist()
    with pytest.raises(EpisodeError, match=r"a\.(npy|bin): has become shorter since it was opened"):
        array[85:95]


def test_a_file_that_was_removed_is_read_on(array: ByteArray, tmp_path: Path) -> None:
    (path,) = tmp_path.iterdir()
    path.unlink()
    assert array[:3].tolist() == [0, 1, 2]


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.bin").touch()
    assert len(ByteArray(tmp_path / "a.bin")) == 0


@given(st.integers(0, 127), st.integers(1, 255))
def test_a_header_that_was_changed_is_no_crash(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "header.npy"
    np.save(path, CODES)
    content = bytearray(path.read_bytes())
    content[place] ^= change
    path.write_bytes(content)
    try:
        found = ByteArray(path)
    except ValueError:
        return
    assert len(found) == 100
