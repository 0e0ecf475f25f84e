"""What ties the files of a folder together: any change of any of them is told."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from episode.checkpoint import load_run
from episode.data.storage import load_dataset
from episode.errors import CheckpointError, DatasetError, EpisodeError
from episode.integrity import check_seal, write_sealed
from episode.schema import Model
from tiny_world import dataset_folder, run_folder

RUN = ("run.json", "model.safetensors", "alarms.json", "metrics.jsonl")
DATASET = ("manifest.json", "pairs.parquet", "elements.parquet", "codes.npy", "summary.tsv", "audit.json")
Load = Callable[[Path], object]


class Facts(Model):
    name: str = "ü"
    number: float = 0.1


def seal(folder: Path) -> Path:
    (folder / "a.txt").write_text("a")
    (folder / "b.txt").write_text("b")
    write_sealed(folder / "facts.json", Facts(), ("a.txt", "b.txt", "c.txt"))
    return folder / "facts.json"


def check(path: Path) -> None:
    names = ("a.txt", "b.txt", "c.txt")
    check_seal(path, json.loads(path.read_text()), names, old=False, remedy="build again", error=DatasetError)


def test_a_sealed_folder_by_hand(tmp_path: Path) -> None:
    path = seal(tmp_path)
    content = json.loads(path.read_text())
    assert list(content) == ["name", "number", "files", "content_sha256"]
    assert content["files"] == {  # of the letters a and b, by sha256sum
        "a.txt": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
        "b.txt": "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d",
    }
    check(path)
    (tmp_path / "notes.txt").write_text("whatever a user puts there")
    check(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "a.txt").write_text("x"), "a.txt: was changed after it was written; build again"),
        (lambda folder: (folder / "a.txt").write_text("a\n"), "a.txt: was changed after it was written; build again"),
        (lambda folder: (folder / "b.txt").unlink(), "b.txt: no such file; build again"),
        (lambda folder: (folder / "c.txt").touch(), "c.txt: was added after facts.json was written; remove it"),
        (
            lambda folder: (folder / "facts.json").write_text(
                (folder / "facts.json").read_text().replace("0.1", "0.2")
            ),
            "facts.json: was changed after it was written; build again",
        ),
    ],
)
def test_what_changed_is_named(tmp_path: Path, change: Callable[[Path], object], message: str) -> None:
    path = seal(tmp_path)
    change(tmp_path)
    with pytest.raises(DatasetError) as caught:
        check(path)
    assert str(caught.value) == f"{tmp_path}/{message}"


def _flipped(folder: Path, load: Load, file: str, place: int, change: int) -> None:
    """Change a byte of a copy; the folder must not load, unless JSON holds the same for it."""
    path = folder / file
    whole = path.read_bytes()
    content = bytearray(whole)
    content[place % len(whole)] ^= change
    path.write_bytes(content)
    try:
        with pytest.raises((CheckpointError, DatasetError)) as caught:
            load(folder)
        assert str(folder) in str(caught.value) or "damaged" in str(caught.value)
    except BaseException:
        if not _same_json(whole, bytes(content)):
            raise
    finally:
        path.write_bytes(whole)


def _same_json(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@functools.cache
def _copy(which: str, base: Path) -> Path:
    source = run_folder() if which == "run" else dataset_folder()
    names = RUN if which == "run" else DATASET
    (base / which).mkdir(exist_ok=True)
    for name in names:
        shutil.copy(source / name, base / which / name)
    return base / which


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(file=st.sampled_from(RUN), place=st.integers(0, 1 << 24), change=st.integers(1, 255))
def test_any_other_byte_of_a_run_is_told(
    tmp_path_factory: pytest.TempPathFactory, file: str, place: int, change: int
) -> None:
    _flipped(_copy("run", tmp_path_factory.getbasetemp()), load_run, file, place, change)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(file=st.sampled_from(DATASET), place=st.integers(0, 1 << 24), change=st.integers(1, 255))
def test_any_other_byte_of_a_dataset_is_told(
    tmp_path_factory: pytest.TempPathFactory, file: str, place: int, change: int
) -> None:
    _flipped(_copy("dataset", tmp_path_factory.getbasetemp()), load_dataset, file, place, change)


def test_files_of_two_datasets_do_not_mix(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in DATASET:
        shutil.copy(dataset_folder() / name, folder / name)
    content = (folder / "pairs.parquet").read_bytes()
    (folder / "pairs.parquet").write_bytes((dataset_folder() / "elements.parquet").read_bytes())
    with pytest.raises(EpisodeError, match=r"pairs\.parquet: was changed after it was written; take it from a copy"):
        load_dataset(folder)
    (folder / "pairs.parquet").write_bytes(content)
    load_dataset(folder)
