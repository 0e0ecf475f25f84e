"""Nothing is ever half-written, nor anything of the user's overwritten."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest

from episode.errors import EpisodeError
from episode.files import atomic_file, atomic_folder, file_sha256, read_json, write_json


def everything(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent, "else the rename could cross file systems"
    assert path.read_text() == "half"
    assert everything(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failing_block_leaves_the_old_file_and_no_other(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert everything(tmp_path) == ["a.txt"]


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("one", "two"):
        with atomic_file(path) as temporary:
            temporary.write_text(text)
    assert path.read_text() == "two"


@pytest.mark.parametrize("existing", [False, True])
def test_a_folder_appears_whole(tmp_path: Path, existing: bool) -> None:
    path = tmp_path / "run"
    if existing:
        path.mkdir()
    with atomic_folder(path) as temporary:
        (temporary / "a.txt").write_text("a")
        assert not (path / "a.txt").exists()
    assert everything(path) == ["a.txt"]
    assert everything(tmp_path) == ["run"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failing_block_leaves_no_folder(tmp_path: Path, error: type[BaseException]) -> None:
    def write() -> None:
        with atomic_folder(tmp_path / "run") as temporary:
            (temporary / "a.txt").write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert everything(tmp_path) == []


def test_a_folder_with_something_in_it_is_refused_before_the_work(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "mine.txt").write_text("mine")
    with pytest.raises(EpisodeError, match="run: exists already and is not empty"), atomic_folder(path):
        pytest.fail("the block must not run")
    assert (path / "mine.txt").read_text() == "mine"
    assert everything(tmp_path) == ["run"]


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("mine")
    with pytest.raises(EpisodeError, match="exists already"), atomic_folder(path):
        pytest.fail("the block must not run")
    assert path.read_text() == "mine"


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"ACGT" * 100_000)
    assert file_sha256(path) == hashlib.sha256(b"ACGT" * 100_000).hexdigest()


def test_json_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"name": "Zelle\u2014é", "x": [1, 2.5, None]})
    assert read_json(path) == {"name": "Zelle\u2014é", "x": [1, 2.5, None]}
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize("value", [math.nan, math.inf, object()])
def test_what_json_cannot_hold_leaves_nothing(tmp_path: Path, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "a.json", {"x": value})
    assert everything(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"{", "not valid JSON"), (b"\xff\xfe{}", "not valid JSON")],
)
def test_unreadable_json_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EpisodeError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
