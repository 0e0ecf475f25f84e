"""Nothing is ever half-written, nor anything of the user's overwritten."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from episode import files
from episode.documents import read_json
from episode.errors import EpisodeError
from episode.files import (
    ReadAt,
    atomic_file,
    atomic_folder,
    file_sha256,
    locked,
    refuse_shared,
    refuse_unwritable,
    remove_folder,
    remove_leftovers,
    write_json,
)


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


@pytest.mark.parametrize(
    ("out", "cache", "how"),
    [
        ("x", "x", "is the folder of encoded elements"),
        ("x/y", "x", "lies in the folder of encoded elements"),
        ("x", "x/store", "holds the folder of encoded elements"),
        ("other/../x", "link/store", "holds the folder of encoded elements"),
        ("read", "x", "is what this command reads"),
        ("link", None, "is what this command reads"),
    ],
)
def test_an_output_folder_is_neither_read_nor_shared(tmp_path: Path, out: str, cache: str | None, how: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / ("x" if cache else "read"))
    with pytest.raises(EpisodeError, match=f"{out}: {how}"):
        refuse_shared(tmp_path / out, None if cache is None else tmp_path / cache, tmp_path / "read")
    refuse_shared(tmp_path / "read" / "out", tmp_path / "read" / "out-store", tmp_path / "read")


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("mine")
    with pytest.raises(EpisodeError, match="exists already"), atomic_folder(path):
        pytest.fail("the block must not run")
    assert path.read_text() == "mine"


def test_a_folder_that_is_there_stays_and_is_filled(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "link").symlink_to("volume")
    inode = (tmp_path / "volume").stat().st_ino
    with atomic_folder(tmp_path / "link") as temporary:
        assert temporary.parent.samefile(tmp_path / "volume"), "else it could not be moved in"
        for name in ("a.json", "b", "c.tsv"):
            (temporary / name).write_text(name)
    assert everything(tmp_path / "volume") == ["a.json", "b", "c.tsv"]
    assert everything(tmp_path) == ["link", "volume"] and (tmp_path / "volume").stat().st_ino == inode


def fill(path: Path, meanwhile: Callable[[], object] = lambda: None) -> None:
    with atomic_folder(path) as temporary:
        for name in ("a", "b"):
            (temporary / name).write_text("mine")
        meanwhile()


def test_the_working_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with atomic_folder(Path()) as temporary:
        (temporary / "a").write_text("a")
    assert everything(Path.cwd()) == ["a"]


def test_what_cannot_be_moved_in_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "b" and target.parent == tmp_path / "run":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    (tmp_path / "run").mkdir()
    with pytest.raises(OSError, match="No space left on device"):
        fill(tmp_path / "run")
    assert everything(tmp_path / "run") == []


def test_what_another_process_put_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(EpisodeError, match="another process has written"):
        fill(tmp_path / "run", lambda: (tmp_path / "run" / "a").write_text("theirs"))
    assert (tmp_path / "run" / "a").read_text() == "theirs" and everything(tmp_path / "run") == ["a"]


def places(folder: Path) -> dict[str, Path]:
    """Make places that are no place for an output folder."""
    (folder / "file").write_text("")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    return {
        "file: exists already and is not a folder": folder / "file",
        "file is not a folder": folder / "file" / "sub" / "sub",
        "is a symbolic link that leads nowhere": folder / "loop",
        "symbolic link that leads nowhere": folder / "dangling",
        "cannot be made (File name too long)": folder / ("x" * 300),
        "made (File name too long)": folder / "new" / ("x" * 300) / "run",
        "be made (File name too long)": folder / ("x" * 240),
        "cannot be made (": Path("/proc/run"),
    }


@pytest.mark.parametrize("number", range(8))
def test_places_that_are_none_are_refused_before_the_work(tmp_path: Path, number: int) -> None:
    message, path = list(places(tmp_path).items())[number]
    with pytest.raises(EpisodeError) as caught, atomic_folder(path):
        pytest.fail("the block must not run")
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert everything(tmp_path) == ["dangling", "file", "loop"]


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(EpisodeError, match="may not be written"):
        refuse_unwritable(tmp_path)


def test_trying_a_place_leaves_nothing(tmp_path: Path) -> None:
    refuse_unwritable(tmp_path / "a" / "b" / "run")
    refuse_unwritable(tmp_path)
    assert everything(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_full_disk_names_what_was_to_be_written(tmp_path: Path, kind: str) -> None:
    for error in (OSError(errno.ENOSPC, "x"), OSError("3 requested and 1 written")):
        with pytest.raises(OSError, match="No space left on device") as caught:
            write_failing(kind, tmp_path / "mine", error)
        assert caught.value.filename == str(tmp_path / "mine")
        assert everything(tmp_path) == []


def write_failing(kind: str, path: Path, error: OSError) -> None:
    with atomic_file(path) if kind == "file" else atomic_folder(path):
        raise error


def test_an_error_names_the_place_of_a_part_not_its_temporary_name(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, atomic_folder(tmp_path / "run") as temporary:
        (temporary / "no" / "a.txt").write_text("")
    assert caught.value.filename == str(tmp_path / "run" / "no" / "a.txt")


def test_a_file_is_read_by_position_and_may_not_shrink(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    file = ReadAt(path)
    assert (file.size, file.read(3, 4), file.read(10, 0)) == (10, b"3456", b"")
    path.write_bytes(b"012345")
    with pytest.raises(EpisodeError, match="has become shorter since it was opened"):
        file.read(3, 4)


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


# -- what dead processes leave ----------------------------------------------------------------------------------------

WRITE = """
import sys, time
from pathlib import Path
from episode.files import atomic_file, atomic_folder
with (atomic_file if sys.argv[1] == "file" else atomic_folder)(Path(sys.argv[2])) as temporary:
    (temporary if temporary.is_file() else temporary / "a.txt").write_text("half")
    print("written", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def writer(kind: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of writing, killed at the end of the block."""
    with subprocess.Popen([sys.executable, "-c", WRITE, kind, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "written\n"
        yield process
        process.kill()


def write(kind: str, path: Path) -> None:
    with atomic_file(path) if kind == "file" else atomic_folder(path) as temporary:
        (temporary if kind == "file" else temporary / "a.txt").write_text("whole")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_write_removes_what_a_killed_one_left(tmp_path: Path, kind: str) -> None:
    for name in ("mine", "other"):
        with writer(kind, tmp_path / name):
            pass
    assert len(everything(tmp_path)) == 2 and all(name.endswith(".part") for name in everything(tmp_path))
    write(kind, tmp_path / "mine")
    (other,) = [name for name in everything(tmp_path) if name != "mine"]
    assert other.startswith(".other."), "only of the same file"
    write(kind, tmp_path / "other")
    assert everything(tmp_path) == ["mine", "other"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_living_process_writes_stays(tmp_path: Path, kind: str) -> None:
    with writer(kind, tmp_path / "mine"):
        (half,) = everything(tmp_path)
        write(kind, tmp_path / "mine")
        assert everything(tmp_path) == [half, "mine"]
    if kind == "folder":
        shutil.rmtree(tmp_path / "mine")
    write(kind, tmp_path / "mine")
    assert everything(tmp_path) == ["mine"]


def test_only_what_is_surely_dead_is_removed(tmp_path: Path) -> None:
    own = files._prefix(tmp_path / "a")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    dead = own.replace(f"-{os.getpid()}-", f"-{ended.pid}-")
    stay = [f"{own}x.part", dead.replace(files._machine(), "0" * 8) + "x.part", ".a.x1y2z3.part", f"{dead}x.txt"]
    for name in (*stay, f"{dead}x.part"):
        (tmp_path / name).write_text("half")
    remove_leftovers(tmp_path, "b")
    assert len(everything(tmp_path)) == 5
    remove_leftovers(tmp_path)
    assert everything(tmp_path) == sorted(stay)


@pytest.mark.skipif(files._started(os.getpid()) is None, reason="start times of processes are Linux's")
def test_a_process_id_given_to_another_since_is_dead(tmp_path: Path) -> None:
    own = files._prefix(tmp_path / "a")
    reused = own.replace(f"-{os.getpid()}-{files._started(os.getpid())}-", f"-{os.getpid()}-1-")
    assert reused != own
    (tmp_path / f"{reused}x.part").write_text("half")
    remove_leftovers(tmp_path)
    assert everything(tmp_path) == []


def test_a_folder_is_removed_and_nothing_stays_of_it(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for _ in range(2):
        remove_folder(tmp_path / "a")
        assert everything(tmp_path) == []


# -- locks ------------------------------------------------------------------------------------------------------------


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    said: list[str] = []
    told = threading.Event()

    def second() -> None:
        with locked(tmp_path / "lock", told.set):
            said.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path / "lock", lambda: said.append("waited")):
        thread.start()
        assert told.wait(60)
        said.append("first")
    thread.join()
    assert said == ["first", "second"]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    script = "import sys, time\nfrom pathlib import Path\nfrom episode.files import locked\n"
    script += "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        process.kill()
    with locked(tmp_path / "lock", lambda: pytest.fail("nobody holds it")):
        pass


def test_a_lock_whose_file_its_holder_removes_is_still_held_by_one(tmp_path: Path) -> None:
    """The second waits for a file that is no longer there; with its own it keeps out the third."""
    inside, done, told = threading.Event(), threading.Event(), threading.Event()

    def second() -> None:
        with locked(tmp_path / "lock", told.set):
            inside.set()
            done.wait(60)

    thread = threading.Thread(target=second)
    with locked(tmp_path / "lock"):
        thread.start()
        assert told.wait(60)
        (tmp_path / "lock").unlink()
    assert inside.wait(60) and everything(tmp_path) == ["lock"]
    with pytest.raises(InterruptedError), locked(tmp_path / "lock", raising):
        pytest.fail("the second one holds it")
    done.set()
    thread.join()


def raising() -> None:
    raise InterruptedError


def failing_lock(code: int) -> Callable[..., None]:
    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return flock


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.ENOTTY])
def test_where_there_are_no_locks_the_block_runs_with_a_warning(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(files.fcntl, "flock", failing_lock(code))
    with locked(tmp_path / "lock", lambda: pytest.fail("nothing to wait for")):
        ran = True
    assert ran
    assert f"{tmp_path}: this file system has no locks" in caplog.text


@pytest.mark.parametrize("code", [errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES])
def test_another_holder_is_told_from_a_file_system_without_locks(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.fcntl, "flock", failing_lock(code))
    with pytest.raises(InterruptedError), locked(tmp_path / "lock", raising):
        pytest.fail("another one holds it")


def test_a_lock_that_fails_otherwise_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.fcntl, "flock", failing_lock(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"), locked(tmp_path / "lock"):
        pytest.fail("the block must not run")
