"""Writing so that a reader never sees half a file, and reading JSON with errors that name the file.

Knows nothing about what the files hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from episode.errors import EpisodeError

__all__ = [
    "atomic_file",
    "atomic_folder",
    "file_sha256",
    "finite",
    "read_json",
    "refuse_existing",
    "write_json",
]


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, delete it if not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_existing(path: Path) -> None:
    """Refuse an output folder that is in use; commands call it before they begin, so that no work is lost.

    Raises
    ------
    EpisodeError
        If `path` exists and is not an empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise EpisodeError(f"{path}: exists already and is not empty; give a new folder or remove it first")


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; rename it to `path` if the block succeeds, delete it if not.

    Raises
    ------
    EpisodeError
        If `path` exists already and is not an empty folder: nothing of the user's is ever overwritten.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            path.rmdir()
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def finite(content: Any) -> Any:
    """Replace NaN and infinity by None in nested plain data, as JSON wants it."""
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
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; an unreadable one is an `EpisodeError` that names it."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise EpisodeError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise EpisodeError(f"{path}: not valid JSON ({error})") from None
    except OSError as error:
        raise EpisodeError(f"{path}: {error.strerror}") from None
