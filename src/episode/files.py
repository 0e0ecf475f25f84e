"""Writing so that a reader never sees half a file.

What is being written lies hidden beside its place and carries the name of the process that writes it, so that what a
dead process left behind can be distinguished from what a living one is writing. Knows nothing of their content.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import math
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from episode.errors import EpisodeError
from episode.limits import FILE_BYTES

__all__ = [
    "ReadAt",
    "atomic_file",
    "atomic_folder",
    "file_sha256",
    "finite",
    "fsync",
    "locked",
    "refuse_existing",
    "refuse_shared",
    "refuse_unwritable",
    "remove_folder",
    "remove_leftovers",
    "write_json",
]

_PART = re.compile(r"\.(?P<name>.+)\.(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d*)-\w+\.part")
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EPERM, errno.ENOTTY}
_log = logging.getLogger("episode")


@contextlib.contextmanager
def atomic_file(path: Path, *, parents: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, delete it if not.

    What dead processes left of the same file is removed first, see `remove_leftovers`. Without `parents` the folder
    must be there, else it is a `FileNotFoundError`. An `OSError` of the block, such as a full disk, names `path`.
    """
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with _naming(path, temporary):
            yield temporary
            temporary.chmod(0o644)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path: Path, temporary: Path) -> Iterator[None]:
    """Have errors of writing name what was to be written, not its temporary name."""
    try:
        yield
    except OSError as error:
        if "requested and" in str(error):  # NumPy does not say why less was written
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if error.errno is None:
            raise
        name = str(path) if error.filename is None else str(error.filename).replace(str(temporary), str(path))
        raise OSError(error.errno, os.strerror(error.errno), name) from None


def refuse_unwritable(path: Path) -> None:
    """Refuse an output folder that cannot be made or written; called before the work begins, so that none is lost.

    Raises
    ------
    EpisodeError
        If `path` is no folder, may not be written, or cannot be made.
    """
    there, missing = path, ""
    try:
        if path.is_symlink() and not path.exists():
            raise EpisodeError(f"{path}: is a symbolic link that leads nowhere; give a new folder")
        while not _exists(there):
            there, missing = there.parent, os.path.join(there.name, missing)
        if not there.is_dir():
            raise EpisodeError(
                f"{path}: {there if missing else 'exists already and'} is not a folder; give a new folder"
            )
        if not missing and not os.access(path, os.W_OK | os.X_OK):
            raise EpisodeError(f"{path}: may not be written; give another folder")
        if missing:  # what `atomic_folder` will make
            trial = tempfile.mkdtemp(prefix=_prefix(path), suffix=".part", dir=there)
            try:
                os.makedirs(os.path.join(trial, missing))
            finally:
                shutil.rmtree(trial, ignore_errors=True)
    except OSError as error:
        raise EpisodeError(f"{path}: cannot be made ({error.strerror}); give another folder") from None


def _exists(path: Path) -> bool:
    """Tell if something is there; what cannot be told is an `OSError`."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return False
    return True


def refuse_existing(path: Path) -> None:
    """Refuse an output folder that is in use or cannot be written; called before the work begins.

    Raises
    ------
    EpisodeError
        If `path` exists and is not an empty folder, or see `refuse_unwritable`.
    """
    refuse_unwritable(path)
    if path.exists():
        remove_leftovers(path)
        if any(path.iterdir()):
            raise EpisodeError(f"{path}: exists already and is not empty; give a new folder or remove it first")


def refuse_shared(out: Path, cache: Path | None, *inputs: Path) -> None:
    """Refuse an output folder that is read itself, or that holds or lies in the folder of encoded elements.

    Raises
    ------
    EpisodeError
        If `out` is one of `inputs`, or `cache` and `out` are one folder or one lies in the other.
    """
    place = Path(os.path.realpath(out))
    for path in inputs:
        if place == Path(os.path.realpath(path)):
            raise EpisodeError(f"{out}: is what this command reads; give a new folder as --out")
    if cache is None:
        return
    kept = Path(os.path.realpath(cache))
    if place.is_relative_to(kept) or kept.is_relative_to(place):
        how = "is" if place == kept else "lies in" if place.is_relative_to(kept) else "holds"
        raise EpisodeError(f"{out}: {how} the folder of encoded elements, {cache}; give two folders apart")


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; it becomes `path` if the block succeeds, and is deleted if not.

    A new folder is renamed into its place. An empty one that is there, which may be a mount point, a link or the
    working folder, stays: what it shall hold is moved into it at the end. What dead processes left of the same folder
    is removed first, see `remove_leftovers`.

    Raises
    ------
    EpisodeError
        See `refuse_existing`: nothing of the user's is ever overwritten.
    """
    refuse_existing(path)
    there = path.exists()
    beside = path / "content" if there else path
    beside.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(beside.parent, beside.name)
    temporary = Path(tempfile.mkdtemp(prefix=_prefix(beside), suffix=".part", dir=beside.parent))
    try:
        with _naming(path, temporary):
            yield temporary
            temporary.chmod(0o755)
            if there:
                _move_content(temporary, path)
            else:
                os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_content(temporary: Path, path: Path) -> None:
    """Move all of a folder into the one it lies in; JSON files, by which readers know what is there, go last."""
    if [entry.name for entry in path.iterdir()] != [temporary.name]:
        raise EpisodeError(f"{path}: another process has written there; give a new folder")
    moved: list[Path] = []
    try:
        for entry in sorted(temporary.iterdir(), key=lambda entry: (entry.suffix == ".json", entry.name)):
            moved.append(entry.rename(path / entry.name))
    except BaseException:
        for entry in moved:
            entry.rename(temporary / entry.name)
        raise


def remove_folder(path: Path, moved: Callable[[], object] | None = None) -> None:
    """Remove a folder, if it is there; moved away first, so that nobody opens half of it.

    `moved` is called in between: to close what is open in the folder, as files that are open may outlive it.
    """
    if not path.exists():
        return
    away = Path(tempfile.mkdtemp(prefix=_prefix(path), suffix=".part", dir=path.parent))
    try:
        path.rename(away / path.name)
    except FileNotFoundError:
        pass  # another process removed it
    finally:
        if moved is not None:
            moved()
        shutil.rmtree(away, ignore_errors=True)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove from a folder what processes that are dead were writing there.

    A temporary name holds the machine (host name and, on Linux, its id and process namespace), the process id and the
    time at which that process started. What was left by a process of another machine or container cannot be judged from
    here and stays; so does what this user may not delete.

    Parameters
    ----------
    name : str, optional
        Only what would have become this file or folder; all if not given.
    """
    entries: list[os.DirEntry[str]] = []
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        part = _PART.fullmatch(entry.name) if entry.name.endswith(".part") else None
        if part is None or (name is not None and part["name"] != name):
            continue
        if part["machine"] != _machine() or _is_alive(int(part["pid"]), part["start"]):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                os.unlink(entry.path)


def _prefix(path: Path) -> str:
    """Begin the name of what this process is about to write to `path`."""
    pid = os.getpid()
    return f".{path.name}.{_machine()}-{pid}-{_started(pid) or ''}-"


def _machine() -> str:
    """Name in 8 hex digits where process ids mean the same as here."""
    facts = [os.uname().nodename]
    with contextlib.suppress(OSError):
        facts.append(Path("/etc/machine-id").read_text())
    with contextlib.suppress(OSError):
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.blake2b(" ".join(facts).encode(), digest_size=4).hexdigest()


def _started(pid: int) -> str | None:
    """Return when a process started, in clock ticks since the machine did; None if that is unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat[stat.rindex(")") + 2 :].split()[19]


def _is_alive(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    now = _started(pid)
    return not (started and now and started != now)  # else the id was given to another process since


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of the file `path` (made, if it is not there, and left there) while the block runs.

    Who holds it may remove the file. The lock ends with the process, however that ends. On a file system without locks
    the block runs at once, with a warning: it must be right without the lock too, if at the cost of work done twice.

    Parameters
    ----------
    waiting : callable, optional
        Called once if another process holds the lock; it may raise, so as not to wait.

    Raises
    ------
    FileNotFoundError
        If the folder is not there, or was taken away before the lock was had.
    """
    with contextlib.ExitStack() as held:
        while True:
            stream = held.enter_context(path.open("a"))
            try:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    if error.errno not in _HELD:
                        raise
                    if waiting is not None:
                        waiting()
                    waiting = None
                    fcntl.flock(stream, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                _log.warning("%s: this file system has no locks; let no other process work there", path.parent)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                    break
            stream.close()  # its holder removed the file meanwhile: another process may hold the one made since
        yield


class ReadAt:
    """A file that is read by position, never mapped: one that becomes shorter is an error, not a signal.

    Parameters
    ----------
    path : Path
        An ordinary file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        self.status = os.fstat(self._file)
        self.size = self.status.st_size

    def read(self, at: int, count: int) -> bytes:
        """Return `count` bytes from position `at` on.

        Raises
        ------
        EpisodeError
            If the file has become shorter.
        """
        part = os.pread(self._file, count, at)
        if len(part) == count:
            return part
        out = bytearray(count)
        self.fill(at, memoryview(out))
        return bytes(out)

    def fill(self, at: int, out: memoryview) -> None:
        """Fill `out` with the bytes from position `at` on; raises as `read` does."""
        done = 0
        while done < len(out):
            got = os.preadv(self._file, [out[done:]], at + done)
            if not got:
                raise EpisodeError(f"{self.path}: has become shorter since it was opened")
            done += got

    def stream(self) -> BinaryIO:
        """Return the same file as a stream from its beginning, whatever has its name now."""
        opened = os.fdopen(os.dup(self._file), "rb")
        opened.seek(0)
        return opened


def fsync(path: Path) -> None:
    """Have the content of a file outlive a loss of power."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits; an `EpisodeError` past `episode.limits.FILE_BYTES`."""
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > FILE_BYTES:
            raise EpisodeError(f"{path}: has {size:,} bytes; needs at most {FILE_BYTES:,}")
        return hashlib.file_digest(stream, "sha256").hexdigest()


def finite(content: Any) -> Any:
    """Replace NaN and infinity by None in nested plain data, as JSON needs it."""
    if isinstance(content, dict):
        return {key: finite(item) for key, item in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(item) for item in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: UTF-8, two-space indent, NaN refused."""
    with atomic_file(path) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
